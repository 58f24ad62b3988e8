//! How far a node's clock is from the coordinator's, steady enough that unchanged times stay unchanged.

use crate::UnixMillis;

/// 2026-01-01, in seconds since 1970: before this there was no release of ours, so no clock of either side is believed below it.
pub const RELEASED_AT_SECONDS: u64 = 1_767_225_600;

/// The correction for one session, observed anew with everything that the node sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockOffset {
    milliseconds: i64,
}

impl ClockOffset {
    /// Takes note that what the node sent at `sent_at` by its clock arrived at `arrived_at` by ours. The correction moves only when
    /// the two differ from it by more than [`TOLERANCE_MS`], so that delays of the network do not show as changes of status.
    pub fn observe(&mut self, sent_at: UnixMillis, arrived_at: UnixMillis) {
        let measured = arrived_at.0.saturating_sub(sent_at.0);
        if measured.saturating_sub(self.milliseconds).saturating_abs() > TOLERANCE_MS {
            self.milliseconds = measured;
        }
    }

    /// What to add to the node's times.
    pub const fn milliseconds(self) -> i64 {
        self.milliseconds
    }
}

/// Kubernetes' times are whole seconds; a node whose clock is this close needs no correction.
pub const TOLERANCE_MS: i64 = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_only_by_more_than_the_tolerance() {
        let mut offset = ClockOffset::default();
        let mut check = |sent: i64, arrived: i64, expected: i64| {
            offset.observe(UnixMillis(sent), UnixMillis(arrived));
            assert_eq!(offset.milliseconds(), expected, "{sent} {arrived}");
        };
        check(1_000, 1_030, 0);
        check(0, 1_000_000, 1_000_000);
        check(10, 1_001_500, 1_000_000);
        check(1_000_500, 1_000_600, 100);
        check(i64::MIN, i64::MAX, i64::MAX);
    }
}
