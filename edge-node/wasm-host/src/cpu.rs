//! One container's CPU time: counted always, and limited to a quota where its spec says so.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Counts the time of all instances of a container, and says when they have to wait.
#[derive(Debug)]
pub(crate) struct CpuMeter {
    used_nanos: AtomicU64,
    quota: Option<Mutex<Quota>>,
}

impl CpuMeter {
    /// `limit_milli` is in thousandths of a core; `None` is unlimited.
    pub(crate) fn new(limit_milli: Option<u64>, now: Instant) -> Self {
        let quota = limit_milli.map(|milli| Mutex::new(Quota::new(milli.max(1), now)));
        Self { used_nanos: AtomicU64::new(0), quota }
    }

    /// Adds time that a guest was on a processor.
    pub(crate) fn charge(&self, used: Duration, now: Instant) {
        let nanos = u64::try_from(used.as_nanos()).unwrap_or(u64::MAX);
        self.used_nanos.fetch_add(nanos, Ordering::Relaxed);
        if let Some(quota) = &self.quota {
            quota.lock().unwrap_or_else(PoisonError::into_inner).charge(nanos, now);
        }
    }

    /// Time that guests were on a processor, since the beginning.
    pub(crate) fn used(&self) -> Duration {
        Duration::from_nanos(self.used_nanos.load(Ordering::Relaxed))
    }

    /// How long guests have to wait before they may go on; `None` is not at all.
    pub(crate) fn delay(&self, now: Instant) -> Option<Duration> {
        self.quota.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).delay(now)
    }
}

/// A bucket of nanoseconds that fills at the limit's rate. A slice may overdraw it, since guests are interrupted only at ticks; the
/// debt is then waited off, so that the average holds.
#[derive(Debug)]
struct Quota {
    milli: u64,
    balance_nanos: i64,
    filled_at: Instant,
}

impl Quota {
    fn new(milli: u64, now: Instant) -> Self {
        Self { milli, balance_nanos: nanos_of(PERIOD, milli), filled_at: now }
    }

    fn charge(&mut self, nanos: u64, now: Instant) {
        self.fill(now);
        self.balance_nanos = self.balance_nanos.saturating_sub(i64::try_from(nanos).unwrap_or(i64::MAX));
    }

    fn delay(&mut self, now: Instant) -> Option<Duration> {
        self.fill(now);
        let debt = u64::try_from(self.balance_nanos.checked_neg()?).ok().filter(|debt| *debt > 0)?;
        Some(Duration::from_nanos(debt.saturating_mul(1000) / self.milli))
    }

    fn fill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled_at);
        self.filled_at = now;
        let filled = self.balance_nanos.saturating_add(nanos_of(elapsed, self.milli));
        self.balance_nanos = filled.min(nanos_of(PERIOD, self.milli));
    }
}

fn nanos_of(elapsed: Duration, milli: u64) -> i64 {
    let nanos = elapsed.as_nanos().saturating_mul(u128::from(milli)) / 1000;
    i64::try_from(nanos).unwrap_or(i64::MAX)
}

/// Kubernetes' period: a guest may use up to this much of its quota in one burst.
const PERIOD: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debt_is_waited_off_at_the_limit_s_rate() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let meter = CpuMeter::new(Some(100), start);
        assert_eq!(meter.delay(at(0)), None);
        meter.charge(Duration::from_millis(10), at(10));
        assert_eq!(meter.delay(at(10)), None);
        meter.charge(Duration::from_millis(10), at(10));
        assert_eq!(meter.delay(at(10)), Some(Duration::from_millis(100)));
        assert_eq!(meter.delay(at(60)), Some(Duration::from_millis(50)));
        assert_eq!(meter.delay(at(110)), None);
        // A long pause saves up no more than one period.
        meter.charge(Duration::from_millis(30), at(100_000));
        assert_eq!(meter.delay(at(100_000)), Some(Duration::from_millis(200)));
    }

    #[test]
    fn no_limit_is_no_delay() {
        let now = Instant::now();
        let meter = CpuMeter::new(None, now);
        meter.charge(Duration::from_secs(100), now);
        assert_eq!(meter.delay(now), None);
    }
}
