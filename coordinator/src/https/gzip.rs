//! Compression of long answers, for clients that say they read it; which, and how well, as Kubernetes does.

use std::{
    io::{self, Write as _},
    mem,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, Method, header, request::Parts};

use crate::service::{Body, ByteStream, Response};

/// How an answer may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// As it is.
    Identity,
    /// Compressed.
    Gzip,
}

impl Coding {
    /// What the sender of a request takes. What changes something is answered briefly, and watches must come at once.
    pub(super) fn asked(request: &Parts) -> Self {
        if request.method == Method::GET && takes_gzip(&request.headers) {
            Self::Gzip
        } else {
            Self::Identity
        }
    }

    /// How this answer is written: only what is long, is there or comes as fast as it is taken, and gets shorter.
    pub(super) fn of(self, response: &Response) -> Self {
        let is_long = match &response.body {
            Body::Bytes(bytes) => bytes.len() >= PLAIN_BYTES_MAX,
            // Made in parts because it is long.
            Body::Parts(_) => true,
            Body::Stream(_) | Body::Upgrade(_) => false,
        };
        let gets_shorter = shrinks(&response.head.content_type);
        if self == Self::Gzip && is_long && gets_shorter { Self::Gzip } else { Self::Identity }
    }
}

/// Whether a client names gzip. A weight makes it another word, for Kubernetes as for us: nobody who means yes writes one.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| coding.trim() == "gzip")
}

/// Objects and documents do; backups and modules are compressed or sealed already.
fn shrinks(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim_end();
    matches!(essence, "application/json" | "application/yaml" | "application/vnd.kubernetes.protobuf")
        || essence.starts_with("application/com.github.proto-openapi.")
}

/// What is compressed.
pub(super) enum Plain {
    Bytes(Bytes),
    Stream(ByteStream),
}

/// A body that is compressed while it is taken.
pub(super) struct GzipBody {
    plain: Plain,
    /// A part of it that is being compressed.
    part: Bytes,
    /// Absent after the end.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl GzipBody {
    pub(super) fn new(plain: Plain) -> Self {
        let encoder = GzEncoder::new(Vec::new(), Compression::new(LEVEL));
        Self { plain, part: Bytes::new(), encoder: Some(encoder) }
    }

    /// The next compressed bytes; `None` at the end.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let mut work = 0;
        while let Some(encoder) = &mut self.encoder {
            if self.part.is_empty() {
                match ready!(self.plain.poll_next(context)) {
                    Some(Ok(part)) => self.part = part,
                    end => {
                        let finished = self.encoder.take().map(GzEncoder::finish);
                        return Poll::Ready(end.or_else(|| finished.map(|last| last.map(Bytes::from))));
                    }
                }
                continue;
            }
            if work >= WORK_BYTES_MAX {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let piece = self.part.split_to(self.part.len().min(PIECE_BYTES));
            work += piece.len();
            if let Err(error) = encoder.write_all(&piece) {
                self.encoder = None;
                return Poll::Ready(Some(Err(error)));
            }
            if encoder.get_ref().len() >= PIECE_BYTES {
                return Poll::Ready(Some(Ok(mem::take(encoder.get_mut()).into())));
            }
        }
        Poll::Ready(None)
    }

    /// Whether all has been told.
    pub(super) fn is_ended(&self) -> bool {
        self.encoder.is_none()
    }
}

impl Plain {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        match self {
            Self::Bytes(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Bytes(bytes) => Poll::Ready(Some(Ok(mem::take(bytes)))),
            Self::Stream(parts) => parts.poll_next(context),
        }
    }
}

/// Shorter answers are written as they are: compressing them costs more time than it saves.
const PLAIN_BYTES_MAX: usize = 128 << 10;

/// The fastest: a third more bytes than the default, in a fraction of its time.
const LEVEL: u32 = 1;

/// Compressed, and handed to the connection, at once.
const PIECE_BYTES: usize = 32 << 10;

/// Compressed before others of the same thread have their turn.
const WORK_BYTES_MAX: usize = 256 << 10;
