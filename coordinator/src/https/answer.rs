//! From the service's answer to one of HTTP.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use http_body::{Body as _, Frame, SizeHint};

use super::{
    gzip::{Coding, GzipBody, Plain},
    vitals::Exchange,
};
use crate::service::{Body, ByteStream, Response, Upgrade};

/// The body of an answer, in parts that the connection takes one after another.
pub(super) struct AnswerBody {
    body: Content,
    exchange: Exchange,
}

enum Content {
    Bytes(Bytes),
    Stream(ByteStream),
    Gzip(GzipBody),
}

/// Writes an answer's head; the other part is what its connection is to do after it, if it leaves HTTP.
pub(super) fn answer(
    response: Response,
    coding: Coding,
    exchange: Exchange,
) -> (http::Response<AnswerBody>, Option<Upgrade>) {
    let coding = coding.of(&response);
    let Response { head, headers, body } = response;
    let (body, upgrade) = match (body, coding) {
        (Body::Bytes(bytes), Coding::Identity) => (Content::Bytes(bytes), None),
        (Body::Bytes(bytes), Coding::Gzip) => (Content::Gzip(GzipBody::new(Plain::Bytes(bytes))), None),
        (Body::Parts(parts), Coding::Gzip) => (Content::Gzip(GzipBody::new(Plain::Stream(parts))), None),
        (Body::Parts(parts) | Body::Stream(parts), _) => (Content::Stream(parts), None),
        (Body::Upgrade(upgrade), _) => (Content::Bytes(Bytes::new()), Some(upgrade)),
    };
    let mut answer = http::Response::new(AnswerBody { body, exchange });
    *answer.status_mut() = StatusCode::from_u16(head.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let answer_headers = answer.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&head.content_type)
        && !value.is_empty()
    {
        answer_headers.insert(header::CONTENT_TYPE, value);
    }
    for (name, value) in headers {
        // What cannot be a header is a defect of ours and must not cost the answer.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_ref()), HeaderValue::try_from(value)) {
            answer_headers.append(name, value);
        }
    }
    if coding == Coding::Gzip {
        answer_headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        answer_headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    let uncached = HeaderValue::from_static("no-cache, private");
    answer_headers.entry(header::CACHE_CONTROL).or_insert(uncached);
    for warning in warnings(&head.warnings) {
        answer_headers.append(header::WARNING, warning);
    }
    (answer, upgrade)
}

/// Warnings as Kubernetes' clients read them: a code, nobody's name, and quoted text.
fn warnings(warnings: &[String]) -> impl Iterator<Item = HeaderValue> {
    let mut room = WARNINGS_BYTES_MAX;
    warnings.iter().map_while(move |text| {
        let mut value = String::from("299 - \"");
        for character in text.chars() {
            match character {
                '"' | '\\' => value.extend(['\\', character]),
                character if character.is_control() => value.push(' '),
                character => value.push(character),
            }
        }
        value.push('"');
        room = room.checked_sub(value.len())?;
        HeaderValue::try_from(value.into_bytes()).ok()
    })
}

/// Takes the body away, for a request that asked for the head only.
pub(super) fn without_body(answer: http::Response<AnswerBody>) -> http::Response<AnswerBody> {
    let (mut head, mut whole) = answer.into_parts();
    if let Some(bytes) = whole.size_hint().exact() {
        head.headers.insert(header::CONTENT_LENGTH, bytes.into());
    }
    whole.body = Content::Bytes(Bytes::new());
    http::Response::from_parts(head, whole)
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.exchange.taken();
        let part = match &mut self.body {
            Content::Bytes(bytes) if bytes.is_empty() => None,
            Content::Bytes(bytes) => Some(Ok(bytes.split_to(bytes.len().min(PART_BYTES)))),
            Content::Stream(parts) => ready!(parts.poll_next(context)),
            Content::Gzip(body) => ready!(body.poll_next(context)),
        };
        if part.is_some() {
            self.exchange.given();
        }
        Poll::Ready(part.map(|part| part.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Content::Bytes(bytes) => bytes.is_empty(),
            Content::Stream(_) => false,
            Content::Gzip(body) => body.is_ended(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Content::Bytes(bytes) => SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            Content::Stream(_) | Content::Gzip(_) => SizeHint::default(),
        }
    }
}

/// Handed to the connection at once.
const PART_BYTES: usize = 64 << 10;

/// All warnings of an answer together; what does not fit is left out, as Kubernetes does. Clients bound headers, too.
const WARNINGS_BYTES_MAX: usize = 4 << 10;
