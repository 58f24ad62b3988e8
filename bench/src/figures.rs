//! Rates and percentiles from times.

use std::time::Duration;

/// How long each of many things took.
#[derive(Debug, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub(crate) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The time in milliseconds that `percent` of all do not exceed; 0 when there are none.
    pub(crate) fn percentile_ms(&mut self, percent: usize) -> f64 {
        self.0.sort_unstable();
        let rank = (self.0.len() * percent).div_ceil(100).saturating_sub(1);
        self.0.get(rank).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    }

    /// How many there were per second of `elapsed`.
    pub(crate) fn rate(&self, elapsed: Duration) -> f64 {
        rate(self.len(), elapsed)
    }
}

/// `count` per second of `elapsed`.
pub(crate) fn rate(count: usize, elapsed: Duration) -> f64 {
    let count = u32::try_from(count).map_or(f64::INFINITY, f64::from);
    count / elapsed.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_occurred() {
        let mut times = Times::default();
        assert!(times.percentile_ms(50).abs() < f64::EPSILON);
        for ms in (1..=100).rev() {
            times.push(Duration::from_millis(ms));
        }
        assert!((times.percentile_ms(50) - 50.0).abs() < 1e-9);
        assert!((times.percentile_ms(99) - 99.0).abs() < 1e-9);
        assert!((times.percentile_ms(100) - 100.0).abs() < 1e-9);
    }
}
