//! The memory of all guests of a host together. Each container has a limit of its own, but what these add up to may be more than the
//! machine has, and the process that runs all guests would be what the kernel ends for it.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

/// What all guests have, and may have.
#[derive(Debug)]
pub(crate) struct TotalMemory {
    bytes: AtomicU64,
    max: u64,
}

/// Who wants memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// A container that said what it needs at most.
    Limited,
    /// One that did not: it is refused before the others are.
    Unlimited,
}

impl TotalMemory {
    /// Of this machine, or of what this process may have of it.
    pub(crate) fn of_this_machine() -> Self {
        let info = rustix::system::sysinfo();
        let machine = (info.totalram as u64).saturating_mul(u64::from(info.mem_unit));
        let group = fs::read_to_string("/proc/self/cgroup").ok();
        let group = group.and_then(|text| limit_of(Path::new(GROUPS), &text));
        Self::of(group.map_or(machine, |group| group.min(machine)))
    }

    /// Where there is so much for everything.
    pub(crate) const fn of(machine: u64) -> Self {
        Self { bytes: AtomicU64::new(0), max: machine - machine / SHARE_OF_OTHERS }
    }

    /// What a container may have that does not say so itself: half of the machine's.
    pub(crate) const fn default_limit(&self) -> u64 {
        (self.max + self.max / (SHARE_OF_OTHERS - 1)) / 2
    }

    /// What all guests may have together.
    pub(crate) const fn max(&self) -> u64 {
        self.max
    }

    /// Whether so much more may be had; it is counted then.
    pub(crate) fn charge(&self, bytes: u64, claim: Claim) -> bool {
        let max = match claim {
            Claim::Limited => self.max,
            Claim::Unlimited => self.max - self.max / SHARE_OF_LIMITED,
        };
        let charged = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|sum| *sum <= max)
        });
        charged.is_ok()
    }

    pub(crate) fn release(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The least limit of a process's control group and those above it; `None` where there is none.
fn limit_of(root: &Path, groups: &str) -> Option<u64> {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let folders = Path::new(own).ancestors().map(|group| root.join(group));
    let limits = folders.filter_map(|folder| fs::read_to_string(folder.join("memory.max")).ok());
    limits.filter_map(|text| text.trim().parse().ok()).min()
}

/// Where version 2 of control groups is mounted.
const GROUPS: &str = "/sys/fs/cgroup";

/// Of the machine's memory one part in so many is for everything that is no guest.
const SHARE_OF_OTHERS: u64 = 8;

/// Of what guests may have, one part in so many is only for those with a limit of their own.
const SHARE_OF_LIMITED: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_no_limit_is_refused_first() {
        let total = TotalMemory::of(800);
        assert_eq!((total.max(), total.default_limit()), (700, 400));
        assert!(total.charge(600, Claim::Unlimited));
        assert!(!total.charge(50, Claim::Unlimited) && total.charge(50, Claim::Limited));
        assert!(!total.charge(51, Claim::Limited));
        total.release(650);
        assert!(total.charge(700, Claim::Limited) && !total.charge(1, Claim::Limited));
    }

    #[test]
    fn the_least_limit_of_all_groups_above_counts() {
        let root = tempfile::tempdir().unwrap();
        let group = root.path().join("system.slice/dunlin.service");
        fs::create_dir_all(&group).unwrap();
        let limit = |text: &str| limit_of(root.path(), text);
        assert_eq!(limit("0::/system.slice/dunlin.service\n"), None);
        fs::write(group.join("memory.max"), "max\n").unwrap();
        assert_eq!(limit("0::/system.slice/dunlin.service\n"), None);
        fs::write(root.path().join("system.slice/memory.max"), "4096\n").unwrap();
        assert_eq!(limit("1:memory:/x\n0::/system.slice/dunlin.service\n"), Some(4096));
        fs::write(group.join("memory.max"), "1024\n").unwrap();
        assert_eq!(limit("0::/system.slice/dunlin.service\n"), Some(1024));
        assert_eq!((limit("0::/\n"), limit("1:memory:/x\n")), (None, None));
    }
}
