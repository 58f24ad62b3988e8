//! Sums of times and spans that objects say: what no calendar has is the first or the last time there is, never a panic.

use std::time::Duration;

use jiff::Timestamp;

/// A span as objects have it, in seconds; below zero there is none.
pub fn seconds(written: i64) -> Duration {
    Duration::from_secs(written.max(0).unsigned_abs())
}

/// So long after a time.
pub fn after(time: Timestamp, span: Duration) -> Timestamp {
    time.checked_add(span).unwrap_or(Timestamp::MAX)
}

/// So long before a time.
pub fn before(time: Timestamp, span: Duration) -> Timestamp {
    time.checked_sub(span).unwrap_or(Timestamp::MIN)
}

/// Whether a time was written by a clock that was put back since: it is further ahead than any node's clock may be, and nobody waits for it.
pub fn is_of_another_clock(time: Timestamp, now: Timestamp) -> bool {
    time > after(now, CLOCK_SKEW_MAX)
}

/// How far times that nodes report may be ahead of the coordinator's clock, which they are told of.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_span_is_too_long_for_any_time() {
        for time in [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX] {
            for span in [Duration::ZERO, seconds(i64::MIN), seconds(i64::MAX), Duration::MAX] {
                assert!(before(time, span) <= time && time <= after(time, span), "{time} {span:?}");
            }
        }
        assert_eq!(after(Timestamp::UNIX_EPOCH, seconds(5)).as_second(), 5);
        assert_eq!(before(Timestamp::UNIX_EPOCH, seconds(5)).as_second(), -5);
        assert_eq!(after(Timestamp::UNIX_EPOCH, seconds(i64::MAX)), Timestamp::MAX);
    }
}
