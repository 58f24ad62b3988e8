//! What the agent hands to the session for a stream into a pod.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use dunlin_link::stream::StreamRefusal;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes both ways, whatever carries them. Dropping it is the end for the other side.
pub struct ByteStream {
    stream: Pin<Box<dyn Duplex>>,
    /// Goes with it.
    _kept: Option<Box<dyn Send>>,
}

trait Duplex: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

/// Why a stream into a pod is not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamRefused {
    /// In a word.
    pub reason: StreamRefusal,
    /// For a person.
    pub message: String,
}

impl ByteStream {
    /// A stream over something that is one.
    pub fn new(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        Self { stream: Box::pin(stream), _kept: None }
    }

    /// The same, which holds something until it is dropped.
    pub(crate) fn keeping(self, what: impl Send + 'static) -> Self {
        Self { _kept: Some(Box::new(what)), ..self }
    }
}

impl AsyncRead for ByteStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_read(context, buffer)
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(context)
    }
}

impl fmt::Debug for ByteStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByteStream")
    }
}
