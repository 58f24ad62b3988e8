//! A guest's standard streams: output goes to whoever keeps logs, input is empty and ends when the guest is asked to stop.

use std::{
    future::{Future as _, poll_fn},
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::WaitForCancellationFutureOwned;
use wasmtime_wasi::{
    cli::{IsTerminal, StdinStream, StdoutStream},
    p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult},
};

use crate::stop::Stop;

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
}

impl IsTerminal for GuestOutput {
    fn is_terminal(&self) -> bool {
        false
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

/// Standard input that holds nothing and ends when the guest is asked to stop: the only word of it that a guest can hear, since no
/// version of WASI has signals.
#[derive(Clone)]
pub(crate) struct GuestInput {
    stop: Stop,
    listening: Arc<AtomicBool>,
}

impl GuestInput {
    pub(crate) fn new(stop: Stop) -> Self {
        Self { stop, listening: Arc::new(AtomicBool::new(false)) }
    }

    /// Whether the guest has ever looked at its input. One that has not cannot learn that it should stop.
    pub(crate) fn is_listened_to(&self) -> bool {
        self.listening.load(Ordering::Relaxed)
    }

    fn listen(&self) {
        self.listening.store(true, Ordering::Relaxed);
    }
}

impl IsTerminal for GuestInput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for GuestInput {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(InputReader { input: self.clone(), stopped: Box::pin(self.stop.requested()) })
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

#[async_trait::async_trait]
impl Pollable for GuestInput {
    async fn ready(&mut self) {
        self.listen();
        self.stop.requested().await;
    }
}

#[async_trait::async_trait]
impl InputStream for GuestInput {
    fn read(&mut self, _size: usize) -> StreamResult<Bytes> {
        self.listen();
        if self.stop.is_requested() { Err(StreamError::Closed) } else { Ok(Bytes::new()) }
    }
}

/// The same input for interfaces that read it as a byte stream.
struct InputReader {
    input: GuestInput,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl AsyncRead for InputReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.input.listen();
        self.stopped.as_mut().poll(cx).map(Ok)
    }
}

/// Largest single write: the most by which concurrent writers may overshoot the room.
const WRITE_BYTES_MAX: usize = 8 << 10;
