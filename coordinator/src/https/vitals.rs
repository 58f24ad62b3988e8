//! What a connection is doing: whether anything is under way on it, and whether its client takes what it is told.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// Shared by a connection and its requests.
#[derive(Debug)]
pub(super) struct Vitals {
    started: Instant,
    under_way: Mutex<UnderWay>,
    unwelcome: Notify,
}

#[derive(Debug)]
struct UnderWay {
    /// Of each request, since when its client has been owed a sign; see [`Exchange`].
    exchanges: Vec<Arc<AtomicU64>>,
    /// When the last request ended.
    idle_since: Instant,
}

/// One request until its answer has been given away.
#[derive(Debug)]
pub(super) struct Exchange {
    vitals: Arc<Vitals>,
    /// Milliseconds since the connection started when a part was given away of which none has been taken yet; zero while the client
    /// waits for us.
    given: Arc<AtomicU64>,
}

/// How a connection fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// It is used.
    Busy,
    /// Nothing has been asked on it for long.
    Idle,
    /// A client has taken nothing for long of an answer that is there.
    Stalled,
}

impl Vitals {
    pub(super) fn new() -> Arc<Self> {
        let started = Instant::now();
        let under_way = UnderWay { exchanges: Vec::new(), idle_since: started };
        Arc::new(Self { started, under_way: Mutex::new(under_way), unwelcome: Notify::new() })
    }

    /// A request has come.
    pub(super) fn begin(self: &Arc<Self>) -> Exchange {
        let given = Arc::new(AtomicU64::new(0));
        self.with(|under_way| under_way.exchanges.push(Arc::clone(&given)));
        Exchange { vitals: Arc::clone(self), given }
    }

    /// How the connection fares now.
    pub(super) fn condition(&self) -> Condition {
        let now = self.now();
        self.with(|under_way| {
            if under_way.exchanges.is_empty() {
                let is_idle = under_way.idle_since.elapsed() >= IDLE_MAX;
                return if is_idle { Condition::Idle } else { Condition::Busy };
            }
            let stall = u64::try_from(STALL_MAX.as_millis()).unwrap_or(u64::MAX);
            let stalled = under_way.exchanges.iter().any(|given| {
                let given = given.load(Ordering::Relaxed);
                given != 0 && now.saturating_sub(given) >= stall
            });
            if stalled { Condition::Stalled } else { Condition::Busy }
        })
    }

    /// Lets the connection end once its requests have ended: its client showed what is not good.
    pub(super) fn part(&self) {
        self.unwelcome.notify_one();
    }

    /// Waits for [`Vitals::part`].
    pub(super) async fn parting(&self) {
        self.unwelcome.notified().await;
    }

    /// Never zero, which means something else.
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    fn with<T>(&self, change: impl FnOnce(&mut UnderWay) -> T) -> T {
        // Every change is complete before anything can panic.
        change(&mut self.under_way.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Exchange {
    /// The connection asks for the next part: what it had has been given on.
    pub(super) fn taken(&self) {
        self.given.store(0, Ordering::Relaxed);
    }

    /// The connection has a part to give on.
    pub(super) fn given(&self) {
        self.given.store(self.vitals.now(), Ordering::Relaxed);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.vitals.with(|under_way| {
            under_way.exchanges.retain(|given| !Arc::ptr_eq(given, &self.given));
            under_way.idle_since = Instant::now();
        });
    }
}

/// How often to look at [`Vitals::condition`].
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(15);

/// How long a connection may be open on which nothing is asked; clients of Go keep theirs for 90 s.
const IDLE_MAX: Duration = Duration::from_secs(120);

/// How long a client may take nothing of an answer that is there: it holds a place that others need.
const STALL_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn idle_and_stalled_connections_are_told_from_busy_ones() {
        let vitals = Vitals::new();
        assert_eq!(vitals.condition(), Condition::Busy, "new");
        advance(IDLE_MAX).await;
        assert_eq!(vitals.condition(), Condition::Idle);
        let (one, other) = (vitals.begin(), vitals.begin());
        advance(IDLE_MAX * 3).await;
        assert_eq!(vitals.condition(), Condition::Busy, "a watch that has nothing to tell");
        one.given();
        advance(STALL_MAX / 2).await;
        one.taken();
        one.given();
        advance(STALL_MAX / 2).await;
        assert_eq!(vitals.condition(), Condition::Busy, "slow");
        advance(STALL_MAX / 2).await;
        assert_eq!(vitals.condition(), Condition::Stalled);
        drop(one);
        assert_eq!(vitals.condition(), Condition::Busy);
        drop(other);
        assert_eq!(vitals.condition(), Condition::Busy);
        advance(IDLE_MAX).await;
        assert_eq!(vitals.condition(), Condition::Idle);
    }
}
