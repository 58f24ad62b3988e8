//! From the service's answer to one of HTTP.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use http_body::{Body as _, Frame, SizeHint};

use crate::service::{Body, Response};

/// The body of an answer, in parts that the connection takes one after another.
pub(super) struct AnswerBody {
    body: Body,
}

/// Writes an answer's head.
pub(super) fn answer(response: Response) -> http::Response<AnswerBody> {
    let Response { head, headers, body } = response;
    let mut answer = http::Response::new(AnswerBody { body });
    *answer.status_mut() = StatusCode::from_u16(head.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let answer_headers = answer.headers_mut();
    answer_headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    if let Ok(value) = HeaderValue::from_str(&head.content_type) {
        answer_headers.insert(header::CONTENT_TYPE, value);
    }
    for (name, value) in headers {
        // What cannot be a header is a defect of ours and must not cost the answer.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            answer_headers.append(name, value);
        }
    }
    for warning in warnings(&head.warnings) {
        answer_headers.append(header::WARNING, warning);
    }
    answer
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
    let (mut head, whole) = answer.into_parts();
    if let Some(bytes) = whole.size_hint().exact() {
        head.headers.insert(header::CONTENT_LENGTH, bytes.into());
    }
    http::Response::from_parts(head, AnswerBody { body: Body::Bytes(Bytes::new()) })
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.body {
            Body::Bytes(bytes) if bytes.is_empty() => Poll::Ready(None),
            Body::Bytes(bytes) => {
                let part = bytes.split_to(bytes.len().min(PART_BYTES));
                Poll::Ready(Some(Ok(Frame::data(part))))
            }
            Body::Stream(parts) => {
                parts.poll_next(context).map(|part| part.map(|part| part.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.body, Body::Bytes(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Body::Bytes(bytes) => SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            Body::Stream(_) => SizeHint::default(),
        }
    }
}

/// Handed to the connection at once.
const PART_BYTES: usize = 64 << 10;

/// All warnings of an answer together; what does not fit is left out, as Kubernetes does. Clients bound headers, too.
const WARNINGS_BYTES_MAX: usize = 4 << 10;
