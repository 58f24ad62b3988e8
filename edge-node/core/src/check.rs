//! One look at a running container, as a value: what a probe or a hook asks, with every name resolved, and how it went.
//!
//! The pod's machine decides when to look and what follows; whoever does it knows neither probes nor pods.

use std::net::SocketAddr;

use dunlin_link::care::Scheme;

/// What to do, and how long it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub what: What,
    /// Milliseconds after which it has failed.
    pub timeout_ms: u64,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A GET request.
    Http(HttpCheck),
    /// A connection, closed at once.
    Tcp(Target),
    /// `grpc.health.v1.Health/Check`.
    Grpc {
        /// Where.
        target: Target,
        /// Which service, or empty.
        service: String,
    },
    /// A command in the container.
    Exec {
        /// Name of the container.
        container: String,
        /// With its arguments.
        command: Vec<String>,
    },
}

/// A GET request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    /// In clear, or by TLS without a look at the certificate.
    pub scheme: Scheme,
    /// Where.
    pub target: Target,
    /// Begins with a slash; may hold a query.
    pub path: String,
    /// Names as written.
    pub headers: Vec<(String, String)>,
    /// Which answers are good.
    pub accept: Accept,
}

/// Which answers to a request are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// Those with a status from 200 to 399.
    Healthy,
    /// Any.
    Anything,
}

/// A place on the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where it is from here.
    pub place: Place,
    /// How it is called: `10.42.0.5:8080`.
    pub shown: String,
}

/// Where a place is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At an address.
    Address(SocketAddr),
    /// At a name or address that a manifest gave.
    Host(String, u16),
}

/// How a look went. Texts are for people, and for events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Success,
    /// Well, but for something that a person should know.
    Warning(String),
    /// Not well.
    Failure(String),
    /// It could not be done at all, which says nothing about the container.
    Error(String),
}

/// Names a look for the answer to it; rises with each of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckTicket(pub u64);

/// How much of an answer is read at most, in bytes: as much as a kubelet reads.
pub const ANSWER_BYTES_MAX: usize = 10 << 10;
