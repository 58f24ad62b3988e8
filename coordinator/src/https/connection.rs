//! One connection: its limits, its requests, its end.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use dunlin_api::Status;
use http::{Method, Request};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    HttpsFront,
    answer::{AnswerBody, answer, without_body},
    body::BodyReader,
    request,
};
use crate::{
    authn::{Shown, Unauthenticated},
    pki::Peer,
    service::Response,
    tokens::KeyError,
};

/// The version of HTTP that both sides agreed upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

impl HttpsFront {
    /// Serves a connection whose TLS is done, until it ends or `stop`.
    pub(crate) async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        version: Version,
        peer: Option<Peer>,
        stop: &CancellationToken,
    ) {
        let mut expulsions = self.authenticator.hear_expelled();
        let peer = peer.map(Arc::new);
        let service = {
            let (front, peer) = (self.clone(), peer.clone());
            service_fn(move |request| {
                let (front, peer) = (front.clone(), peer.clone());
                async move { Ok::<_, Infallible>(front.answer(request, peer.as_deref()).await) }
            })
        };
        let stream = TokioIo::new(stream);
        // Both kinds of connection have the same methods and no trait for them.
        macro_rules! drive {
            ($connection:expr) => {{
                let mut connection = pin!($connection);
                let ended = tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = expulsions.of(peer.as_deref()) => return,
                    () = stop.cancelled() => {
                        connection.as_mut().graceful_shutdown();
                        timeout(DRAIN_TIMEOUT, connection).await.unwrap_or(Ok(()))
                    }
                };
                if let Err(error) = ended {
                    debug!(%error, "a connection broke");
                }
            }};
        }
        match version {
            Version::Http1 => drive!(http1().serve_connection(stream, service).with_upgrades()),
            Version::Http2 => drive!(http2().serve_connection(stream, service)),
        }
    }

    async fn answer(&self, request: Request<Incoming>, peer: Option<&Peer>) -> http::Response<AnswerBody> {
        let (parts, body) = request.into_parts();
        let shown = Shown { certificate: peer, bearer: request::bearer(&parts.headers) };
        let response = match self.authenticator.user(shown).await {
            Ok(user) => match request::head(&parts) {
                Ok(head) => self.api.handle(&user, head, BodyReader::new(body)).await,
                Err(status) => status.into(),
            },
            Err(error) => refuse(&error),
        };
        let answer = answer(response);
        // Over HTTP/2 nobody else takes the body away.
        if parts.method == Method::HEAD { without_body(answer) } else { answer }
    }
}

/// The answer to whoever showed what is not good.
fn refuse(error: &Unauthenticated) -> Response {
    debug!(%error, "refused a request");
    match error {
        Unauthenticated::Key(KeyError::LookUp(_)) => Status::service_unavailable(error.to_string()).into(),
        _ => Status::unauthorized().into(),
    }
}

fn http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_header_size(HEADER_BYTES_MAX as usize)
        .max_buf_size(BUFFER_BYTES_MAX);
    builder
}

fn http2() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(BUFFER_BYTES_MAX);
    builder
}

/// Bytes of a request's head: a long selector, and a token with many groups.
const HEADER_BYTES_MAX: u32 = 64 << 10;

/// Fields of a request's head.
const HEADERS_MAX: usize = 100;

/// How long a head may take, and how long a connection of HTTP/1.1 waits for the next.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);

/// What is held of an answer, per connection of HTTP/1.1 and per stream of HTTP/2, that the client has not taken.
const BUFFER_BYTES_MAX: usize = 128 << 10;

/// Requests and watches under way on one connection of HTTP/2: what Kubernetes allows.
const STREAMS_MAX: u32 = 250;

/// What a client may send of one body before it is read.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;

/// The same of all bodies of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;

/// A client that says nothing is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// How long it may take to say so.
const PING_TIMEOUT: Duration = Duration::from_secs(30);

/// How long requests may take to end when the coordinator stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
