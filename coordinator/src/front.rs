//! The API over one bidirectional stream: reads a request head, calls the service, writes the answer. Knows nothing of QUIC.
//!
//! A stream carries one request. Its head is a frame, after another one if it is made as somebody else; the body's bytes follow as they are. The answer is a head frame and then raw
//! bytes until the stream ends; a body that breaks off is an error for the caller to tell, so that a reset stream means incomplete.

use std::{io, time::Duration};

use dunlin_api::Status;
use dunlin_link::{
    frame::{self, Frame, FrameError, HEADER_BYTES, Header, Message as _},
    limits::HEAD_FRAME_BYTES_MAX,
    rpc::{Impersonation, Method, RequestHead, STREAM_PROTOCOL},
};
use http::{HeaderValue, header};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use crate::service::{
    ApiService, Body, Offer, Response, Upgrade, User,
    distribution::{self, Asked},
};

/// Why a request was not answered, or not to the end. The stream is to be reset.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The caller went away, or the stream broke.
    #[error("failed to read the request or write the answer")]
    Stream(#[from] io::Error),
    /// The caller takes nothing of the answer.
    #[error("the caller read nothing for {} s", STALL_TIMEOUT.as_secs())]
    Stalled,
    /// The source of the answer's body broke off.
    #[error("failed to read the rest of the answer")]
    Body(#[source] io::Error),
}

/// What is left to do on a stream.
#[derive(Debug)]
pub enum Served {
    /// Nothing: the answer is whole.
    Answered,
    /// What the answer leads to.
    Leaving(Upgrade),
}

/// Serves the one request of a stream and flushes the answer; what is left to do, and finishing or resetting the stream, is the caller's.
///
/// # Errors
/// [`ServeError`] when the stream must be reset.
pub async fn serve(
    service: &ApiService,
    user: &User,
    mut receive: impl AsyncRead + Send + Unpin,
    mut send: impl AsyncWrite + Send + Unpin,
) -> Result<Served, ServeError> {
    let response = match read_head(&mut receive).await? {
        Ok(opening) => answer(service, user, opening, &mut receive).await,
        Err(error) => Status::bad_request(format!("malformed request head: {error}")).into(),
    };
    let Response { head, body, headers: _ } = response;
    write(&mut send, &frame::encode(&head)).await?;
    match body {
        Body::Upgrade(upgrade) => {
            send.flush().await?;
            return Ok(Served::Leaving(upgrade));
        }
        Body::Bytes(bytes) => write(&mut send, &bytes).await?,
        Body::Parts(mut parts) | Body::Stream(mut parts) => {
            // The head goes out before a watch has anything to tell.
            send.flush().await?;
            loop {
                let part = tokio::select! {
                    part = parts.next() => part,
                    // Whoever asked for a stream sends nothing more: what comes is the end, or the reset of one who left.
                    () = left(&mut receive) => return Ok(Served::Answered),
                };
                let Some(part) = part else { break };
                write(&mut send, &part.map_err(ServeError::Body)?).await?;
                send.flush().await?;
            }
        }
    }
    send.flush().await?;
    Ok(Served::Answered)
}

/// What a request says before its body.
struct Opening {
    impersonation: Option<Impersonation>,
    head: RequestHead,
}

async fn answer(
    service: &ApiService,
    user: &User,
    opening: Opening,
    receive: &mut (impl AsyncRead + Send + Unpin),
) -> Response {
    let Opening { impersonation, head } = opening;
    let Some(other) = impersonation else { return answer_as(service, user, head, receive).await };
    match service.impersonate(user, &other, &head.accept).await {
        Ok(user) => answer_as(service, &user, head, receive).await,
        Err(refused) => refused,
    }
}

async fn answer_as(
    service: &ApiService,
    user: &User,
    head: RequestHead,
    receive: &mut (impl AsyncRead + Send + Unpin),
) -> Response {
    if !distribution::is_distribution(&head.path) {
        return service.handle_offer(user, head, Offer::of(STREAM_PROTOCOL), receive).await;
    }
    let content_type = HeaderValue::try_from(&head.content_type).ok();
    let headers = content_type.into_iter().map(|value| (header::CONTENT_TYPE, value)).collect();
    let method = match head.method {
        Method::Get => http::Method::GET,
        Method::Post => http::Method::POST,
        Method::Put => http::Method::PUT,
        Method::Patch => http::Method::PATCH,
        Method::Delete => http::Method::DELETE,
    };
    let asked = Asked { method: &method, path: &head.path, query: &head.query, headers: &headers };
    service.handle_distribution(user, asked, receive).await
}

/// Writes all bytes as long as the caller takes some of them now and then: an answer that nobody reads holds a place that others need.
async fn write(send: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8]) -> Result<(), ServeError> {
    while !bytes.is_empty() {
        let written = timeout(STALL_TIMEOUT, send.write(bytes)).await.map_err(|_| ServeError::Stalled)??;
        if written == 0 {
            return Err(io::Error::from(io::ErrorKind::WriteZero).into());
        }
        bytes = &bytes[written..];
    }
    Ok(())
}

/// Waits until the caller resets its side. A finished side is no reason to stop.
async fn left(receive: &mut (impl AsyncRead + Unpin)) {
    let mut rest = [0; 64];
    loop {
        match receive.read(&mut rest).await {
            Ok(0) => std::future::pending().await,
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

async fn read_head(receive: &mut (impl AsyncRead + Unpin)) -> io::Result<Result<Opening, FrameError>> {
    let first = match read_frame(receive).await? {
        Ok(frame) => frame,
        Err(error) => return Ok(Err(error)),
    };
    if first.kind != Impersonation::KIND {
        return Ok(first.decode().map(|head| Opening { impersonation: None, head }));
    }
    let second = read_frame(receive).await?;
    Ok(first.decode().and_then(|impersonation| {
        Ok(Opening { impersonation: Some(impersonation), head: second?.decode()? })
    }))
}

async fn read_frame(receive: &mut (impl AsyncRead + Unpin)) -> io::Result<Result<Frame, FrameError>> {
    let mut header = [0; HEADER_BYTES];
    receive.read_exact(&mut header).await?;
    let header = match Header::decode(header, HEAD_FRAME_BYTES_MAX) {
        Ok(header) => header,
        Err(error) => return Ok(Err(error)),
    };
    let mut body = vec![0; header.body_bytes];
    receive.read_exact(&mut body).await?;
    Ok(Ok(Frame { kind: header.kind, body }))
}

/// How long a caller may take nothing of an answer that is there.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
