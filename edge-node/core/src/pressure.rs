//! What a machine runs short of: signals against thresholds, and how long a shortage counts before and after it is seen. Signals,
//! thresholds and words are the kubelet's.

mod pressures;
mod thresholds;

use std::fmt;

pub use self::{
    pressures::{Pressures, Shortage, TRANSITION_MS},
    thresholds::{Amount, EvictionTexts, Patience, Threshold, ThresholdError, Thresholds},
};

/// What the kernel tells of a machine. A total of 0 stands for what it does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// Bytes that could be had without swapping.
    pub memory: Level,
    /// Bytes of the state folder's disk.
    pub disk: Level,
    /// Files of it.
    pub inodes: Level,
    /// Process ids.
    pub pids: Level,
    /// Whether anything can be written to that disk.
    pub disk_access: DiskAccess,
}

/// Whether a disk takes writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiskAccess {
    /// It does, or nobody can tell.
    #[default]
    Writable,
    /// It is mounted so, or has made itself so after an error.
    ReadOnly,
}

/// How much of something there is, and how much of it is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// What is free.
    pub available: u64,
    /// All of it.
    pub total: u64,
}

/// What can run short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    /// `memory.available`.
    Memory,
    /// `nodefs.available`.
    Disk,
    /// `nodefs.inodesFree`.
    Inodes,
    /// `pid.available`.
    Pids,
}

/// A condition of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// `MemoryPressure`.
    Memory,
    /// `DiskPressure`.
    Disk,
    /// `PIDPressure`.
    Pids,
}

impl Signal {
    /// The signal of this name.
    fn named(name: &str) -> Option<Self> {
        match name {
            "memory.available" => Some(Self::Memory),
            "nodefs.available" => Some(Self::Disk),
            "nodefs.inodesFree" => Some(Self::Inodes),
            "pid.available" => Some(Self::Pids),
            _ => None,
        }
    }

    fn level(self, signals: &Signals) -> Level {
        match self {
            Self::Memory => signals.memory,
            Self::Disk => signals.disk,
            Self::Inodes => signals.inodes,
            Self::Pids => signals.pids,
        }
    }

    /// The condition that a shortage of it brings about.
    pub const fn pressure(self) -> Pressure {
        match self {
            Self::Memory => Pressure::Memory,
            Self::Disk | Self::Inodes => Pressure::Disk,
            Self::Pids => Pressure::Pids,
        }
    }

    /// The resource as it is named to users.
    pub const fn resource(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "ephemeral-storage",
            Self::Inodes => "inodes",
            Self::Pids => "pids",
        }
    }

    /// An amount of it as Kubernetes writes it.
    pub fn quantity(self, amount: u64) -> String {
        match self {
            Self::Memory | Self::Disk => binary(amount),
            Self::Inodes | Self::Pids => amount.to_string(),
        }
    }
}

impl Pressure {
    /// All of them, in the kubelet's order.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Disk, Self::Pids];

    /// Type of the condition.
    pub const fn condition(self) -> &'static str {
        match self {
            Self::Memory => "MemoryPressure",
            Self::Disk => "DiskPressure",
            Self::Pids => "PIDPressure",
        }
    }
}

/// Bytes with the largest binary suffix that leaves nothing over.
pub fn binary(bytes: u64) -> String {
    let exact = SUFFIXES.iter().find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor));
    exact.map_or_else(|| bytes.to_string(), |(suffix, factor)| format!("{}{suffix}", bytes / factor))
}

impl fmt::Display for Pressure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.condition())
    }
}

/// Binary suffixes, the largest first.
const SUFFIXES: [(&str, u64); 4] = [("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_kubernetes_writes_them() {
        let check = |bytes, expected: &str| assert_eq!(binary(bytes), expected);
        check(0, "0");
        check(100 << 20, "100Mi");
        check(1536 << 20, "1536Mi");
        check(1 << 30, "1Gi");
        check(1001, "1001");
    }
}
