//! Bodies of requests on their way to a pod: read as the pod takes them.

use std::{
    fmt, io,
    pin::Pin,
    sync::Mutex,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, ReadBuf};

/// The body of a request that is handed on.
pub struct PassedBody(Mutex<Box<dyn AsyncRead + Send + Unpin>>);

impl PassedBody {
    /// What `reader` gives, to its end.
    pub fn new(reader: impl AsyncRead + Send + Unpin + 'static) -> Self {
        Self(Mutex::new(Box::new(reader)))
    }
}

impl fmt::Debug for PassedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PassedBody")
    }
}

/// The same, or nothing, as hyper takes it.
#[derive(Debug)]
pub(super) struct RequestBody {
    body: Option<PassedBody>,
}

impl RequestBody {
    pub(super) const fn new(body: Option<PassedBody>) -> Self {
        Self { body }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let reader = body.0.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut part = vec![0; PART_BYTES];
        let mut buffer = ReadBuf::new(&mut part);
        ready!(Pin::new(reader).poll_read(context, &mut buffer))?;
        let count = buffer.filled().len();
        if count == 0 {
            self.body = None;
            return Poll::Ready(None);
        }
        part.truncate(count);
        Poll::Ready(Some(Ok(Frame::data(part.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.body.is_none() { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}

/// Read and sent at a time.
const PART_BYTES: usize = 16 << 10;
