//! One container's CPU time: counted always, and limited to a quota where its spec says so.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Counts the time of all instances of a container, and says when they have to wait.
#[derive(Debug)]
pub(crate) struct CpuMeter {
    used_nanos: AtomicU64,
    throttled_nanos: AtomicU64,
    quota: Option<Mutex<Quota>>,
}

impl CpuMeter {
    /// `limit_milli` is in thousandths of a core; `None` is unlimited.
    pub(crate) fn new(limit_milli: Option<u64>, now: Instant) -> Self {
        let quota = limit_milli.map(|milli| Mutex::new(Quota::new(milli.max(LIMIT_MILLI_MIN), now)));
        Self { used_nanos: AtomicU64::new(0), throttled_nanos: AtomicU64::new(0), quota }
    }

    /// Lets an instance begin a slice.
    ///
    /// # Errors
    /// With how long it has to wait first.
    pub(crate) fn begin(self: &Arc<Self>, now: Instant) -> Result<Slice, Duration> {
        self.admit(now)?;
        Ok(Slice { meter: Arc::clone(self), taken: Duration::ZERO })
    }

    fn admit(&self, now: Instant) -> Result<(), Duration> {
        self.quota().map_or(Ok(()), |mut quota| quota.begin(now))
    }

    fn end(&self, used: Duration, now: Instant) {
        let nanos = nanos_of(used);
        self.used_nanos.fetch_add(nanos, Ordering::Relaxed);
        if let Some(mut quota) = self.quota() {
            quota.end(nanos, now);
        }
    }

    /// Whether a slice that has taken `used` up to now leaves nothing of the quota.
    pub(crate) fn is_spent(&self, used: Duration, now: Instant) -> bool {
        self.quota().is_some_and(|mut quota| quota.is_spent(nanos_of(used), now))
    }

    /// Adds time that an instance waited for quota.
    pub(crate) fn throttled_for(&self, waited: Duration) {
        self.throttled_nanos.fetch_add(nanos_of(waited), Ordering::Relaxed);
    }

    /// Time that guests were on a processor, since the beginning.
    pub(crate) fn used(&self) -> Duration {
        Duration::from_nanos(self.used_nanos.load(Ordering::Relaxed))
    }

    /// Time that guests waited for quota, since the beginning: the sum over instances.
    pub(crate) fn throttled(&self) -> Duration {
        Duration::from_nanos(self.throttled_nanos.load(Ordering::Relaxed))
    }

    fn quota(&self) -> Option<MutexGuard<'_, Quota>> {
        Some(self.quota.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A slice of one instance; what it took is counted when this is dropped.
#[derive(Debug)]
pub(crate) struct Slice {
    meter: Arc<CpuMeter>,
    taken: Duration,
}

impl Slice {
    /// Says for how long the instance was on a processor.
    pub(crate) fn take(&mut self, taken: Duration) {
        self.taken = taken;
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        self.meter.end(self.taken, Instant::now());
    }
}

/// A bucket of nanoseconds that fills at the limit's rate. A slice may overdraw it, since guests are interrupted only at ticks; the
/// debt is then waited off, so that the average holds.
#[derive(Debug)]
struct Quota {
    milli: u64,
    balance_nanos: i64,
    /// Slices that have begun and not ended: each is about to take something.
    running: i64,
    filled_at: Instant,
}

impl Quota {
    fn new(milli: u64, now: Instant) -> Self {
        Self { milli, balance_nanos: refill(BURST, milli), running: 0, filled_at: now }
    }

    fn begin(&mut self, now: Instant) -> Result<(), Duration> {
        self.fill(now);
        if self.balance_nanos < 0 {
            let wait = self.balance_nanos.unsigned_abs().saturating_mul(1000) / self.milli;
            return Err(Duration::from_nanos(wait));
        }
        // Otherwise as many as there are threads would begin at once with what is enough for one.
        let expected = self.running.saturating_mul(SLICE_EXPECTED_NANOS);
        if self.balance_nanos < expected {
            return Err(RUNNING_WAIT);
        }
        self.running += 1;
        Ok(())
    }

    fn end(&mut self, nanos: u64, now: Instant) {
        self.fill(now);
        self.running = self.running.saturating_sub(1);
        self.balance_nanos = self.balance_nanos.saturating_sub(i64::try_from(nanos).unwrap_or(i64::MAX));
    }

    fn is_spent(&mut self, nanos: u64, now: Instant) -> bool {
        self.fill(now);
        i64::try_from(nanos).unwrap_or(i64::MAX) >= self.balance_nanos
    }

    fn fill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled_at);
        self.filled_at = now;
        let filled = self.balance_nanos.saturating_add(refill(elapsed, self.milli));
        self.balance_nanos = filled.min(refill(BURST, self.milli));
    }
}

fn refill(elapsed: Duration, milli: u64) -> i64 {
    let nanos = elapsed.as_nanos().saturating_mul(u128::from(milli)) / 1000;
    i64::try_from(nanos).unwrap_or(i64::MAX)
}

fn nanos_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What may be saved up while idle: the quota of half of Kubernetes' period of 100 ms. A whole one and the last slice's overdraft
/// together would be more than a tenth of what a second may have.
const BURST: Duration = Duration::from_millis(50);

/// Kubernetes' smallest quota: a millisecond in each period.
const LIMIT_MILLI_MIN: u64 = 10;

/// What a slice takes that is interrupted at the first tick.
const SLICE_EXPECTED_NANOS: i64 = 5_000_000;

/// When to look again whether those that run left something. Short, since most slices end long before a tick.
const RUNNING_WAIT: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn debt_is_waited_off_at_the_limit_s_rate() {
        let start = Instant::now();
        let at = |millis| start + ms(millis);
        let meter = CpuMeter::new(Some(100), start);
        assert_eq!(meter.admit(at(0)), Ok(()));
        meter.end(ms(15), at(0));
        assert_eq!(meter.admit(at(0)), Err(ms(100)));
        assert_eq!(meter.admit(at(60)), Err(ms(40)));
        assert_eq!(meter.admit(at(100)), Ok(()));
        meter.end(ms(0), at(100));
        // A long pause saves up no more than half a period.
        assert_eq!(meter.admit(at(100_000)), Ok(()));
        assert!(!meter.is_spent(ms(4), at(100_000)) && meter.is_spent(ms(5), at(100_000)));
        meter.end(ms(25), at(100_000));
        assert_eq!(meter.admit(at(100_000)), Err(ms(200)));
    }

    #[test]
    fn instances_do_not_begin_at_once_with_what_is_enough_for_one() {
        let now = Instant::now();
        let meter = CpuMeter::new(Some(100), now);
        assert_eq!((meter.admit(now), meter.admit(now)), (Ok(()), Ok(())));
        assert_eq!(meter.admit(now), Err(RUNNING_WAIT));
        meter.end(ms(0), now);
        assert_eq!(meter.admit(now), Ok(()));
    }

    /// Plays instances that always compute on some threads, each interrupted at ticks, and looks at every second, or ten.
    fn check(milli: u64, threads: usize, window_ms: u64) {
        let start = Instant::now();
        let meter = CpuMeter::new(Some(milli), start);
        let mut began = vec![None; threads];
        let mut wakes = vec![0; threads];
        let mut used = vec![0u64];
        for now in 0..window_ms * 3 {
            let at = start + ms(now);
            for (thread, began) in began.iter_mut().enumerate() {
                let is_tick = now % 5 == 0;
                if let Some(since) = *began
                    && is_tick
                    && (meter.is_spent(ms(now - since), at) || now - since >= 10)
                {
                    meter.end(ms(now - since), at);
                    *began = None;
                }
                if began.is_none() && wakes[thread] <= now {
                    match meter.admit(at) {
                        Ok(()) => *began = Some(now),
                        // Timers are late by up to a millisecond, never early.
                        Err(wait) => wakes[thread] = now + u64::try_from(wait.as_millis()).unwrap() + 1,
                    }
                }
            }
            let running = began.iter().flatten().count() as u64;
            used.push(used[used.len() - 1] + running);
        }
        let window = usize::try_from(window_ms).unwrap();
        let allowed = milli.min(1000 * threads as u64) * window_ms / 1000;
        for (from, to) in used.iter().zip(&used[window..]) {
            let seen = to - from;
            assert!(
                seen * 10 <= allowed * 11 && seen * 10 >= allowed * 9,
                "{milli}m on {threads} threads: {seen} ms instead of {allowed} ms in {window_ms} ms"
            );
        }
    }

    #[test]
    fn quotas_hold_within_a_tenth_of_any_second() {
        for threads in [1, 2, 4, 8] {
            for milli in [100, 150, 250, 333, 500, 900, 1000, 1500, 3000] {
                check(milli, threads, 1000);
            }
            for milli in [10, 20, 50, 99] {
                check(milli, threads, 10_000);
            }
        }
    }

    #[test]
    fn no_limit_is_no_delay() {
        let now = Instant::now();
        let meter = CpuMeter::new(None, now);
        meter.end(Duration::from_secs(100), now);
        assert_eq!((meter.admit(now), meter.used()), (Ok(()), Duration::from_secs(100)));
        assert!(!meter.is_spent(Duration::from_secs(100), now));
        meter.throttled_for(ms(3));
        assert_eq!(meter.throttled(), ms(3));
    }
}
