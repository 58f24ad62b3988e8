//! GET requests, with the redirects that a kubelet follows: those that stay on the same host.

use std::sync::Arc;

use dunlin_edge_node_core::check::{ANSWER_BYTES_MAX, Accept, HttpCheck, Outcome, Place, Target};
use dunlin_link::care::Scheme;
use http::{
    HeaderName, HeaderValue, Request, Response, Uri,
    header::{ACCEPT, CONNECTION, HOST, LOCATION, USER_AGENT},
};
use http_body_util::{BodyExt, Empty};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::dial;

/// Asks, and follows where it is sent within the same host.
pub(super) async fn get(check: &HttpCheck, tls: &Arc<ClientConfig>) -> Outcome {
    let mut current = check.clone();
    for _ in 0..REDIRECTS_MAX {
        let url = url(&current);
        let failed = |why: String| Outcome::Failure(format!("Get \"{url}\": {why}"));
        let response = match send(&current, tls).await {
            Ok(response) => response,
            Err(why) => return failed(why),
        };
        if check.accept == Accept::Anything {
            return Outcome::Success;
        }
        match next(&current, &response) {
            Ok(Some(next)) => current = next,
            Ok(None) => return judge(response).await,
            Err(why) => return failed(why),
        }
    }
    let url = url(&current);
    Outcome::Failure(format!("Get \"{url}\": stopped after {REDIRECTS_MAX} redirects"))
}

/// The request's URL as it is shown.
pub(super) fn url(check: &HttpCheck) -> String {
    let scheme = match check.scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    format!("{scheme}://{}{}", check.target.shown, check.path)
}

async fn judge(mut response: Response<Incoming>) -> Outcome {
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while body.len() < ANSWER_BYTES_MAX
        && let Some(frame) = response.body_mut().frame().await
    {
        match frame {
            Ok(frame) => body.extend(frame.into_data().unwrap_or_default()),
            Err(error) => return Outcome::Failure(error.to_string()),
        }
    }
    body.truncate(ANSWER_BYTES_MAX);
    match status {
        300..400 => {
            let body = String::from_utf8_lossy(&body);
            Outcome::Warning(format!("Probe terminated redirects, Response body: {body}"))
        }
        200..300 => Outcome::Success,
        _ => Outcome::Failure(format!("HTTP probe failed with statuscode: {status}")),
    }
}

/// Where the answer sends to, if that is on the same host.
fn next(check: &HttpCheck, response: &Response<Incoming>) -> Result<Option<HttpCheck>, String> {
    let status = response.status().as_u16();
    if ![301, 302, 303, 307, 308].contains(&status) {
        return Ok(None);
    }
    let Some(location) = response.headers().get(LOCATION) else {
        return Err(format!("{status} response missing Location header"));
    };
    let location = location.to_str().unwrap_or_default();
    let unreadable = || format!("failed to parse Location header \"{location}\"");
    let moved = if location.contains("://") || location.starts_with('/') {
        location.to_owned()
    } else {
        // Relative to the folder of the path.
        let path = check.path.split('?').next().unwrap_or("/");
        let folder = path.rfind('/').map_or("/", |slash| &path[..=slash]);
        format!("{folder}{location}")
    };
    let moved: Uri = moved.parse().map_err(|_| unreadable())?;
    let path = moved.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
    let Some(host) = moved.host() else { return Ok(Some(HttpCheck { path, ..check.clone() })) };
    let known = check.target.shown.rsplit_once(':').map_or("", |(host, _)| host);
    if host != known {
        return Ok(None);
    }
    let scheme = match moved.scheme_str() {
        Some("https") => Scheme::Https,
        Some("http") => Scheme::Http,
        _ => return Err(unreadable()),
    };
    let port = moved.port_u16().unwrap_or(if scheme == Scheme::Https { 443 } else { 80 });
    let shown = format!("{host}:{port}");
    let target = if shown == check.target.shown {
        check.target.clone()
    } else {
        let place = match &check.target.place {
            Place::Address(address) => Place::Address((address.ip(), port).into()),
            Place::Host(host, _) => Place::Host(host.clone(), port),
        };
        Target { place, shown }
    };
    Ok(Some(HttpCheck { scheme, target, path, ..check.clone() }))
}

async fn send(check: &HttpCheck, tls: &Arc<ClientConfig>) -> Result<Response<Incoming>, String> {
    let request = request(check)?;
    let stream = dial::connect(&check.target).await?;
    match check.scheme {
        Scheme::Http => exchange(stream, request).await,
        Scheme::Https => {
            let host = check.target.shown.rsplit_once(':').map_or("", |(host, _)| host);
            let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
            let name = name.map_err(|error| error.to_string())?;
            let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
            exchange(stream.map_err(|error| error.to_string())?, request).await
        }
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Empty<Bytes>>,
) -> Result<Response<Incoming>, String> {
    let in_words = |error: hyper::Error| {
        if error.is_incomplete_message() { "EOF".to_owned() } else { error.to_string() }
    };
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(BUFFER_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(in_words)?;
    // Ends when the sender and the answer are dropped, and with them the look.
    tokio::spawn(async move {
        // What goes wrong on the connection shows in the answer.
        let _ = connection.await;
    });
    sender.send_request(request).await.map_err(in_words)
}

/// The request, with the headers that a kubelet adds. An empty value of these takes the header away.
fn request(check: &HttpCheck) -> Result<Request<Empty<Bytes>>, String> {
    let mut request = Request::get(check.path.as_str());
    let given =
        |name: &HeaderName| check.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name.as_str()));
    for (name, value) in [(HOST, check.target.shown.as_str()), (USER_AGENT, AGENT), (ACCEPT, "*/*")] {
        if !given(&name) {
            request = request.header(name, value);
        }
    }
    for (name, value) in &check.headers {
        let name: HeaderName = name.parse().map_err(|_| format!("invalid header name \"{name}\""))?;
        let value: HeaderValue =
            value.parse().map_err(|_| format!("invalid header field value for \"{name}\""))?;
        let is_taken_away = value.is_empty() && [USER_AGENT, ACCEPT].contains(&name);
        if !is_taken_away {
            request = request.header(name, value);
        }
    }
    request.header(CONNECTION, "close").body(Empty::new()).map_err(|error| error.to_string())
}

/// As Go's client, which a kubelet leaves at that.
const REDIRECTS_MAX: usize = 10;

/// As much of an answer's head as is read.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// What Kubernetes' probes call themselves, by the version whose behaviour this is.
pub(super) const AGENT: &str = "kube-probe/1.36";
