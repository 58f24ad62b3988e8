//! Low-priority threads for guests that compute for longer than a slice: they get what the others leave.

use std::{
    collections::VecDeque,
    fmt,
    num::NonZeroUsize,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use tokio::runtime::Handle;

/// Something to run for one slice.
pub(crate) trait Job: Send + Sync {
    /// Runs one slice; puts itself back into the queue if it needs another.
    fn run(self: Arc<Self>);
}

/// A queue and the threads that serve it, started when the first job comes.
pub(crate) struct BatchPool {
    queue: Arc<Queue>,
    runtime: Handle,
}

impl BatchPool {
    /// Jobs run within `runtime`, so that timers and sockets they open are the same as on the fast threads.
    pub(crate) fn new(runtime: Handle) -> Self {
        let state = QueueState { jobs: VecDeque::new(), threads: Threads::NotStarted };
        Self { queue: Arc::new(Queue { state: Mutex::new(state), changed: Condvar::new() }), runtime }
    }

    /// Queues a job. Each guest is at most once in the queue, which bounds it.
    pub(crate) fn push(&self, job: Arc<dyn Job>) {
        let mut state = self.queue.state();
        state.jobs.push_back(job);
        if state.threads == Threads::NotStarted {
            state.threads = Threads::Started;
            self.start_threads();
        }
        drop(state);
        self.queue.changed.notify_one();
    }

    fn start_threads(&self) {
        let count = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        for number in 0..count {
            let (queue, runtime) = (Arc::clone(&self.queue), self.runtime.clone());
            let spawned =
                thread::Builder::new().name(format!("batch-{number}")).spawn(move || queue.serve(&runtime));
            if let Err(error) = spawned {
                tracing::warn!(%error, "failed to start a batch thread");
            }
        }
    }
}

impl Drop for BatchPool {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        state.threads = Threads::Stopped;
        let left = std::mem::take(&mut state.jobs);
        drop(state);
        drop(left);
        self.queue.changed.notify_all();
    }
}

impl fmt::Debug for BatchPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchPool").field("queued", &self.queue.state().jobs.len()).finish_non_exhaustive()
    }
}

struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

struct QueueState {
    jobs: VecDeque<Arc<dyn Job>>,
    threads: Threads,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Threads {
    NotStarted,
    Started,
    Stopped,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, runtime: &Handle) {
        // On Linux the priority is the calling thread's own. Where it cannot be lowered, jobs still only get turns.
        if let Err(error) = rustix::process::setpriority_process(None, BATCH_NICENESS) {
            tracing::warn!(%error, "failed to lower the priority of a batch thread");
        }
        let _entered = runtime.enter();
        while let Some(job) = self.next() {
            job.run();
        }
    }

    fn next(&self) -> Option<Arc<dyn Job>> {
        let mut state = self.state();
        loop {
            if state.threads == Threads::Stopped {
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Low enough that a request on a fast thread goes first, not so low that other batch work on the machine starves us.
const BATCH_NICENESS: i32 = 15;
