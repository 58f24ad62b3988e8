//! Bodies of requests, read as they are asked for.

use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::{
    io::{AsyncRead, ReadBuf},
    time::{Sleep, sleep},
};

/// Reads a request's body; fails when its sender falls silent.
pub(super) struct BodyReader {
    body: Incoming,
    part: Bytes,
    /// Set while the sender is waited for.
    silence: Option<Pin<Box<Sleep>>>,
}

impl BodyReader {
    pub(super) const fn new(body: Incoming) -> Self {
        Self { body, part: Bytes::new(), silence: None }
    }

    fn poll_part(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        loop {
            match pin!(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.silence = None;
                    // Trailers say nothing to this API.
                    if let Ok(part) = frame.into_data()
                        && !part.is_empty()
                    {
                        return Poll::Ready(Ok(part));
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(io::Error::other(error))),
                Poll::Ready(None) => return Poll::Ready(Ok(Bytes::new())),
                Poll::Pending => {
                    let silence = self.silence.get_or_insert_with(|| Box::pin(sleep(SILENCE_MAX)));
                    ready!(silence.as_mut().poll(context));
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
        }
    }
}

impl AsyncRead for BodyReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.part.is_empty() {
            self.part = ready!(self.poll_part(context))?;
        }
        let count = self.part.len().min(buffer.remaining());
        buffer.put_slice(&self.part[..count]);
        self.part.advance(count);
        Poll::Ready(Ok(()))
    }
}

/// How long the sender of a body may send none of it.
const SILENCE_MAX: Duration = Duration::from_secs(30);
