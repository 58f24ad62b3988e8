//! Figures about connections of HTTPS and who comes by them.

use std::sync::Arc;

use super::Version;
use crate::metrics::{Collect, Counter, Gauge, Text, Type};

/// Counts connections and credentials.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    http1: Gauge,
    http2: Gauge,
    accepted: Counter,
    refused: Counter,
    handshakes_failed: Counter,
    stalled: Counter,
    authenticated: Counter,
    anonymous: Counter,
    unauthenticated: Counter,
}

/// Counts a connection, until this is dropped.
#[derive(Debug)]
pub(super) struct Open {
    figures: Arc<Figures>,
    version: Version,
}

/// How a request was authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    Success,
    Anonymous,
    Failure,
}

impl Figures {
    pub(super) fn open(self: &Arc<Self>, version: Version) -> Open {
        self.accepted.increment();
        self.gauge(version).increment();
        Open { figures: Arc::clone(self), version }
    }

    /// There was no room for a connection.
    pub(crate) fn refused(&self) {
        self.refused.increment();
    }

    /// A handshake of TLS failed.
    pub(crate) fn handshake_failed(&self) {
        self.handshakes_failed.increment();
    }

    /// A client took nothing of an answer.
    pub(super) fn stalled(&self) {
        self.stalled.increment();
    }

    pub(super) fn attempted(&self, attempt: Attempt) {
        match attempt {
            Attempt::Success => self.authenticated.increment(),
            Attempt::Anonymous => self.anonymous.increment(),
            Attempt::Failure => self.unauthenticated.increment(),
        }
    }

    const fn gauge(&self, version: Version) -> &Gauge {
        match version {
            Version::Http1 => &self.http1,
            Version::Http2 => &self.http2,
        }
    }
}

impl Collect for Figures {
    fn collect(&self, text: &mut Text) {
        let name = "dunlin_https_connections";
        text.family(name, Type::Gauge, "Open connections of HTTPS.");
        text.sample(name, &[("version", "1.1")], self.http1.value());
        text.sample(name, &[("version", "2")], self.http2.value());
        let help = "Connections of HTTPS that were served.";
        text.counter("dunlin_https_accepted_connections_total", help, self.accepted.value());
        let help = "Connections of HTTPS for which there was no room.";
        text.counter("dunlin_https_refused_connections_total", help, self.refused.value());
        let help = "Connections of HTTPS that were broken off because the client took nothing of an answer.";
        text.counter("dunlin_https_stalled_connections_total", help, self.stalled.value());
        let help = "Handshakes of TLS that failed.";
        text.counter("apiserver_tls_handshake_errors_total", help, self.handshakes_failed.value());
        let name = "authentication_attempts";
        text.family(name, Type::Counter, "Requests by whether what they showed was good.");
        text.sample(name, &[("result", "success")], self.authenticated.value());
        text.sample(name, &[("result", "anonymous")], self.anonymous.value());
        text.sample(name, &[("result", "failure")], self.unauthenticated.value());
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.figures.gauge(self.version).decrement();
    }
}
