//! What a machine runs short of: signals against thresholds, and how long a shortage counts after it was seen last. Signals, thresholds
//! and words are the kubelet's.

use std::{fmt, str::FromStr};

use crate::clock::Mono;

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

/// How little is too little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So much.
    Absolute(u64),
    /// Hundredths of all.
    Percent(u8),
    /// Hundredths of all, and never more than so much: a share of a large machine is no shortage.
    PercentAtMost(u8, u64),
}

/// Hard thresholds: what is below one is acted on at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thresholds(Vec<(Signal, Amount)>);

/// A threshold that is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// Of what.
    pub signal: Signal,
    /// What is left.
    pub available: u64,
    /// What should be left.
    pub threshold: u64,
}

/// The node's conditions over time.
#[derive(Clone, Debug)]
pub struct Pressures {
    thresholds: Thresholds,
    /// When each was met last.
    met: [Option<Mono>; 3],
}

/// A text that is no list of thresholds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no threshold: write SIGNAL<AMOUNT with memory.available, nodefs.available, nodefs.inodesFree or pid.available, and an \
     amount like 100Mi or 10%"
)]
pub struct ParseThresholdError(String);

impl Pressures {
    /// Nothing is short yet.
    pub fn new(thresholds: Thresholds) -> Self {
        Self { thresholds, met: [None; 3] }
    }

    /// Takes note of what there is; answers what is short now, the gravest first.
    pub fn observe(&mut self, signals: &Signals, now: Mono) -> Vec<Shortage> {
        let met: Vec<_> = self.thresholds.0.iter().filter_map(|of| shortage(*of, signals)).collect();
        for shortage in &met {
            self.met[shortage.signal.pressure() as usize] = Some(now);
        }
        met
    }

    /// Whether a condition holds: from the first shortage on, until there was none for a while.
    pub fn holds(&self, pressure: Pressure, now: Mono) -> bool {
        self.met[pressure as usize].is_some_and(|met| now < met.plus_millis(TRANSITION_MS))
    }

    /// The conditions that hold.
    pub fn holding(&self, now: Mono) -> Vec<Pressure> {
        Pressure::ALL.into_iter().filter(|pressure| self.holds(*pressure, now)).collect()
    }
}

fn shortage((signal, amount): (Signal, Amount), signals: &Signals) -> Option<Shortage> {
    let Level { available, total } = signal.level(signals);
    let share = |percent: u8| total / 100 * u64::from(percent);
    let threshold = match amount {
        Amount::Absolute(amount) => amount,
        Amount::Percent(percent) => share(percent),
        Amount::PercentAtMost(percent, amount) => share(percent).min(amount),
    };
    (total > 0 && available < threshold).then_some(Shortage { signal, available, threshold })
}

impl Signal {
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

impl Thresholds {
    /// None: nothing is ever short.
    pub fn none() -> Self {
        Self(Vec::new())
    }
}

impl Default for Thresholds {
    /// The kubelet's, held to what is a shortage on small machines and on large ones.
    fn default() -> Self {
        Self(vec![
            (Signal::Memory, Amount::PercentAtMost(5, 100 << 20)),
            (Signal::Disk, Amount::PercentAtMost(10, 1 << 30)),
            (Signal::Inodes, Amount::Percent(5)),
            (Signal::Pids, Amount::Percent(5)),
        ])
    }
}

impl FromStr for Thresholds {
    type Err = ParseThresholdError;

    /// Reads a list like `memory.available<100Mi,nodefs.available<10%`; an empty text is none.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut thresholds: Vec<_> = text
            .split(',')
            .map(str::trim)
            .filter(|one| !one.is_empty())
            .map(parse)
            .collect::<Result<_, _>>()?;
        thresholds.sort_by_key(|(signal, _)| *signal);
        Ok(Self(thresholds))
    }
}

fn parse(text: &str) -> Result<(Signal, Amount), ParseThresholdError> {
    let wrong = || ParseThresholdError(text.to_owned());
    let (signal, amount) = text.split_once('<').ok_or_else(wrong)?;
    let signal = match signal.trim() {
        "memory.available" => Signal::Memory,
        "nodefs.available" => Signal::Disk,
        "nodefs.inodesFree" => Signal::Inodes,
        "pid.available" => Signal::Pids,
        _ => return Err(wrong()),
    };
    let amount = amount.trim();
    if let Some(percent) = amount.strip_suffix('%') {
        let percent = percent.parse().ok().filter(|percent| *percent <= 100).ok_or_else(wrong)?;
        return Ok((signal, Amount::Percent(percent)));
    }
    let suffix = SUFFIXES.iter().find(|(suffix, _)| amount.ends_with(suffix));
    let (number, factor) =
        suffix.map_or((amount, 1), |(suffix, factor)| (&amount[..amount.len() - suffix.len()], *factor));
    let amount =
        number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(wrong)?;
    Ok((signal, Amount::Absolute(amount)))
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

/// How long a condition stays after its cause is gone; the kubelet's `evictionPressureTransitionPeriod`.
pub const TRANSITION_MS: u64 = 300_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(available: u64, total: u64) -> Signals {
        Signals { memory: Level { available, total }, ..Signals::default() }
    }

    #[test]
    fn a_condition_holds_from_the_first_shortage_until_five_minutes_after_the_last() {
        let mut pressures = Pressures::new(Thresholds::default());
        let gib = 1 << 30;
        assert_eq!(pressures.observe(&memory(gib, 16 * gib), Mono(0)), []);
        assert_eq!(pressures.holding(Mono(0)), []);
        let short = pressures.observe(&memory(50 << 20, 16 * gib), Mono(1_000));
        let expected = Shortage { signal: Signal::Memory, available: 50 << 20, threshold: 100 << 20 };
        assert_eq!(short, [expected]);
        assert_eq!(pressures.observe(&memory(gib, 16 * gib), Mono(2_000)), []);
        assert_eq!(pressures.holding(Mono(300_999)), [Pressure::Memory]);
        assert_eq!(pressures.holding(Mono(301_000)), []);
        // What is unknown is not short, and a small board has a small threshold.
        assert_eq!(pressures.observe(&Signals::default(), Mono(0)), []);
        assert_eq!(pressures.observe(&memory(30 << 20, 512 << 20), Mono(0)), []);
    }

    #[test]
    fn thresholds_are_read_as_a_kubelet_reads_them() {
        let read = |text: &str| text.parse::<Thresholds>().map(|thresholds| thresholds.0);
        assert_eq!(
            read("nodefs.available<10%, memory.available<100Mi"),
            Ok(vec![(Signal::Memory, Amount::Absolute(100 << 20)), (Signal::Disk, Amount::Percent(10))])
        );
        assert_eq!(read("pid.available<7"), Ok(vec![(Signal::Pids, Amount::Absolute(7))]));
        assert_eq!(read(""), Ok(Vec::new()));
        for wrong in
            ["memory.available", "swap.available<1", "memory.available<x", "nodefs.available<101%", "a<1Xi"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

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
