//! A stream that is not broken off while its client still sends.
//!
//! An answer such as 413 is written before all of the request has come. Closing the socket then makes the system tell the client that the
//! connection broke, and the client throws away the answer that it has not read yet. So what still comes is read, for a moment and up to
//! a bound, and thrown away.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// A stream whose end is told first, and then waited for.
pub(super) struct Lingering<S> {
    stream: S,
    /// Set once this side has ended.
    ended: Option<Ended>,
}

/// What is left of waiting for the other side's end.
struct Ended {
    patience: Pin<Box<Sleep>>,
    room: usize,
}

impl<S> Lingering<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self { stream, ended: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, ended } = &mut *self;
        if ended.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(context))?;
        }
        let Ended { patience, room } =
            ended.get_or_insert_with(|| Ended { patience: Box::pin(sleep(PATIENCE)), room: BYTES_MAX });
        let mut scratch = [0; SCRATCH_BYTES];
        loop {
            if patience.as_mut().poll(context).is_ready() || *room == 0 {
                return Poll::Ready(Ok(()));
            }
            let mut part = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut *stream).poll_read(context, &mut part)) {
                Ok(()) if !part.filled().is_empty() => *room = room.saturating_sub(part.filled().len()),
                // It has ended, or is broken anyway.
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// How long is listened to a client that has been told its answer: more than a round trip. Go's servers wait as long.
const PATIENCE: Duration = Duration::from_millis(500);

/// How much: the rest of a body that was a little too long, and not one without end.
const BYTES_MAX: usize = 4 << 20;

/// Read at once.
const SCRATCH_BYTES: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, duplex},
        time::{Instant, pause},
    };

    use super::*;

    #[tokio::test]
    async fn what_still_comes_is_read_up_to_a_bound() {
        let (mut client, server) = duplex(1024);
        let mut server = Lingering::new(server);
        server.write_all(b"answer").await.unwrap();
        let sent = async {
            // The end of the answer comes before all is sent.
            let mut told = String::new();
            let (mut reader, mut writer) = tokio::io::split(&mut client);
            reader.read_to_string(&mut told).await.unwrap();
            let mut sent = 0;
            while writer.write_all(&[0; 1024]).await.is_ok() {
                sent += 1024;
            }
            (told, sent)
        };
        let ended = async {
            server.shutdown().await.unwrap();
            drop(server);
        };
        let ((told, sent), ()) = tokio::join!(sent, ended);
        assert_eq!(told, "answer");
        assert!((BYTES_MAX..BYTES_MAX + 8192).contains(&sent), "{sent}");
    }

    #[tokio::test]
    async fn a_client_that_ends_or_is_silent_is_not_waited_for_long() {
        pause();
        let (client, server) = duplex(1024);
        let started = Instant::now();
        Lingering::new(server).shutdown().await.unwrap();
        assert_eq!(started.elapsed().as_millis() / 10, PATIENCE.as_millis() / 10, "silent");
        drop(client);
        let (client, server) = duplex(1024);
        drop(client);
        let started = Instant::now();
        Lingering::new(server).shutdown().await.unwrap();
        assert!(started.elapsed() < PATIENCE, "ended");
    }
}
