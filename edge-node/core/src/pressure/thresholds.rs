//! Thresholds of evictions as they are written: the kubelet's `evictionHard`, `evictionSoft` and what belongs to them.

use super::{SUFFIXES, Signal, TRANSITION_MS};

/// When a machine is short, and what becomes of its pods then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// By signal, of each the hard one first.
    pub(super) all: Vec<Threshold>,
    /// What is to be there beyond a threshold before a shortage that was acted on is over.
    reclaim: Vec<(Signal, Amount)>,
    /// What a pod has to stop by itself when it is ended for a soft threshold.
    pub(super) soft_pod_grace_ms: u64,
    /// How long a condition stays after its cause is gone.
    pub(super) transition_ms: u64,
}

/// One threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// Of what.
    pub signal: Signal,
    /// Below which it is met.
    pub amount: Amount,
    /// How long it may be met before it is acted on.
    pub patience: Patience,
}

/// How long a threshold may be met before it is acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Patience {
    /// Not at all: it is a hard one.
    None,
    /// So long: it is a soft one.
    Millis(u64),
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

/// What was written of evictions. Lists are `SIGNAL<AMOUNT` or `SIGNAL=VALUE` with commas between.
#[derive(Clone, Copy, Debug, Default)]
pub struct EvictionTexts<'a> {
    /// `evictionHard`; the default thresholds when it is not given.
    pub hard: Option<&'a str>,
    /// `evictionSoft`.
    pub soft: Option<&'a str>,
    /// `evictionSoftGracePeriod`, needed for each soft threshold.
    pub soft_grace: Option<&'a str>,
    /// `evictionMinimumReclaim`.
    pub minimum_reclaim: Option<&'a str>,
    /// `evictionMaxPodGracePeriod`.
    pub max_pod_grace_seconds: u32,
    /// `evictionPressureTransitionPeriod`.
    pub transition: Option<&'a str>,
}

/// A text that says no thresholds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ThresholdError {
    /// No threshold.
    #[error("`{0}` is no threshold: write SIGNAL<AMOUNT with {signals}, and an amount like 100Mi or 10%", signals = SIGNALS)]
    Threshold(String),
    /// No amount of a signal.
    #[error("`{0}` is no amount of a signal: write SIGNAL=AMOUNT with {signals}, and an amount like 100Mi or 10%", signals = SIGNALS)]
    Reclaim(String),
    /// No time of a signal.
    #[error("`{0}` is no grace period: write SIGNAL=TIME with {signals}, and a time like 1m30s", signals = SIGNALS)]
    Grace(String),
    /// No time.
    #[error("`{0}` is no time: write one like 1m30s")]
    Time(String),
    /// A soft threshold that would never be acted on, or always.
    #[error("grace period must be specified for the soft eviction threshold {0}")]
    NoGrace(&'static str),
}

impl Thresholds {
    /// None: nothing is ever short.
    pub const fn none() -> Self {
        Self { all: Vec::new(), reclaim: Vec::new(), soft_pod_grace_ms: 0, transition_ms: TRANSITION_MS }
    }

    /// What texts say.
    ///
    /// # Errors
    /// At the first text that is wrong.
    pub fn read(texts: EvictionTexts<'_>) -> Result<Self, ThresholdError> {
        let mut all = match texts.hard {
            Some(hard) => list(hard).map(|one| threshold(one, Patience::None)).collect::<Result<_, _>>()?,
            None => Self::default().all,
        };
        let graces: Vec<_> =
            list(texts.soft_grace.unwrap_or_default()).map(grace).collect::<Result<_, _>>()?;
        for one in list(texts.soft.unwrap_or_default()) {
            let soft = threshold(one, Patience::None)?;
            let grace = graces.iter().find(|(signal, _)| *signal == soft.signal);
            let (_, millis) = grace.ok_or_else(|| ThresholdError::NoGrace(soft.signal.name()))?;
            all.push(Threshold { patience: Patience::Millis(*millis), ..soft });
        }
        all.sort_by_key(|threshold| (threshold.signal, threshold.patience));
        let reclaim = list(texts.minimum_reclaim.unwrap_or_default()).map(reclaim);
        let transition = texts
            .transition
            .map(|text| millis(text.trim()).ok_or_else(|| ThresholdError::Time(text.to_owned())));
        Ok(Self {
            all,
            reclaim: reclaim.collect::<Result<_, _>>()?,
            soft_pod_grace_ms: u64::from(texts.max_pod_grace_seconds) * 1000,
            transition_ms: transition.transpose()?.unwrap_or(TRANSITION_MS),
        })
    }

    /// What is to be there of a signal beyond its threshold.
    pub(super) fn reclaim(&self, signal: Signal) -> Option<Amount> {
        self.reclaim.iter().find(|(of, _)| *of == signal).map(|(_, amount)| *amount)
    }
}

impl Default for Thresholds {
    /// The kubelet's, held to what is a shortage on small machines and on large ones.
    fn default() -> Self {
        let hard = [
            (Signal::Memory, Amount::PercentAtMost(5, 100 << 20)),
            (Signal::Disk, Amount::PercentAtMost(10, 1 << 30)),
            (Signal::Inodes, Amount::Percent(5)),
            (Signal::Pids, Amount::Percent(5)),
        ];
        let all = hard.map(|(signal, amount)| Threshold { signal, amount, patience: Patience::None });
        Self { all: all.to_vec(), ..Self::none() }
    }
}

impl Signal {
    /// As it is written.
    const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory.available",
            Self::Disk => "nodefs.available",
            Self::Inodes => "nodefs.inodesFree",
            Self::Pids => "pid.available",
        }
    }
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|one| !one.is_empty())
}

fn threshold(text: &str, patience: Patience) -> Result<Threshold, ThresholdError> {
    let read = || {
        let (signal, amount) = text.split_once('<')?;
        Some((Signal::named(signal.trim())?, parse_amount(amount.trim())?))
    };
    let (signal, amount) = read().ok_or_else(|| ThresholdError::Threshold(text.to_owned()))?;
    Ok(Threshold { signal, amount, patience })
}

fn reclaim(text: &str) -> Result<(Signal, Amount), ThresholdError> {
    let read = || {
        let (signal, amount) = text.split_once('=')?;
        Some((Signal::named(signal.trim())?, parse_amount(amount.trim())?))
    };
    read().ok_or_else(|| ThresholdError::Reclaim(text.to_owned()))
}

fn grace(text: &str) -> Result<(Signal, u64), ThresholdError> {
    let read = || {
        let (signal, time) = text.split_once('=')?;
        Some((Signal::named(signal.trim())?, millis(time.trim())?))
    };
    read().ok_or_else(|| ThresholdError::Grace(text.to_owned()))
}

fn parse_amount(amount: &str) -> Option<Amount> {
    if let Some(percent) = amount.strip_suffix('%') {
        return percent.parse().ok().filter(|percent| *percent <= 100).map(Amount::Percent);
    }
    let suffix = SUFFIXES.iter().find(|(suffix, _)| amount.ends_with(suffix));
    let (number, factor) =
        suffix.map_or((amount, 1), |(suffix, factor)| (&amount[..amount.len() - suffix.len()], *factor));
    number.parse::<u64>().ok()?.checked_mul(factor).map(Amount::Absolute)
}

/// A time as Go writes it, like `1h2m3s`: whole numbers, each with its unit, none negative.
fn millis(text: &str) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let (mut rest, mut sum) = (text, 0_u64);
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|letter: char| letter.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let factor = match unit {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1_000,
            "ms" => 1,
            // The one number that needs no unit.
            "" if text == "0" => 0,
            _ => return None,
        };
        sum = sum.checked_add(number.parse::<u64>().ok()?.checked_mul(factor)?)?;
        rest = after;
    }
    Some(sum)
}

/// For messages.
const SIGNALS: &str = "memory.available, nodefs.available, nodefs.inodesFree or pid.available";

#[cfg(test)]
mod tests {
    use super::*;

    fn hard(text: &str) -> Result<Vec<Threshold>, ThresholdError> {
        Thresholds::read(EvictionTexts { hard: Some(text), ..EvictionTexts::default() }).map(|read| read.all)
    }

    #[test]
    fn thresholds_are_read_as_a_kubelet_reads_them() {
        let of = |signal, amount| Threshold { signal, amount, patience: Patience::None };
        assert_eq!(
            hard("nodefs.available<10%, memory.available<100Mi"),
            Ok(vec![of(Signal::Memory, Amount::Absolute(100 << 20)), of(Signal::Disk, Amount::Percent(10))])
        );
        assert_eq!(hard("pid.available<7"), Ok(vec![of(Signal::Pids, Amount::Absolute(7))]));
        assert_eq!(hard(""), Ok(Vec::new()));
        for wrong in
            ["memory.available", "swap.available<1", "memory.available<x", "nodefs.available<101%", "a<1Xi"]
        {
            assert!(hard(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn soft_thresholds_come_with_their_grace_or_not_at_all() {
        let texts = EvictionTexts {
            soft: Some("memory.available<1Gi,pid.available<5%"),
            soft_grace: Some("memory.available=1m30s, pid.available=2h"),
            minimum_reclaim: Some("memory.available=64Mi"),
            max_pod_grace_seconds: 9,
            ..EvictionTexts::default()
        };
        let read = Thresholds::read(texts).unwrap();
        let soft: Vec<_> = read.all.iter().filter(|one| one.patience != Patience::None).collect();
        assert_eq!((soft.len(), read.all.len()), (2, 6), "beside the default hard ones");
        assert_eq!(
            (soft[0].signal, soft[0].patience, soft[1].patience),
            (Signal::Memory, Patience::Millis(90_000), Patience::Millis(7_200_000))
        );
        assert_eq!(read.reclaim(Signal::Memory), Some(Amount::Absolute(64 << 20)));
        assert_eq!(read.soft_pod_grace_ms, 9_000);
        let check = |texts: EvictionTexts<'_>, expected: &str| {
            assert!(Thresholds::read(texts).unwrap_err().to_string().contains(expected), "{expected}");
        };
        check(
            EvictionTexts { soft_grace: Some("pid.available=1h"), ..texts },
            "grace period must be specified for the soft eviction threshold memory.available",
        );
        check(EvictionTexts { soft_grace: Some("memory.available=soon"), ..texts }, "is no grace period");
        check(EvictionTexts { minimum_reclaim: Some("a=1"), ..texts }, "is no amount of a signal");
        check(EvictionTexts { transition: Some("5"), ..texts }, "`5` is no time");
    }

    #[test]
    fn times_are_read_as_go_writes_them() {
        let check = |text, expected| assert_eq!(millis(text), expected, "{text}");
        check("1m30s", Some(90_000));
        check("1h2m3s4ms", Some(3_723_004));
        check("0", Some(0));
        for wrong in ["", "1", "s", "-1s", "1.5s", "1d", "99999999999999999999s"] {
            check(wrong, None);
        }
    }
}
