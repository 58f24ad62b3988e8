//! QUIC where UDP does not pass: its datagrams in a TLS stream on TCP, under a QUIC endpoint that does not notice.
//!
//! This is no second protocol. Inside is the same QUIC connection, with its identity, streams, priorities and close codes; what is
//! outside only carries it, knows the coordinator by its certificate, and has a bound on either half. One TCP connection carries one
//! endpoint, so that no peer can fill another's queue or speak for its address. See `docs/design/link.md`, "Where UDP is blocked".

#![forbid(unsafe_code)]

mod carrier;
mod client;
mod datagram;
mod traffic;
mod tunnel;

#[cfg(test)]
mod tests;

pub use self::{
    client::{ConnectError, connect},
    datagram::DATAGRAM_BYTES_MAX,
    traffic::{Counted, Traffic},
    tunnel::{Addresses, Tunnel, fit},
};

/// ALPN of a tunnel, on TCP.
pub const ALPN: &[u8] = b"dunlin-tunnel/1";

/// What the kernel may hold of a tunnel's outgoing bytes: a fast line at 300 ms is kept busy, and on a slow one what is urgent does
/// not wait behind more than this.
pub const SEND_BUFFER_BYTES: u32 = 128 << 10;
