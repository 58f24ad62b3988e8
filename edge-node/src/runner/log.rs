//! Logs of the runner's containers.
//!
//! Guests push into a bounded buffer and wait when it is full; one thread writes what is pending to the files. A buffer costs
//! nothing while it is empty.

use std::{
    collections::VecDeque,
    io,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    thread,
};

pub use dunlin_container_log::LogBounds;
use dunlin_container_log::{Lines, LogFile};
use dunlin_wasm_host::{Output, Stream};
use jiff::Timestamp;
use tokio::sync::oneshot;

/// The writer of all logs of a table of containers.
#[derive(Debug)]
pub(crate) struct Logs {
    bounds: LogBounds,
    queue: Arc<Queue>,
}

impl Logs {
    /// Starts the thread that writes.
    pub(crate) fn start(bounds: LogBounds) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let served = Arc::clone(&queue);
        thread::Builder::new().name("logs".to_owned()).spawn(move || served.serve())?;
        Ok(Self { bounds, queue })
    }

    /// Opens a container's log for appending.
    pub(crate) fn open(&self, path: &Path) -> io::Result<Arc<Log>> {
        let sink = Sink { file: LogFile::open(path, self.bounds)?, lines: Lines::default(), failures: 0 };
        Ok(Arc::new_cyclic(|this| Log {
            this: Weak::clone(this),
            queue: Arc::clone(&self.queue),
            state: Mutex::default(),
            sink: Mutex::new(sink),
        }))
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.queue.lock().stopped = Stopped::Yes;
        self.queue.changed.notify_all();
    }
}

/// One container's log.
#[derive(Debug)]
pub(crate) struct Log {
    this: Weak<Self>,
    queue: Arc<Queue>,
    state: Mutex<Pending>,
    /// Only the writing thread locks it for long.
    sink: Mutex<Sink>,
}

/// What guests have pushed and nobody has written yet.
#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    chunks: Vec<Chunk>,
    /// Whether the log waits in the queue.
    queued: bool,
    /// Guests that wait for room.
    waiting: Vec<Waker>,
    /// Set when no more will come; answered when all is written.
    finish: Option<oneshot::Sender<()>>,
}

/// What one push added to `bytes`.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    at: Timestamp,
    stream: Stream,
    length: usize,
}

#[derive(Debug)]
struct Sink {
    file: LogFile,
    lines: Lines,
    /// Batches that could not be written.
    failures: u64,
}

impl Log {
    /// Writes what is left, unfinished lines included, and returns when it is in the file.
    pub(crate) async fn finish(&self) {
        let (tell, finished) = oneshot::channel();
        self.ask_to_finish(tell);
        // Without the thread nothing more is written, and there is nothing to wait for.
        let _ = finished.await;
    }

    fn ask_to_finish(&self, tell: oneshot::Sender<()>) {
        let mut state = self.state();
        state.finish = Some(tell);
        self.enqueue(&mut state);
    }

    fn enqueue(&self, state: &mut Pending) {
        if !std::mem::replace(&mut state.queued, true)
            && let Some(this) = self.this.upgrade()
        {
            self.queue.push(this);
        }
    }

    fn write_pending(&self) {
        let mut state = self.state();
        state.queued = false;
        let bytes = std::mem::take(&mut state.bytes);
        let chunks = std::mem::take(&mut state.chunks);
        let waiting = std::mem::take(&mut state.waiting);
        let finish = state.finish.take();
        drop(state);
        waiting.into_iter().for_each(Waker::wake);

        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = Vec::with_capacity(bytes.len() + LINE_HEAD_BYTES * chunks.len());
        let mut rest = &bytes[..];
        for chunk in chunks {
            let (now, later) = rest.split_at(chunk.length);
            sink.lines.add(chunk.at, of_log(chunk.stream), now, &mut text);
            rest = later;
        }
        if finish.is_some() {
            sink.lines.end(Timestamp::now(), &mut text);
        }
        sink.write(&text);
        drop(sink);
        if let Some(finish) = finish {
            // Whoever asked may have stopped waiting.
            let _ = finish.send(());
        }
    }

    fn state(&self) -> MutexGuard<'_, Pending> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Output for Log {
    fn room(&self) -> usize {
        self.state().room()
    }

    fn push(&self, stream: Stream, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let at = Timestamp::now();
        let mut state = self.state();
        state.bytes.extend_from_slice(bytes);
        state.chunks.push(Chunk { at, stream, length: bytes.len() });
        self.enqueue(&mut state);
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.room() > 0 {
            return Poll::Ready(());
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Pending {
    /// Many tiny writes are bounded too, since each has a record.
    fn room(&self) -> usize {
        if self.chunks.len() >= PENDING_CHUNKS_MAX {
            return 0;
        }
        PENDING_BYTES_MAX.saturating_sub(self.bytes.len())
    }
}

impl Sink {
    /// A disk that is full loses output, not the guest; it is said once, not once a line.
    fn write(&mut self, text: &[u8]) {
        let Err(error) = self.file.write(text) else { return };
        if self.failures == 0 {
            tracing::warn!(%error, log = %self.file.path().display(), "failed to write a log; output is lost");
        }
        self.failures += 1;
    }
}

const fn of_log(stream: Stream) -> dunlin_container_log::Stream {
    match stream {
        Stream::Stdout => dunlin_container_log::Stream::Stdout,
        Stream::Stderr => dunlin_container_log::Stream::Stderr,
    }
}

/// Logs with something pending, each at most once.
#[derive(Debug, Default)]
struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    logs: VecDeque<Arc<Log>>,
    stopped: Stopped,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stopped {
    #[default]
    No,
    Yes,
}

impl Queue {
    fn push(&self, log: Arc<Log>) {
        self.lock().logs.push_back(log);
        self.changed.notify_one();
    }

    fn serve(&self) {
        while let Some(log) = self.next() {
            log.write_pending();
        }
    }

    fn next(&self) -> Option<Arc<Log>> {
        let mut state = self.lock();
        loop {
            if let Some(log) = state.logs.pop_front() {
                return Some(log);
            }
            if state.stopped == Stopped::Yes {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a guest may write ahead of the disk.
const PENDING_BYTES_MAX: usize = 64 << 10;

/// Writes that a guest may be ahead of the disk.
const PENDING_CHUNKS_MAX: usize = 4096;

/// Length of a line's time and tags.
const LINE_HEAD_BYTES: usize = 48;
