//! One request on a connection to a pod, and its answer.

use std::io;

use bytes::Bytes;
use dunlin_api::Status;
use dunlin_link::rpc::ResponseHead;
use futures_util::stream;
use http::{StatusCode, header};
use http_body::Body as _;
use hyper::{body::Incoming, client::conn::http1, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tokio_util::task::AbortOnDropHandle;

use super::{body::RequestBody, headers, unreachable};
use crate::{
    service::response::{Body, ByteStream, Response},
    sessions::NodeStream,
};

/// What of the request the answer depends on.
pub(super) struct Forwarded {
    /// The path up to and with the proxy.
    pub(super) prefix: String,
    /// The protocol that the client would go on with.
    pub(super) upgrade: Option<String>,
}

/// Asks a pod, and makes its answer ours.
pub(super) async fn forward(
    stream: NodeStream,
    request: http::Request<RequestBody>,
    forwarded: Forwarded,
) -> Result<Response, Status> {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let host = host.to_owned();
    let client = http1::Builder::new().max_headers(HEADERS_MAX).max_buf_size(HEAD_BYTES_MAX).clone();
    let (mut sender, connection) = client.handshake(TokioIo::new(stream)).await.map_err(unreachable)?;
    // Ends with whatever holds it: the answer's body, or the talk after it.
    let connection = AbortOnDropHandle::new(tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to a pod broke");
        }
    }));
    let mut answer = sender.send_request(request).await.map_err(unreachable)?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(protocol) = forwarded.upgrade else {
            return Err(unreachable("the pod changed the protocol without being asked to"));
        };
        let on_upgrade = hyper::upgrade::on(&mut answer);
        return Ok(upgraded(&protocol, answer.headers_mut(), on_upgrade, connection));
    }
    let (mut parts, body) = answer.into_parts();
    headers::clean_answer(&mut parts.headers);
    if let Some(location) = parts.headers.get(header::LOCATION).and_then(|location| location.to_str().ok()) {
        let redirected = headers::redirected(location, &host, &forwarded.prefix);
        if let Ok(location) = redirected.try_into() {
            parts.headers.insert(header::LOCATION, location);
        }
    }
    let content_type = parts.headers.remove(header::CONTENT_TYPE);
    let content_type = content_type.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default();
    let head = ResponseHead {
        status: parts.status.as_u16(),
        content_type: content_type.to_owned(),
        warnings: Vec::new(),
    };
    Ok(Response { head, headers: told(&parts.headers), body: Body::Stream(parts_of(body, connection)) })
}

/// The body as it comes; the connection lasts as long.
fn parts_of(body: Incoming, connection: AbortOnDropHandle<()>) -> ByteStream {
    let held = (Box::pin(body), connection);
    ByteStream::new(stream::unfold(held, |(mut body, connection)| async {
        loop {
            let frame = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await?;
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(data)) => return Some((Ok(data), (body, connection))),
                // Trailers, for which an answer has no place.
                Ok(Err(_trailers)) => {}
                Err(error) => return Some((Err::<Bytes, _>(io::Error::other(error)), (body, connection))),
            }
        }
    }))
}

fn upgraded(
    protocol: &str,
    headers: &mut http::HeaderMap,
    on_upgrade: OnUpgrade,
    connection: AbortOnDropHandle<()>,
) -> Response {
    headers::clean_answer(headers);
    let mut response = Response::upgrade(protocol, move |mut client| async move {
        let _connection = connection;
        match on_upgrade.await {
            Ok(pod) => {
                // Either side may leave at any time; what was said is said.
                let _ = copy_bidirectional(&mut client, &mut TokioIo::new(pod)).await;
            }
            Err(error) => tracing::debug!(%error, "a pod broke off as it changed the protocol"),
        }
    });
    response.headers.extend(told(headers));
    response
}

/// Headers of an answer; values that are no text are left out.
fn told(headers: &http::HeaderMap) -> Vec<(std::borrow::Cow<'static, str>, String)> {
    let texts = headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned().into(), value.to_str().ok()?.to_owned())));
    texts.collect()
}

/// Headers of an answer, as of a request to this API.
const HEADERS_MAX: usize = 100;

/// The same in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;
