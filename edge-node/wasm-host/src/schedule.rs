//! Takes turns: runs a guest's future in slices, on the fast threads while it behaves, on the low-priority batch threads while it
//! computes without end, and not at all while its CPU quota is used up.
//!
//! [`Scheduled`] is a future like any other to the task that owns it. Between two polls the guest is in one place: here, queued or
//! running on a batch thread, or done.

use std::{
    fmt,
    future::Future,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Sleep, sleep};
use wasmtime::UpdateDeadline;

use crate::{
    batch::{BatchPool, Job},
    cpu::{CpuMeter, Slice},
    ticker::Ticker,
};

/// A guest's future.
pub(crate) type GuestFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The threads and clocks that all guests of a host share.
#[derive(Debug)]
pub(crate) struct Turns {
    pub(crate) ticker: Ticker,
    pub(crate) batch: BatchPool,
}

/// What the epoch callback of a guest's store looks at: when its turn began, what it may take, and whether it is still wanted.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Arc<Turns>,
    cpu: Arc<CpuMeter>,
    /// The running thread's own time then, in nanoseconds.
    began_at_nanos: AtomicU64,
    /// Set when the guest was interrupted for having used its slice or quota, rather than waiting for something.
    used_up: AtomicBool,
    cancelled: AtomicBool,
}

impl Turn {
    pub(crate) fn new(turns: Arc<Turns>, cpu: Arc<CpuMeter>) -> Arc<Self> {
        let began_at_nanos = AtomicU64::new(0);
        let (used_up, cancelled) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { turns, cpu, began_at_nanos, used_up, cancelled })
    }

    /// Decides at a tick whether the guest goes on.
    pub(crate) fn at_tick(&self) -> UpdateDeadline {
        if self.cancelled.load(Ordering::Relaxed) {
            return UpdateDeadline::Interrupt;
        }
        let taken = self.taken();
        if taken < SLICE && !self.cpu.is_spent(taken, Instant::now()) {
            return UpdateDeadline::Continue(1);
        }
        self.used_up.store(true, Ordering::Relaxed);
        UpdateDeadline::YieldCustom(1, Box::pin(YieldOnce::default()))
    }

    fn begin(&self) {
        self.began_at_nanos.store(thread_nanos(), Ordering::Relaxed);
        self.used_up.store(false, Ordering::Relaxed);
    }

    /// Time on a processor since the slice began, for the thread that it runs on.
    fn taken(&self) -> Duration {
        Duration::from_nanos(thread_nanos().saturating_sub(self.began_at_nanos.load(Ordering::Relaxed)))
    }

    /// Whether the guest did nothing but compute in its last slice.
    fn computes(&self) -> bool {
        self.used_up.load(Ordering::Relaxed)
    }
}

/// The batch thread's poll of the guest panicked.
#[derive(Debug)]
pub(crate) struct Panicked;

/// Drives one guest, in turns.
pub(crate) struct Scheduled<T> {
    shared: Arc<Shared<T>>,
    throttle: Option<Throttle>,
}

/// Waiting for quota.
struct Throttle {
    since: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl<T: Send + 'static> Scheduled<T> {
    /// `turn` is the one that the guest's store asks at each tick.
    pub(crate) fn new(turn: Arc<Turn>, future: GuestFuture<T>) -> Self {
        Self { shared: Arc::new(Shared { turn, place: Mutex::new(Place::Here(future)) }), throttle: None }
    }
}

impl<T> Scheduled<T> {
    /// Whether the guest waits for something, as far as the last poll could tell: it neither computes nor waits for its quota.
    pub(crate) fn is_waiting(&self) -> bool {
        self.throttle.is_none()
            && !self.shared.turn.computes()
            && matches!(*self.shared.place(), Place::Here(_))
    }
}

impl<T: Send + 'static> Future for Scheduled<T> {
    type Output = Result<T, Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            let cpu = &this.shared.turn.cpu;
            if let Some(throttle) = &mut this.throttle {
                ready!(throttle.sleep.as_mut().poll(cx));
                cpu.throttled_for(throttle.since.elapsed());
                this.throttle = None;
            }
            let mut place = this.shared.place();
            match mem::replace(&mut *place, Place::Gone) {
                Place::Here(future) => {
                    let now = Instant::now();
                    let slice = match cpu.begin(now) {
                        Ok(slice) => slice,
                        Err(delay) => {
                            *place = Place::Here(future);
                            this.throttle = Some(Throttle { since: now, sleep: Box::pin(sleep(delay)) });
                            continue;
                        }
                    };
                    if this.shared.turn.computes() {
                        // What computes for long does so where it holds up nobody, also after it waited for quota.
                        *place = Place::Batch { next: Some((future, slice)), waker: cx.waker().clone() };
                        drop(place);
                        this.shared.queue();
                        return Poll::Pending;
                    }
                    drop(place);
                    return this.shared.take_turn(future, slice, cx);
                }
                Place::Batch { next, waker: _ } => {
                    *place = Place::Batch { next, waker: cx.waker().clone() };
                    return Poll::Pending;
                }
                Place::Done(result) => return Poll::Ready(result),
                Place::Gone => unreachable!("polled after it was ready"),
            }
        }
    }
}

impl<T> Drop for Scheduled<T> {
    fn drop(&mut self) {
        // A batch thread that is running it right now notices at the next tick and drops it there.
        self.shared.turn.cancelled.store(true, Ordering::Relaxed);
        let left = mem::replace(&mut *self.shared.place(), Place::Gone);
        drop(left);
    }
}

impl<T> fmt::Debug for Scheduled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduled").field("turn", &self.shared.turn).finish_non_exhaustive()
    }
}

struct Shared<T> {
    turn: Arc<Turn>,
    /// Never held while the guest is polled.
    place: Mutex<Place<T>>,
}

/// Where the guest is between two polls of its owner.
enum Place<T> {
    /// With its owner.
    Here(GuestFuture<T>),
    /// Queued for a batch thread, or running on one while `next` is `None`. `waker` is the owner's.
    Batch { next: Option<(GuestFuture<T>, Slice)>, waker: Waker },
    /// It ended on a batch thread.
    Done(Result<T, Panicked>),
    /// Being polled by its owner, or not wanted any more.
    Gone,
}

impl<T: Send + 'static> Shared<T> {
    /// One poll on the owner's thread.
    fn take_turn(
        self: &Arc<Self>,
        mut future: GuestFuture<T>,
        slice: Slice,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, Panicked>> {
        if let Poll::Ready(value) = self.poll_guest(&mut future, slice, cx) {
            return Poll::Ready(Ok(value));
        }
        *self.place() = Place::Here(future);
        if self.turn.computes() {
            // The next poll sends it to a batch thread, once there is quota for that.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn poll_guest(&self, future: &mut GuestFuture<T>, mut slice: Slice, cx: &mut Context<'_>) -> Poll<T> {
        let busy = self.turn.turns.ticker.busy();
        self.turn.begin();
        let polled = future.as_mut().poll(cx);
        slice.take(self.turn.taken());
        drop(busy);
        polled
    }

    fn queue(self: &Arc<Self>) {
        self.turn.turns.batch.push(Arc::clone(self) as Arc<dyn Job>);
    }
}

impl<T> Shared<T> {
    fn place(&self) -> MutexGuard<'_, Place<T>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send + 'static> Job for Shared<T> {
    fn run(self: Arc<Self>) {
        let (mut future, slice, waker) = {
            let mut place = self.place();
            let Place::Batch { next, waker } = &mut *place else { return };
            let Some((future, slice)) = next.take() else { return };
            (future, slice, waker.clone())
        };
        let mut cx = Context::from_waker(&waker);
        let polled = catch_unwind(AssertUnwindSafe(|| self.poll_guest(&mut future, slice, &mut cx)));
        let again = if self.turn.computes() { self.turn.cpu.begin(Instant::now()).ok() } else { None };
        let mut place = self.place();
        // The owner may have gone, or be another task by now.
        let waker = match mem::replace(&mut *place, Place::Gone) {
            Place::Batch { waker, .. } => waker,
            other => {
                *place = other;
                drop(place);
                drop(future);
                return;
            }
        };
        match (polled, again) {
            (Ok(Poll::Pending), Some(slice)) => {
                *place = Place::Batch { next: Some((future, slice)), waker };
                drop(place);
                self.queue();
                return;
            }
            // It waits for something, or for quota: its owner takes it back, which costs one poll for nothing at most.
            (Ok(Poll::Pending), None) => *place = Place::Here(future),
            (Ok(Poll::Ready(value)), _) => *place = Place::Done(Ok(value)),
            (Err(_panic), _) => *place = Place::Done(Err(Panicked)),
        }
        drop(place);
        waker.wake();
    }
}

/// Returns control once; whoever polls decides where and when to go on.
#[derive(Debug, Default)]
struct YieldOnce {
    yielded: bool,
}

impl Future for YieldOnce {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
        if mem::replace(&mut self.yielded, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Time that the calling thread was on a processor.
fn thread_nanos() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or_default())
}

/// What a request needs fits; what takes more is long computing. It is time on a processor: on a machine that others keep busy a guest
/// that waits for one has not computed.
const SLICE: Duration = Duration::from_millis(5);
