//! The cap on what a node is sent: modules wait at the gate, control passes and counts.

use std::{
    io,
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Instant,
};

use dunlin_link::{
    bandwidth::{Budget, BytesPerSecond},
    moment::Moment,
};
use tokio::io::AsyncWrite;

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
        let Some(budget) = &self.budget else { return };
        let wait = lock(budget).reserve(bytes, self.now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
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
