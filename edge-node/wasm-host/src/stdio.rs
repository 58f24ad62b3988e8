//! A guest's standard output and error: they go to whoever keeps logs, or to a caller.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamError, StreamResult},
};

use crate::guest::Terminal;

/// Which of the two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Takes what guests write. It never blocks: a guest waits until there is room, so that nothing grows without bound.
pub trait Output: Send + Sync + 'static {
    /// How many bytes it takes now; zero makes the guest wait.
    fn room(&self) -> usize;

    /// Takes all of `bytes`, which were at most [`Output::room`] when the guest asked.
    fn push(&self, stream: Stream, bytes: &[u8]);

    /// Ready once there is room; otherwise wakes the caller when there is.
    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()>;
}

/// One output stream of one guest.
#[derive(Clone)]
pub(crate) struct GuestOutput {
    pub(crate) output: Arc<dyn Output>,
    pub(crate) stream: Stream,
    pub(crate) terminal: Terminal,
}

impl IsTerminal for GuestOutput {
    fn is_terminal(&self) -> bool {
        self.terminal == Terminal::Yes
    }
}

impl StdoutStream for GuestOutput {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait::async_trait]
impl Pollable for GuestOutput {
    async fn ready(&mut self) {
        poll_fn(|cx| self.output.poll_room(cx)).await;
    }
}

#[async_trait::async_trait]
impl OutputStream for GuestOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > WRITE_BYTES_MAX {
            return Err(StreamError::trap("wrote more than was permitted"));
        }
        self.output.push(self.stream, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        // What is pushed is on its way; waiting for the disk would make every line a context switch.
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(self.output.room().min(WRITE_BYTES_MAX))
    }
}

impl AsyncWrite for GuestOutput {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        std::task::ready!(self.output.poll_room(cx));
        let taken = bytes.len().min(self.output.room()).min(WRITE_BYTES_MAX);
        self.output.push(self.stream, &bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Largest single write: the most by which concurrent writers may overshoot the room.
const WRITE_BYTES_MAX: usize = 8 << 10;
