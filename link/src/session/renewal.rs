//! When a node asks for its next certificate: at a random moment of the later life of the one it has, so that nodes which joined
//! together do not come together ever after.
//!
//! All times here are the coordinator's, never the node's own: a node without a clock would renew at every start, or never.

use std::{ops::Range, time::Duration};

use rand::Rng;

use crate::UnixMillis;

/// The next renewal of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    at: UnixMillis,
    end: UnixMillis,
}

impl Renewal {
    /// Draws the moment, between 50 and 80 % of the certificate's life.
    pub fn of(life: &Range<UnixMillis>, rng: &mut impl Rng) -> Self {
        let length = life.end.0.saturating_sub(life.start.0).max(0);
        let share = rng.random_range(EARLIEST_PERCENT..=LATEST_PERCENT);
        // Divided first: the longest life is far from the bounds of the type only that way.
        let at = UnixMillis(life.start.0.saturating_add(length / 100 * share));
        Self { at, end: life.end }
    }

    /// How long to wait at `now`; zero when it is time.
    pub fn wait(&self, now: UnixMillis) -> Duration {
        Duration::from_millis(u64::try_from(self.at.0.saturating_sub(now.0)).unwrap_or(0))
    }

    /// An attempt at `now` brought nothing: tries again after a tenth, more or less, of what is left of the life, within bounds.
    pub fn retry(&mut self, now: UnixMillis, rng: &mut impl Rng) {
        let left = Duration::from_millis(u64::try_from(self.end.0.saturating_sub(now.0)).unwrap_or(0));
        let bound = (left / 5).clamp(RETRY_MIN, RETRY_MAX);
        let delay = rng.random_range(RETRY_MIN..=bound);
        self.at = UnixMillis(now.0.saturating_add(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)));
    }
}

/// Whether a certificate that ends at `end` has expired for sure when it is `now` or later.
pub const fn has_expired(end: UnixMillis, now: UnixMillis) -> bool {
    end.0 <= now.0
}

/// Before this a renewal would be a waste.
const EARLIEST_PERCENT: i64 = 50;

/// After this too little time is left for a coordinator that is away.
const LATEST_PERCENT: i64 = 80;

/// A coordinator that refused or is overloaded is not asked again at once.
const RETRY_MIN: Duration = Duration::from_secs(1);

/// However long the life is, what kept a renewal from succeeding is mostly gone after this.
const RETRY_MAX: Duration = Duration::from_secs(6 * 3600);

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::SmallRng};

    const DAY_MS: i64 = 86_400_000;

    #[test]
    fn renewals_spread_over_the_later_life() {
        let mut rng = SmallRng::seed_from_u64(1);
        let life = UnixMillis(1_000 * DAY_MS)..UnixMillis(1_030 * DAY_MS);
        let waits: Vec<_> =
            (0..1000).map(|_| Renewal::of(&life, &mut rng).wait(life.start).as_secs() / 86_400).collect();
        assert!(waits.iter().all(|days| (15..=24).contains(days)), "{waits:?}");
        assert!((15..24).all(|day| waits.contains(&day)), "{waits:?}");
    }

    #[test]
    fn a_moment_that_has_passed_is_now() {
        let mut rng = SmallRng::seed_from_u64(2);
        let renewal = Renewal::of(&(UnixMillis(0)..UnixMillis(1000)), &mut rng);
        assert_eq!(renewal.wait(UnixMillis(900)), Duration::ZERO);
        assert!(renewal.wait(UnixMillis(400)) >= Duration::from_millis(100));
        let odd = Renewal::of(&(UnixMillis(i64::MAX)..UnixMillis(i64::MIN)), &mut rng);
        assert_eq!(odd.wait(UnixMillis(i64::MAX)), Duration::ZERO);
    }

    #[test]
    fn what_failed_is_tried_again_sooner_the_less_is_left() {
        let mut rng = SmallRng::seed_from_u64(3);
        let mut check = |left_ms: i64, most: Duration| {
            let now = UnixMillis(5_000);
            let mut renewal = Renewal { at: now, end: UnixMillis(now.0 + left_ms) };
            for _ in 0..100 {
                renewal.retry(now, &mut rng);
                assert!((RETRY_MIN..=most).contains(&renewal.wait(now)), "{renewal:?}");
            }
        };
        check(10 * DAY_MS, RETRY_MAX);
        check(3_600_000, Duration::from_secs(720));
        check(2_000, RETRY_MIN);
        check(-5, RETRY_MIN);
    }
}
