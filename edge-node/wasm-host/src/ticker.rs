//! The epoch: a counter that rises every few milliseconds while some guest computes, and rests while none does, so that an idle
//! node costs nothing.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use wasmtime::Engine;

/// Owns the thread that counts.
#[derive(Debug)]
pub(crate) struct Ticker {
    epoch: Arc<Epoch>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    pub(crate) fn start(engine: Engine) -> std::io::Result<Self> {
        let epoch = Arc::new(Epoch { engines: Mutex::new(vec![engine]), ..Epoch::default() });
        let counted = Arc::clone(&epoch);
        let thread = thread::Builder::new().name("epoch".to_owned()).spawn(move || counted.count())?;
        Ok(Self { epoch, thread: Some(thread) })
    }

    /// Counts for another engine too.
    pub(crate) fn add(&self, engine: Engine) {
        self.epoch.engines().push(engine);
    }

    /// Marks a guest as computing until the mark is dropped.
    pub(crate) fn busy(&self) -> Busy<'_> {
        self.epoch.busy.fetch_add(1, Ordering::SeqCst);
        if self.epoch.resting.swap(false, Ordering::SeqCst) {
            self.wake();
        }
        Busy { epoch: &self.epoch }
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.epoch.stopped.store(true, Ordering::SeqCst);
        self.wake();
        if let Some(thread) = self.thread.take() {
            // It ends within a tick; a panic in it has nobody left to concern.
            drop(thread.join());
        }
    }
}

/// A guest computes while this lives.
#[derive(Debug)]
pub(crate) struct Busy<'a> {
    epoch: &'a Epoch,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.epoch.busy.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The count itself.
#[derive(Default)]
pub(crate) struct Epoch {
    /// Whose own counts rise with this one.
    engines: Mutex<Vec<Engine>>,
    busy: AtomicUsize,
    /// True only while the thread sleeps without a time; whoever makes it false wakes the thread.
    resting: AtomicBool,
    stopped: AtomicBool,
}

impl Epoch {
    fn engines(&self) -> MutexGuard<'_, Vec<Engine>> {
        self.engines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self) {
        while !self.stopped.load(Ordering::SeqCst) {
            thread::sleep(TICK);
            self.engines().iter().for_each(Engine::increment_epoch);
            self.rest_while_idle();
        }
    }

    fn rest_while_idle(&self) {
        self.resting.store(true, Ordering::SeqCst);
        // A guest that starts between these two lines sees `resting` and wakes us; one that started before is seen here.
        while self.busy.load(Ordering::SeqCst) == 0
            && self.resting.load(Ordering::SeqCst)
            && !self.stopped.load(Ordering::SeqCst)
        {
            thread::park();
        }
        self.resting.store(false, Ordering::SeqCst);
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Epoch").field("busy", &self.busy).finish_non_exhaustive()
    }
}

/// How often running guests are looked at. Half of what a request may take before it counts as long computing.
const TICK: Duration = Duration::from_millis(5);
