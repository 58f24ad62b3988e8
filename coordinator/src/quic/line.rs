//! A connection and what carries it.

use std::{sync::Arc, time::Duration};

use dunlin_tunnel::Tunnel;
use quinn::{Connection, ConnectionError};

use crate::sessions::{LinkKind, Meter, Traffic};

/// A connection with what carries it.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) connection: Connection,
    /// What went over TCP; `None` on UDP.
    tunnel: Option<Arc<dunlin_tunnel::Traffic>>,
}

impl Line {
    pub(super) const fn udp(connection: Connection) -> Self {
        Self { connection, tunnel: None }
    }

    pub(super) fn tcp(connection: Connection, tunnel: &Tunnel) -> Self {
        Self { connection, tunnel: Some(tunnel.traffic()) }
    }
}

/// Reads what a line has carried. TCP counts what really went over it, repeats and TLS included.
#[derive(Debug)]
pub(super) struct LineMeter {
    line: Line,
    idle_timeout: Duration,
}

impl LineMeter {
    /// `idle_timeout` is how long nothing had come when a connection is given up.
    pub(super) const fn new(line: Line, idle_timeout: Duration) -> Self {
        Self { line, idle_timeout }
    }
}

impl Meter for LineMeter {
    fn read(&self) -> Traffic {
        let Line { connection, tunnel } = &self.line;
        let stats = connection.stats();
        let silent = match connection.close_reason() {
            Some(ConnectionError::TimedOut) => self.idle_timeout,
            _ => Duration::ZERO,
        };
        let (kind, bytes_in, bytes_out) = match tunnel {
            Some(traffic) => (LinkKind::Tcp, traffic.received(), traffic.sent()),
            None => (LinkKind::Quic, stats.udp_rx.bytes, stats.udp_tx.bytes),
        };
        Traffic { kind, peer: connection.remote_address(), bytes_in, bytes_out, rtt: stats.path.rtt, silent }
    }
}
