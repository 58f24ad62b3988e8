//! The API over HTTPS, for kubectl and every other client of Kubernetes: HTTP/1.1 and HTTP/2 on a stream whose TLS is done.
//!
//! This is a front: a request becomes the [`RequestHead`](dunlin_link::rpc::RequestHead) and body that the front over QUIC has too, goes
//! through [`ApiService::handle`], and its answer is written as HTTP. No verb is implemented here.

mod answer;
mod body;
mod conditional;
mod connection;
mod exchange;
mod figures;
mod gzip;
mod linger;
mod request;
mod vitals;

pub(crate) use self::connection::{Lifetime, Version};

use std::sync::Arc;

use self::figures::Figures;
use crate::{authn::Authenticator, metrics::Collect, service::ApiService};

/// What all connections share.
#[derive(Clone, Debug)]
pub struct HttpsFront {
    /// Answers.
    api: ApiService,
    /// Tells who asks.
    authenticator: Authenticator,
    figures: Arc<Figures>,
}

impl HttpsFront {
    /// A front of the service.
    pub fn new(api: ApiService, authenticator: Authenticator) -> Self {
        let figures = Arc::<Figures>::default();
        api.attach_figures(Arc::clone(&figures) as Arc<dyn Collect>);
        Self { api, authenticator, figures }
    }

    /// Counts what happens before a connection is served.
    pub(crate) fn figures(&self) -> &Figures {
        &self.figures
    }
}

/// ALPN of HTTP/2.
pub(crate) const ALPN_H2: &[u8] = b"h2";

/// ALPN of HTTP/1.1. Whoever names no protocol speaks that, too.
pub(crate) const ALPN_HTTP1: &[u8] = b"http/1.1";

#[cfg(test)]
mod tests;
