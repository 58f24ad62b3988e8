//! `proxy` of pods and services: requests handed on to a port of a pod, on a connection through its node's link.
//!
//! What is asked for and what comes back are the pod's affair; as Kubernetes does, headers that concern one connection stay on it,
//! credentials are taken away, and redirects are made to lead through here again.

mod body;
mod forward;
mod headers;
mod place;
mod quic;
mod target;

use dunlin_api::Status;
use dunlin_link::rpc::RequestHead;
use http::{HeaderMap, HeaderValue, Method, header};

use self::{
    body::RequestBody,
    forward::{Forwarded, forward},
    place::Place,
    target::Target,
};
use super::{ApiService, Offer, body::Source, path::ResourceRequest, query::Query, response::Response};
use crate::sessions::{NodeStream, StreamOpen};

pub(super) use self::place::NAME;
pub use self::{body::PassedBody, place::is_passed_on};

/// A request as it came over HTTP, to be handed on.
#[derive(Debug)]
pub struct Passed {
    /// What to do; more than the API itself knows.
    pub method: Method,
    /// Path and query as they were written.
    pub uri: http::Uri,
    /// All headers.
    pub headers: HeaderMap,
    /// `None` when there is none.
    pub body: Option<PassedBody>,
}

impl ApiService {
    /// Hands a request on and answers what comes back.
    pub(super) async fn serve_proxy(
        &self,
        request: &ResourceRequest,
        (head, query): (&RequestHead, &Query),
        offer: &Offer,
        source: Source<'_>,
    ) -> Result<Response, Status> {
        let (passed, upgrade) = match offer.take_passed() {
            Some(passed) => (passed, offer.protocol()),
            None => (quic::passed(head, query, source).await?, None),
        };
        let place = Place::of(passed.uri.path()).ok_or_else(Status::no_such_resource)?;
        let mut targets = self.proxy_targets(request).await?;
        let none = || {
            let why = format!("no endpoints available for service {:?}", request.name);
            Status::service_unavailable(why)
        };
        let mut target = self.next_target(&mut targets).await?.ok_or_else(none)?;
        let reads = matches!(passed.method, Method::GET | Method::HEAD);
        if upgrade.is_none() && reads && place.rest.is_empty() {
            return Ok(to_slash(&passed.uri));
        }
        let (prefix, path) = (place.prefix.to_owned(), place.rest_or_root());
        let Passed { method, uri, headers, mut body } = passed;
        // What says nothing but a question can be asked of another when there was no answer.
        let is_repeatable = upgrade.is_none() && body.is_none() && method.is_idempotent();
        let head = rewritten(method, &uri, headers, (&path, &prefix), upgrade)?;
        for _ in 1..TRIES_MAX {
            let failed = match self.connect(target).await {
                Ok(stream) => {
                    let answered = ask(stream, &head, body.take(), &prefix, upgrade).await;
                    if answered.is_ok() || !is_repeatable {
                        return answered;
                    }
                    answered.err()
                }
                // Nothing was said to it.
                Err(status) => Some(status),
            };
            match (self.next_target(&mut targets).await?, failed) {
                (Some(other), _) => target = other,
                (None, failed) => return Err(failed.unwrap_or_else(none)),
            }
        }
        ask(self.connect(target).await?, &head, body.take(), &prefix, upgrade).await
    }

    async fn connect(&self, target: Target) -> Result<NodeStream, Status> {
        let Target { node, uid, port } = target;
        let opened = self.open_pod_stream(&node, StreamOpen::Connect { uid, port }).await;
        opened.map_err(|status| unreachable(status.message()))
    }
}

async fn ask(
    stream: NodeStream,
    head: &http::request::Parts,
    body: Option<PassedBody>,
    prefix: &str,
    upgrade: Option<&str>,
) -> Result<Response, Status> {
    let request = http::Request::from_parts(head.clone(), RequestBody::new(body));
    let forwarded = Forwarded { prefix: prefix.to_owned(), upgrade: upgrade.map(str::to_owned) };
    forward(stream, request, forwarded).await
}

/// The head of the request as the pod gets it.
fn rewritten(
    method: Method,
    uri: &http::Uri,
    mut headers: HeaderMap,
    (path, prefix): (&str, &str),
    upgrade: Option<&str>,
) -> Result<http::request::Parts, Status> {
    let host = uri.authority().map(|authority| authority.as_str().to_owned());
    headers::clean_request(&mut headers, upgrade);
    if let Some(host) = host.and_then(|host| HeaderValue::try_from(host).ok()) {
        // HTTP/2 has it in the target.
        headers.entry(header::HOST).or_insert(host);
    }
    headers.entry(header::HOST).or_insert(HeaderValue::from_static("localhost"));
    if let Ok(forwarded) = HeaderValue::try_from(format!("{prefix}{path}")) {
        headers.insert("x-forwarded-uri", forwarded);
    }
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut request = http::Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() =
        target.parse().map_err(|error| Status::bad_request(format!("invalid path: {error}")))?;
    *request.headers_mut() = headers;
    Ok(request.into_parts().0)
}

/// A path that ends with the proxy itself is a folder's: what its pages link to is below it.
fn to_slash(uri: &http::Uri) -> Response {
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    Response::bytes(301, "", "").with_header("location", format!("{}/{query}", uri.path()))
}

/// What a pod that cannot be reached, or that does not speak HTTP, is answered with.
fn unreachable(why: impl std::fmt::Display) -> Status {
    Status::service_unavailable(format!("error trying to reach service: {why}"))
}

/// Pods of a service that are tried for one request.
const TRIES_MAX: usize = 3;
