//! Delays between attempts to connect: full jitter over a doubling bound, so that a fleet does not return in step.

use std::time::Duration;

use rand::Rng;

/// Counts failed attempts and draws the delay before the next.
#[derive(Clone, Debug)]
pub struct Backoff {
    failures: u32,
    max: Duration,
}

impl Backoff {
    /// No failure so far; delays will be at most `max`.
    pub const fn new(max: Duration) -> Self {
        Self { failures: 0, max }
    }

    /// Draws the delay before the next attempt: uniform from zero to a bound that starts at [`FIRST`] and doubles.
    pub fn next_delay(&mut self, rng: &mut impl Rng) -> Duration {
        let bound = FIRST.saturating_mul(1 << self.failures.min(20)).min(self.max);
        self.failures = self.failures.saturating_add(1);
        rng.random_range(Duration::ZERO..=bound)
    }

    /// The connection held: the next failure is the first again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Changes the largest bound.
    pub fn limit(&mut self, max: Duration) {
        self.max = max;
    }
}

/// Bound of the first delay.
pub const FIRST: Duration = Duration::from_secs(1);

/// Largest bound unless the coordinator says otherwise.
pub const MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::SmallRng};

    #[test]
    fn delays_stay_in_a_doubling_bound_and_spread_over_it() {
        let mut rng = SmallRng::seed_from_u64(1);
        for (failures, bound) in [(0, 1), (1, 2), (5, 32), (6, 60), (1000, 60)] {
            let draws: Vec<Duration> =
                (0..200).map(|_| Backoff { failures, max: MAX }.next_delay(&mut rng)).collect();
            let bound = Duration::from_secs(bound);
            assert!(draws.iter().all(|delay| *delay <= bound), "{failures}");
            assert!(draws.iter().any(|delay| *delay > bound * 9 / 10), "{failures}");
            assert!(draws.iter().any(|delay| *delay < bound / 10), "{failures}");
        }
    }
}
