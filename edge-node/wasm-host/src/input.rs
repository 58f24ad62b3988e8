//! A guest's standard input: a bounded pipe that somebody may write into, and that ends when the guest is asked to stop.
//!
//! The end of input is the only word of a stop that a guest can hear, since no version of WASI has signals.

use std::{
    collections::VecDeque,
    fmt,
    future::{Future as _, poll_fn},
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::sync::WaitForCancellationFutureOwned;
use wasmtime_wasi::{
    cli::{IsTerminal, StdinStream},
    p2::{InputStream, Pollable, StreamError, StreamResult},
};

use crate::{guest::Terminal, stop::Stop};

/// Bytes on their way to a guest's standard input. Clones are the same pipe.
#[derive(Clone, Default)]
pub struct Input {
    pipe: Arc<Mutex<Pipe>>,
}

#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    ended: bool,
    /// Those that wait for bytes.
    readers: Vec<Waker>,
    /// Those that wait for room.
    writers: Vec<Waker>,
}

/// Nobody reads any more: the input was ended, or the guest was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the input has ended")]
pub struct InputEnded;

impl Input {
    /// An input into which nothing was written yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// An input that holds nothing and ends at once.
    pub fn empty() -> Self {
        let input = Self::new();
        input.end();
        input
    }

    /// Writes all of `bytes`, as the guest reads them.
    ///
    /// # Errors
    /// When the input has ended.
    pub async fn write(&self, mut bytes: &[u8]) -> Result<(), InputEnded> {
        while !bytes.is_empty() {
            let taken = poll_fn(|cx| self.poll_write(cx, bytes)).await?;
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    /// Reads in a guest's place: what is there, at most `size` bytes; `None` at the end.
    pub async fn read(&self, size: usize) -> Option<Vec<u8>> {
        poll_fn(|cx| self.poll_readable(cx)).await;
        self.take(size)
    }

    /// Ends the input: the guest reads what is there, and then its end.
    pub fn end(&self) {
        let mut pipe = self.pipe();
        pipe.ended = true;
        pipe.wake_all();
    }

    fn poll_write(&self, cx: &Context<'_>, bytes: &[u8]) -> Poll<Result<usize, InputEnded>> {
        let mut pipe = self.pipe();
        if pipe.ended {
            return Poll::Ready(Err(InputEnded));
        }
        let taken = PIPE_BYTES_MAX.saturating_sub(pipe.bytes.len()).min(bytes.len());
        if taken == 0 {
            wait(&mut pipe.writers, cx);
            return Poll::Pending;
        }
        pipe.bytes.extend(&bytes[..taken]);
        wake(&mut pipe.readers);
        Poll::Ready(Ok(taken))
    }

    /// Ready when there is something to read, be it the end.
    fn poll_readable(&self, cx: &Context<'_>) -> Poll<()> {
        let mut pipe = self.pipe();
        if pipe.ended || !pipe.bytes.is_empty() {
            return Poll::Ready(());
        }
        wait(&mut pipe.readers, cx);
        Poll::Pending
    }

    /// What is there, at most `size` bytes; `None` at the end.
    fn take(&self, size: usize) -> Option<Vec<u8>> {
        let mut pipe = self.pipe();
        if pipe.ended && pipe.bytes.is_empty() {
            return None;
        }
        let size = size.min(pipe.bytes.len());
        let taken = pipe.bytes.drain(..size).collect();
        if pipe.bytes.is_empty() {
            // An idle guest costs nothing.
            pipe.bytes = VecDeque::new();
        }
        wake(&mut pipe.writers);
        Some(taken)
    }

    fn pipe(&self) -> MutexGuard<'_, Pipe> {
        self.pipe.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pipe {
    fn wake_all(&mut self) {
        wake(&mut self.readers);
        wake(&mut self.writers);
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").finish_non_exhaustive()
    }
}

fn wait(waiting: &mut Vec<Waker>, cx: &Context<'_>) {
    if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
        waiting.push(cx.waker().clone());
    }
}

fn wake(waiting: &mut Vec<Waker>) {
    std::mem::take(waiting).into_iter().for_each(Waker::wake);
}

/// The guest's end of its input.
#[derive(Clone)]
pub(crate) struct GuestInput {
    input: Input,
    stop: Stop,
    terminal: Terminal,
    listening: Arc<AtomicBool>,
    /// See [`GuestInput::note_socket`].
    has_socket: Arc<AtomicBool>,
}

impl GuestInput {
    pub(crate) fn new(input: Input, stop: Stop, terminal: Terminal) -> Self {
        Self { input, stop, terminal, listening: Arc::default(), has_socket: Arc::default() }
    }

    /// The guest whose input this is has used a socket: somebody may be talking to it.
    pub(crate) fn note_socket(&self) {
        self.has_socket.store(true, Ordering::Relaxed);
    }

    /// Whether the guest has ever used a socket.
    pub(crate) fn has_socket(&self) -> bool {
        self.has_socket.load(Ordering::Relaxed)
    }

    /// Whether the guest has ever looked at its input. One that has not cannot learn that it should stop.
    pub(crate) fn is_listened_to(&self) -> bool {
        self.listening.load(Ordering::Relaxed)
    }

    fn listen(&self) {
        self.listening.store(true, Ordering::Relaxed);
    }

    /// What is there; `None` at the end, which comes with the order to stop once everything was read.
    fn take(&self, size: usize) -> Option<Vec<u8>> {
        // Asked first: what was written before the order is read before the end.
        let is_stopping = self.stop.is_requested();
        self.input.take(size).filter(|taken| !(is_stopping && size > 0 && taken.is_empty()))
    }
}

impl IsTerminal for GuestInput {
    fn is_terminal(&self) -> bool {
        self.terminal == Terminal::Yes
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
        tokio::select! {
            () = poll_fn(|cx| self.input.poll_readable(cx)) => {}
            () = self.stop.requested() => {}
        }
    }
}

#[async_trait::async_trait]
impl InputStream for GuestInput {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.listen();
        self.take(size).map(Bytes::from).ok_or(StreamError::Closed)
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
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.input.listen();
        if self.stopped.as_mut().poll(cx).is_pending() {
            std::task::ready!(self.input.input.poll_readable(cx));
        }
        // At the end nothing is put into the buffer, which says so.
        buffer.put_slice(&self.input.take(buffer.remaining()).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

/// What may be written ahead of the guest.
const PIPE_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn guest_end(input: &Input, stop: &Stop) -> GuestInput {
        GuestInput::new(input.clone(), stop.clone(), Terminal::No)
    }

    #[tokio::test]
    async fn what_is_written_is_read_to_its_end() {
        let input = Input::new();
        let mut reader = Box::into_pin(guest_end(&input, &Stop::new()).async_stream());
        let written: Vec<u8> = (0..PIPE_BYTES_MAX * 3).map(|number| number.to_le_bytes()[0]).collect();
        let mut read = Vec::new();
        let write = async {
            input.write(&written).await.unwrap();
            input.end();
            assert_eq!(input.write(b"more").await, Err(InputEnded));
        };
        let (_, done) = tokio::join!(write, reader.read_to_end(&mut read));
        done.unwrap();
        assert!(read == written);
    }

    #[tokio::test]
    async fn a_stop_ends_the_input_once_it_was_read() {
        let (input, stop) = (Input::new(), Stop::new());
        let mut guest = guest_end(&input, &stop);
        assert_eq!(guest.read(9).unwrap(), "");
        input.write(b"last").await.unwrap();
        stop.request(Duration::from_secs(1));
        guest.ready().await;
        assert_eq!(guest.read(9).unwrap(), "last");
        guest.ready().await;
        assert!(matches!(guest.read(9), Err(StreamError::Closed)));
    }

    #[tokio::test]
    async fn a_writer_waits_for_room_and_no_longer_than_the_input_lasts() {
        let input = Input::new();
        input.write(&[0; PIPE_BYTES_MAX]).await.unwrap();
        let late = input.clone();
        let writer = tokio::spawn(async move { late.write(b"x").await });
        tokio::task::yield_now().await;
        assert!(!writer.is_finished());
        input.end();
        assert_eq!(writer.await.unwrap(), Err(InputEnded));
    }
}
