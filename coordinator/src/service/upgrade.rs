//! Leaving HTTP: a request may offer to go on in another protocol, and an endpoint may take that up.
//!
//! How an endpoint does: the front calls [`ApiService::handle_offer`](super::ApiService::handle_offer) with what the client offers, and
//! the endpoint answers with [`Response::upgrade`](super::Response::upgrade), naming the protocol and what to do with the connection
//! once the answer has been sent. Headers of the handshake are added with `with_header`. Whatever else it answers is a plain answer,
//! and the connection goes on in HTTP. The talk is dropped when the coordinator stops or the client is expelled.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use futures_util::future::BoxFuture;
use http::{HeaderMap, header};
use tokio::io::{AsyncRead, AsyncWrite};

use super::proxy::Passed;

/// Both directions of a connection that left HTTP.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// What a client offers to go on with.
#[derive(Debug, Default)]
pub struct Offer {
    headers: HeaderMap,
    /// The request itself, where it is to be handed on.
    passed: Mutex<Option<Passed>>,
}

/// What is done with a connection that left HTTP.
pub struct Upgrade(pub(super) Box<dyn FnOnce(Box<dyn Duplex>) -> BoxFuture<'static, ()> + Send>);

impl Offer {
    /// No offer: the request stays a request.
    pub fn none() -> Self {
        Self::default()
    }

    /// An offer of this protocol alone.
    pub(crate) fn of(protocol: &'static str) -> Self {
        let headers = [(header::UPGRADE, http::HeaderValue::from_static(protocol))];
        Self { headers: HeaderMap::from_iter(headers), passed: Mutex::default() }
    }

    /// Reads the headers of a request of HTTP/1.1. The offer keeps them when there is one, because handshakes have headers of their own.
    pub fn read(headers: &HeaderMap) -> Self {
        let mut connection =
            headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
        let is_offer = headers.contains_key(header::UPGRADE)
            && connection
                .any(|value| value.split(',').any(|token| token.trim().eq_ignore_ascii_case("upgrade")));
        if is_offer { Self { headers: headers.clone(), passed: Mutex::default() } } else { Self::none() }
    }

    /// Adds the whole request, for a path that leads through a proxy.
    #[must_use]
    pub fn with_request(self, passed: Passed) -> Self {
        Self { passed: Mutex::new(Some(passed)), ..self }
    }

    /// The whole request, once.
    pub(super) fn take_passed(&self) -> Option<Passed> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The protocol that is offered, for instance `websocket` or `SPDY/3.1`.
    pub fn protocol(&self) -> Option<&str> {
        self.headers.get(header::UPGRADE)?.to_str().ok()
    }

    /// All headers of the request that makes the offer.
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}

impl Upgrade {
    pub(super) fn new<F>(talk: impl FnOnce(Box<dyn Duplex>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self(Box::new(move |stream| Box::pin(talk(stream))))
    }

    /// Speaks the other protocol until its end.
    pub(crate) fn talk(self, stream: Box<dyn Duplex>) -> BoxFuture<'static, ()> {
        (self.0)(stream)
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upgrade")
    }
}

#[cfg(test)]
mod tests {
    use super::Offer;

    #[test]
    fn an_offer_is_made_by_both_headers() {
        let check = |connection: &str, upgrade: &str, expected: Option<&str>| {
            let mut headers = http::HeaderMap::new();
            for (name, value) in [("connection", connection), ("upgrade", upgrade)] {
                if !value.is_empty() {
                    headers.insert(name, value.parse().unwrap());
                }
            }
            assert_eq!(Offer::read(&headers).protocol(), expected, "{connection}/{upgrade}");
        };
        check("keep-alive, Upgrade", "websocket", Some("websocket"));
        check("upgrade", "SPDY/3.1", Some("SPDY/3.1"));
        check("keep-alive", "websocket", None);
        check("upgrade", "", None);
        check("", "h2c", None);
    }
}
