//! The cap on what one node's link carries: bulk (modules, logs) waits for its turn, all else passes at once but counts.
//!
//! The coordinator tells a node its cap in a Welcome; each side then keeps to it for what it sends.

use std::{fmt, str::FromStr, time::Duration};

use crate::{codec, message::Extension, moment::Moment};

/// A rate in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BytesPerSecond(u64);

impl BytesPerSecond {
    /// A rate of at least [`RATE_MIN`]; below it even what must pass would not.
    pub const fn new(bytes: u64) -> Option<Self> {
        if bytes >= RATE_MIN { Some(Self(bytes)) } else { None }
    }

    /// As a node is told it.
    pub fn to_extension(self) -> Extension {
        Extension { tag: BANDWIDTH_EXTENSION, bytes: codec::encode(&self.0) }
    }

    /// The cap among the extensions of a Welcome; `None` when there is none, or none that makes sense.
    pub fn of(extensions: &[Extension]) -> Option<Self> {
        let found = extensions.iter().find(|extension| extension.tag == BANDWIDTH_EXTENSION)?;
        codec::decode(&found.bytes).ok().and_then(Self::new)
    }

    fn time_of(self, bytes: usize) -> Duration {
        let nanos = (bytes as u128).saturating_mul(1_000_000_000) / u128::from(self.0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for BytesPerSecond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes/s", self.0)
    }
}

/// Why a text is no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a number with kbit, Mbit, Gbit (bits a second), kB, MB, KiB or MiB (bytes a second), at least 8kbit"
)]
pub struct ParseRateError;

impl FromStr for BytesPerSecond {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<Self, ParseRateError> {
        let end = text.find(|letter: char| !letter.is_ascii_digit()).ok_or(ParseRateError)?;
        let (number, unit) = text.split_at(end);
        let number: u64 = number.parse().map_err(|_| ParseRateError)?;
        let per_unit = match unit.trim_start() {
            "kbit" => 125,
            "Mbit" => 125_000,
            "Gbit" => 125_000_000,
            "kB" => 1_000,
            "MB" => 1_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            _ => return Err(ParseRateError),
        };
        number.checked_mul(per_unit).and_then(Self::new).ok_or(ParseRateError)
    }
}

/// One direction of a link: when what was sent so far would have been sent at the cap's rate.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    rate: BytesPerSecond,
    paid_at: Moment,
}

impl Budget {
    /// Nothing was sent yet.
    pub fn new(rate: BytesPerSecond) -> Self {
        Self { rate, paid_at: Moment::default() }
    }

    /// Something that does not wait is sent: bulk waits the longer.
    pub fn spend(&mut self, bytes: usize, now: Moment) {
        let paid_at = self.paid_at.max(now) + self.rate.time_of(bytes);
        // However much there was, bulk is not put off for ever.
        self.paid_at = paid_at.min(now + DEBT_MAX);
    }

    /// Bulk is to be sent; answers how long it has to wait first.
    #[must_use]
    pub fn reserve(&mut self, bytes: usize, now: Moment) -> Duration {
        let starts_at = self.paid_at.max(now);
        self.paid_at = starts_at + self.rate.time_of(bytes);
        starts_at.since(now + BURST)
    }

    /// How much bulk to send at a time, so that others get their turn.
    pub fn piece_bytes(&self) -> usize {
        usize::try_from(self.rate.0 / 10).unwrap_or(usize::MAX).clamp(PIECE_BYTES.0, PIECE_BYTES.1)
    }
}

/// Tag of the cap among the extensions of a Welcome; its bytes are the rate in bytes a second as a varint.
pub const BANDWIDTH_EXTENSION: u16 = 2;

/// 8 kbit/s.
pub const RATE_MIN: u64 = 1_000;

/// Bulk may run ahead of its rate by this, for timers are not exact.
const BURST: Duration = Duration::from_millis(250);

/// The longest that what passes at once puts bulk off.
const DEBT_MAX: Duration = Duration::from_secs(5);

/// Bounds of a piece of bulk.
const PIECE_BYTES: (usize, usize) = (1 << 10, 64 << 10);

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> BytesPerSecond {
        text.parse().unwrap()
    }

    #[test]
    fn rates_are_bits_or_bytes_by_their_unit() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(text.parse::<BytesPerSecond>().ok().map(|rate| rate.0), expected, "{text}");
        };
        check("256kbit", Some(32_000));
        check("2 Mbit", Some(250_000));
        check("1Gbit", Some(125_000_000));
        check("100kB", Some(100_000));
        check("1MiB", Some(1 << 20));
        check("8kbit", Some(1_000));
        check("7kbit", None);
        check("256", None);
        check("256k", None);
        check("", None);
        check("-1MB", None);
        check("99999999999999999999MB", None);
        check("18446744073709551615MB", None);
    }

    #[test]
    fn a_cap_survives_its_extension() {
        let cap = rate("256kbit");
        let other = Extension { tag: 1, bytes: vec![1] };
        assert_eq!(BytesPerSecond::of(&[other.clone(), cap.to_extension()]), Some(cap));
        assert_eq!(BytesPerSecond::of(&[other]), None);
        for bytes in [vec![], vec![0], vec![255; 20]] {
            assert_eq!(BytesPerSecond::of(&[Extension { tag: BANDWIDTH_EXTENSION, bytes }]), None);
        }
    }

    #[test]
    fn bulk_keeps_to_the_rate_and_gives_way_to_the_rest() {
        let mut budget = Budget::new(rate("100kB"));
        let mut now = Moment(Duration::from_secs(100));
        let start = now;
        for _ in 0..100 {
            now = now + budget.reserve(10_000, now);
        }
        let took = now.since(start);
        assert!(took > Duration::from_millis(9_500) && took < Duration::from_secs(10), "{took:?}");
        // A second's worth of control passes at once, and bulk waits that second longer.
        let before = budget.reserve(0, now);
        budget.spend(100_000, now);
        assert_eq!(budget.reserve(0, now), before + Duration::from_secs(1));
        budget.spend(100_000_000, now);
        assert!(budget.reserve(0, now) <= DEBT_MAX);
        // What was not used is not saved up.
        let later = now + Duration::from_secs(3600);
        assert_eq!(budget.reserve(100_000, later), Duration::ZERO);
        assert!(budget.reserve(100_000, later) >= Duration::from_millis(700));
    }
}
