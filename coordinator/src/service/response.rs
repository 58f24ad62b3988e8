//! Answers: a head, and a body that is either there or still coming.

use std::{
    borrow::Cow,
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use dunlin_api::Status;
use dunlin_link::rpc::ResponseHead;
use futures_util::{Stream, StreamExt, stream};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::upgrade::{Duplex, Upgrade};

/// The answer to one request.
#[derive(Debug)]
pub struct Response {
    /// Code, media type, warnings.
    pub head: ResponseHead,
    /// Further headers of HTTP, for which the front over QUIC has no place: nothing that an answer needs to be understood.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// What follows.
    pub body: Body,
}

/// The body of an answer.
#[derive(Debug)]
pub enum Body {
    /// All of it.
    Bytes(Bytes),
    /// An answer in parts, which comes as fast as it is taken; an error means that the rest is missing.
    Parts(ByteStream),
    /// The same of what happens: parts come when there is news.
    Stream(ByteStream),
    /// None: the connection leaves HTTP.
    Upgrade(Upgrade),
}

/// A body that is still coming.
pub struct ByteStream(Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>);

impl ByteStream {
    /// Wraps a stream. A panic inside it ends it with an error.
    pub fn new(parts: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        let caught = std::panic::AssertUnwindSafe(parts).catch_unwind();
        Self(Box::pin(
            caught.map(|part| part.unwrap_or_else(|_| Err(io::Error::other("the request panicked")))),
        ))
    }

    /// Reads a source to its end.
    pub fn from_reader(reader: impl AsyncRead + Send + Unpin + 'static) -> Self {
        Self::new(stream::unfold(Some(reader), |reader| async {
            let mut reader = reader?;
            let mut part = Vec::with_capacity(PART_BYTES);
            match reader.read_buf(&mut part).await {
                Ok(0) => None,
                Ok(_) => Some((Ok(part.into()), Some(reader))),
                Err(error) => Some((Err(error), None)),
            }
        }))
    }

    /// The same, which breaks off where there is more than so much: nobody takes a part of it for all.
    pub(super) fn within(self, bytes_max: u64) -> Self {
        Self::new(self.0.scan(bytes_max, |left, part| {
            let checked = part.and_then(|part| {
                *left = left
                    .checked_sub(part.len() as u64)
                    .ok_or_else(|| io::Error::other("it is longer than it may be"))?;
                Ok(part)
            });
            std::future::ready(Some(checked))
        }))
    }

    /// The next part; `None` at the end.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        self.0.next().await
    }

    fn holding<G: Send + 'static>(self, guard: G) -> Self {
        Self(Box::pin(stream::unfold((self.0, guard), |(mut parts, guard)| async {
            parts.next().await.map(|part| (part, (parts, guard)))
        })))
    }

    /// The same for whoever polls.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        self.0.poll_next_unpin(context)
    }
}

impl fmt::Debug for ByteStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByteStream")
    }
}

impl Response {
    /// An answer with all of its body.
    pub fn bytes(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self { head: head(status, content_type), headers: Vec::new(), body: Body::Bytes(body.into()) }
    }

    /// A JSON answer.
    pub fn json(status: u16, value: &Value) -> Self {
        Self::bytes(status, JSON, value.to_string())
    }

    /// An answer in plain text.
    pub fn text(status: u16, text: impl Into<Bytes>) -> Self {
        Self::bytes(status, TEXT, text)
    }

    /// A long answer that is made while it is taken.
    pub fn parts(content_type: &str, body: ByteStream) -> Self {
        Self { head: head(200, content_type), headers: Vec::new(), body: Body::Parts(body) }
    }

    /// Takes up a client's offer to leave HTTP for `protocol`; see [`Upgrade`]. Only a request that made one may be answered so.
    pub fn upgrade<F>(protocol: &str, talk: impl FnOnce(Box<dyn Duplex>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let headers =
            vec![("upgrade".into(), protocol.to_owned()), ("connection".into(), "Upgrade".to_owned())];
        Self { head: head(101, ""), headers, body: Body::Upgrade(Upgrade::new(talk)) }
    }

    /// An answer of what happens.
    pub fn stream(content_type: &str, body: ByteStream) -> Self {
        Self { head: head(200, content_type), headers: Vec::new(), body: Body::Stream(body) }
    }

    /// The answer that Kubernetes gives for paths it does not serve at all.
    pub fn no_such_path() -> Self {
        Self::text(404, "404 page not found\n")
    }

    /// Keeps `guard` until the body has been sent.
    #[must_use]
    pub(super) fn holding<G: Send + 'static>(mut self, guard: G) -> Self {
        self.body = match self.body {
            Body::Bytes(bytes) => Body::Bytes(bytes),
            Body::Parts(parts) => Body::Parts(parts.holding(guard)),
            Body::Stream(parts) => Body::Stream(parts.holding(guard)),
            Body::Upgrade(Upgrade(talk)) => Body::Upgrade(Upgrade::new(async move |stream| {
                talk(stream).await;
                drop(guard);
            })),
        };
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds warnings for the caller.
    #[must_use]
    pub fn with_warnings(mut self, warnings: Vec<String>) -> Self {
        self.head.warnings.extend(warnings);
        self
    }

    /// Adds warnings before those that are there.
    #[must_use]
    pub(super) fn with_warnings_first(mut self, warnings: Vec<String>) -> Self {
        self.head.warnings.splice(0..0, warnings);
        self
    }

    /// The whole body, a stream read to its end.
    ///
    /// # Errors
    /// When the stream fails before its end.
    pub async fn into_bytes(self) -> io::Result<Bytes> {
        match self.body {
            Body::Bytes(bytes) => Ok(bytes),
            Body::Upgrade(_) => Ok(Bytes::new()),
            Body::Parts(mut parts) | Body::Stream(mut parts) => {
                let mut whole = Vec::new();
                while let Some(part) = parts.next().await {
                    whole.extend_from_slice(&part?);
                }
                Ok(whole.into())
            }
        }
    }
}

impl From<Status> for Response {
    fn from(status: Status) -> Self {
        let code = status.code();
        let response = Self::json(code, &status.0);
        let seconds = status.0["details"]["retryAfterSeconds"].as_u64().filter(|seconds| *seconds > 0);
        // What cannot be served now can be soon, or there would be nobody to say so.
        match seconds.or_else(|| (code == 503).then_some(1)) {
            Some(seconds) => response.with_header("retry-after", seconds.to_string()),
            None => response,
        }
    }
}

fn head(status: u16, content_type: &str) -> ResponseHead {
    ResponseHead { status, content_type: content_type.to_owned(), warnings: Vec::new() }
}

/// Media type of JSON bodies.
pub(super) const JSON: &str = "application/json";
/// Media type of text bodies.
pub(super) const TEXT: &str = "text/plain; charset=utf-8";
/// Read from a log stream at once.
const PART_BYTES: usize = 16 << 10;
