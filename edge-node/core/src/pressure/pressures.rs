//! The node's conditions over time: which thresholds are met, since when, and which of them are to be acted on.

use super::{Amount, DiskAccess, Level, Patience, Pressure, Signal, Signals, Threshold, Thresholds};
use crate::clock::Mono;

/// The node's conditions over time.
#[derive(Clone, Debug)]
pub struct Pressures {
    thresholds: Thresholds,
    /// How each threshold stands, in their order.
    standings: Vec<Standing>,
    /// When each condition was met last.
    met: [Option<Mono>; 3],
}

/// How one threshold stands.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    /// Since when it has been met without a break.
    since: Option<Mono>,
    /// It has been met for long enough to be acted on, and is until more than the threshold is there again.
    is_due: bool,
}

/// A threshold that is met, and has been for as long as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// Of what.
    pub signal: Signal,
    /// What is left.
    pub available: u64,
    /// What should be left.
    pub threshold: u64,
    /// What a pod that is ended for it has to stop by itself.
    pub pod_grace_ms: u64,
}

impl Pressures {
    /// Nothing is short yet.
    pub fn new(thresholds: Thresholds) -> Self {
        let standings = vec![Standing::default(); thresholds.all.len()];
        Self { thresholds, standings, met: [None; 3] }
    }

    /// Takes note of what there is; answers what is to be acted on now, the gravest first.
    pub fn observe(&mut self, signals: &Signals, now: Mono) -> Vec<Shortage> {
        let mut due = Vec::new();
        let is_read_only = signals.disk_access == DiskAccess::ReadOnly;
        if is_read_only {
            self.met[Pressure::Disk as usize] = Some(now);
        }
        for (threshold, standing) in self.thresholds.all.iter().zip(&mut self.standings) {
            let Level { available, total } = threshold.signal.level(signals);
            let least = threshold.amount.of(total);
            // What was acted on is over only when some more than the threshold is there, or it would be met again at once.
            let slack = if standing.is_due { self.thresholds.reclaim(threshold.signal) } else { None };
            let wanted = least.saturating_add(slack.map_or(0, |slack: Amount| slack.of(total)));
            // A disk that takes no writes is not relieved by ending what runs.
            let is_beyond_help = is_read_only && threshold.signal.pressure() == Pressure::Disk;
            if total == 0 || available >= wanted || is_beyond_help {
                *standing = Standing::default();
                continue;
            }
            let since = *standing.since.get_or_insert(now);
            self.met[threshold.signal.pressure() as usize] = Some(now);
            standing.is_due = now >= since.plus_millis(threshold.patience_ms());
            if standing.is_due {
                let pod_grace_ms = match threshold.patience {
                    Patience::None => HARD_POD_GRACE_MS,
                    Patience::Millis(_) => self.thresholds.soft_pod_grace_ms,
                };
                due.push(Shortage { signal: threshold.signal, available, threshold: least, pod_grace_ms });
            }
        }
        due
    }

    /// Whether a condition holds: from the first time that a threshold is met on, until none was for a while.
    pub fn holds(&self, pressure: Pressure, now: Mono) -> bool {
        self.met[pressure as usize].is_some_and(|met| now < met.plus_millis(self.thresholds.transition_ms))
    }

    /// The conditions that hold.
    pub fn holding(&self, now: Mono) -> Vec<Pressure> {
        Pressure::ALL.into_iter().filter(|pressure| self.holds(*pressure, now)).collect()
    }
}

impl Threshold {
    const fn patience_ms(&self) -> u64 {
        match self.patience {
            Patience::None => 0,
            Patience::Millis(millis) => millis,
        }
    }
}

impl Amount {
    fn of(self, total: u64) -> u64 {
        let share = |percent: u8| total / 100 * u64::from(percent);
        match self {
            Self::Absolute(amount) => amount,
            Self::Percent(percent) => share(percent),
            Self::PercentAtMost(percent, amount) => share(percent).min(amount),
        }
    }
}

/// How long a condition stays after its cause is gone, unless another time is asked for; the kubelet's default.
pub const TRANSITION_MS: u64 = 300_000;

/// What a pod has to stop by itself when a hard threshold is met: the kubelet's number.
const HARD_POD_GRACE_MS: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pressure::EvictionTexts;

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
        let expected = Shortage {
            signal: Signal::Memory,
            available: 50 << 20,
            threshold: 100 << 20,
            pod_grace_ms: HARD_POD_GRACE_MS,
        };
        assert_eq!(short, [expected]);
        assert_eq!(pressures.observe(&memory(gib, 16 * gib), Mono(2_000)), []);
        assert_eq!(pressures.holding(Mono(300_999)), [Pressure::Memory]);
        assert_eq!(pressures.holding(Mono(301_000)), []);
        // What is unknown is not short, and a small board has a small threshold.
        assert_eq!(pressures.observe(&Signals::default(), Mono(0)), []);
        assert_eq!(pressures.observe(&memory(30 << 20, 512 << 20), Mono(0)), []);
    }

    #[test]
    fn a_disk_that_takes_no_writes_is_a_condition_and_nothing_to_act_on() {
        let mut pressures = Pressures::new(Thresholds::default());
        let disk = Level { available: 0, total: 1 << 30 };
        let full = Signals { disk, ..Signals::default() };
        let read_only = Signals { disk_access: DiskAccess::ReadOnly, ..full };
        assert_eq!(pressures.observe(&full, Mono(0)).len(), 1);
        assert_eq!(pressures.observe(&read_only, Mono(1_000)), []);
        assert_eq!(pressures.holding(Mono(300_999)), [Pressure::Disk]);
        assert_eq!(pressures.holding(Mono(301_000)), []);
    }

    #[test]
    fn a_soft_threshold_is_acted_on_only_after_its_grace_without_a_break() {
        let texts = EvictionTexts {
            hard: Some(""),
            soft: Some("memory.available<100"),
            soft_grace: Some("memory.available=30s"),
            max_pod_grace_seconds: 20,
            transition: Some("1m"),
            ..EvictionTexts::default()
        };
        let mut pressures = Pressures::new(Thresholds::read(texts).unwrap());
        let mut look = |available, at| pressures.observe(&memory(available, 1000), Mono(at)).len();
        assert_eq!((look(99, 0), look(99, 29_999)), (0, 0));
        assert_eq!(look(100, 30_000), 0, "it was there again");
        assert_eq!((look(99, 40_000), look(99, 69_999)), (0, 0));
        assert_eq!(look(99, 70_000), 1);
        assert_eq!(pressures.observe(&memory(99, 1000), Mono(71_000))[0].pod_grace_ms, 20_000);
        // The condition does not wait for the grace.
        let mut fresh = Pressures::new(pressures.thresholds.clone());
        fresh.observe(&memory(99, 1000), Mono(0));
        assert_eq!(fresh.holding(Mono(59_999)), [Pressure::Memory]);
        assert_eq!(fresh.holding(Mono(60_000)), []);
    }

    #[test]
    fn what_was_acted_on_is_over_when_the_least_to_reclaim_is_there_too() {
        let texts = EvictionTexts {
            hard: Some("memory.available<100"),
            minimum_reclaim: Some("memory.available=10%"),
            ..EvictionTexts::default()
        };
        let mut pressures = Pressures::new(Thresholds::read(texts).unwrap());
        let mut look = |available| pressures.observe(&memory(available, 500), Mono(0)).len();
        assert_eq!((look(120), look(99), look(149), look(150), look(149)), (0, 1, 1, 0, 0));
    }
}
