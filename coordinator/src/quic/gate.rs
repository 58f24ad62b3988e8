//! The cap on what a node is sent: modules wait at the gate, control passes and counts.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use dunlin_link::{
    bandwidth::{Budget, BytesPerSecond},
    moment::Moment,
};
use tokio::{
    io::AsyncWrite,
    time::{Sleep, sleep},
};

/// One connection's gate.
#[derive(Debug)]
pub(super) struct Gate {
    started: Instant,
    /// `None` without a cap.
    budget: Option<Mutex<Budget>>,
}

impl Gate {
    pub(super) fn new(cap: Option<BytesPerSecond>) -> Self {
        Self { started: Instant::now(), budget: cap.map(|rate| Mutex::new(Budget::new(rate))) }
    }

    /// Waits until so much bulk may be sent.
    pub(super) async fn pass(&self, bytes: usize) {
        let wait = self.reserve(bytes);
        if !wait.is_zero() {
            sleep(wait).await;
        }
    }

    /// How long so much bulk has to wait.
    fn reserve(&self, bytes: usize) -> Duration {
        let budget = self.budget.as_ref();
        budget.map(|budget| lock(budget).reserve(bytes, self.now())).unwrap_or_default()
    }

    /// How much bulk to send at a time; `whole` without a cap.
    pub(super) fn piece_bytes(&self, whole: usize) -> usize {
        self.budget.as_ref().map_or(whole, |budget| lock(budget).piece_bytes().min(whole))
    }

    fn spend(&self, bytes: usize) {
        if let Some(budget) = &self.budget {
            lock(budget).spend(bytes, self.now());
        }
    }

    fn now(&self) -> Moment {
        Moment(self.started.elapsed())
    }
}

fn lock(budget: &Mutex<Budget>) -> MutexGuard<'_, Budget> {
    // A budget is consistent after each of its calls.
    budget.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is written here does not wait, but counts.
#[derive(Debug)]
pub(super) struct Passing<'a, W> {
    output: W,
    gate: &'a Gate,
}

impl<'a, W> Passing<'a, W> {
    pub(super) const fn new(output: W, gate: &'a Gate) -> Self {
        Self { output, gate }
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Passing<'_, W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.output).poll_write(context, bytes);
        if let Poll::Ready(Ok(written)) = &polled {
            self.gate.spend(*written);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_shutdown(context)
    }
}

/// What is written here waits for its turn, in pieces.
#[derive(Debug)]
pub(super) struct Waiting<W> {
    output: W,
    gate: Arc<Gate>,
    wait: Option<Pin<Box<Sleep>>>,
    /// Bytes that had their turn and are not written yet.
    granted: usize,
}

impl<W> Waiting<W> {
    pub(super) const fn new(output: W, gate: Arc<Gate>) -> Self {
        Self { output, gate, wait: None, granted: 0 }
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Waiting<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.granted == 0 {
            this.granted = this.gate.piece_bytes(bytes.len());
            let wait = this.gate.reserve(this.granted);
            this.wait = (!wait.is_zero()).then(|| Box::pin(sleep(wait)));
        }
        if let Some(wait) = &mut this.wait {
            ready!(wait.as_mut().poll(context));
            this.wait = None;
        }
        let piece = &bytes[..bytes.len().min(this.granted)];
        let written = ready!(Pin::new(&mut this.output).poll_write(context, piece))?;
        this.granted -= written;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_shutdown(context)
    }
}
