//! Opening connections to the coordinator, and words for why one ended.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use dunlin_link::{
    message::Tunables,
    session::{CloseCode, close_reason},
};
use dunlin_tunnel::Tunnel;
use quinn::{
    AckFrequencyConfig, Connection, ConnectionError, Endpoint, IdleTimeout, TransportConfig, VarInt,
    congestion::BbrConfig,
};

use super::{
    dial::Dial,
    drive::SessionEnd,
    identity::Identity,
    network::any_like,
    tls,
    way::{Plan, Way},
};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No address is known.
    #[error("no address of the coordinator is known")]
    NoAddress,
    /// An address means nothing.
    #[error("failed to look up `{address}`")]
    LookUp {
        /// As given.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The machine has no socket to give.
    #[error("failed to open a UDP socket")]
    Socket(#[source] io::Error),
    /// TLS cannot be configured.
    #[error("failed to set up TLS")]
    Tls(#[from] rustls::Error),
    /// What answers on TCP is no coordinator that this machine knows.
    #[error("failed to connect to `{address}` by TCP")]
    Tunnel {
        /// As given.
        address: String,
        /// Why.
        source: dunlin_tunnel::ConnectError,
    },
    /// Nobody answers, or who answers refuses.
    #[error("failed to connect to `{address}`: {why}")]
    Refused {
        /// As given.
        address: String,
        /// In words.
        why: String,
    },
}

/// A UDP socket that carries the connections of many sessions. Each of them is told apart by its connection id, as behind any port,
/// so the coordinator sees nodes as it would on machines of their own; only their port is the same.
#[derive(Clone, Debug)]
pub struct SharedSocket(pub(super) Endpoint);

impl SharedSocket {
    /// A socket for coordinators at addresses of the same family as `near`. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the machine has none to give.
    pub fn open(near: SocketAddr) -> io::Result<Self> {
        Endpoint::client(any_like(near)).map(Self)
    }
}

/// What one connection has carried, in UDP datagrams and their content; the headers of UDP and IP come on top.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams to the coordinator.
    pub datagrams_out: u64,
    /// Bytes in them.
    pub bytes_out: u64,
    /// Datagrams from the coordinator.
    pub datagrams_in: u64,
    /// Bytes in them.
    pub bytes_in: u64,
    /// Pings to the coordinator: keep-alives, and the packets that try for a larger MTU.
    pub pings_out: u64,
}

/// See [`Traffic`].
pub(super) fn traffic(connection: &Connection) -> Traffic {
    let stats = connection.stats();
    Traffic {
        datagrams_out: stats.udp_tx.datagrams,
        bytes_out: stats.udp_tx.bytes,
        datagrams_in: stats.udp_rx.datagrams,
        bytes_in: stats.udp_rx.bytes,
        pings_out: stats.frame_tx.ping,
    }
}

/// A connection with what carries it.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) connection: Connection,
    pub(super) address: String,
    pub(super) remote: SocketAddr,
    /// How often it is kept open; fixed when it is made.
    pub(super) keep_alive: Duration,
    pub(super) carrier: Carrier,
}

/// What carries a connection.
#[derive(Debug)]
pub(super) enum Carrier {
    /// A UDP socket.
    Udp {
        endpoint: Endpoint,
        /// The address that packets left from when it was made.
        source: Option<IpAddr>,
    },
    /// A stream.
    Tcp(Tunnel),
}

impl Connected {
    /// What carries it.
    pub(super) const fn way(&self) -> Way {
        match self.carrier {
            Carrier::Udp { .. } => Way::Udp,
            Carrier::Tcp(_) => Way::Tcp,
        }
    }

    /// Closes because another connection takes its place.
    pub(super) fn retire(&self) {
        self.connection
            .close(VarInt::from_u32(CloseCode::GoingAway as u32), b"the node has a better connection");
    }

    /// Whether one lost keep-alive, or none, makes the coordinator give this connection up, and another would do better.
    pub(super) fn is_too_silent(&self, tunables: Tunables) -> bool {
        let (keep_alive, idle) = intervals(Some(tunables));
        self.keep_alive > keep_alive && self.keep_alive * 2 > idle
    }

    /// How long nothing had come when the connection was given up; zero when it ended otherwise.
    pub(super) fn silent(&self, tunables: Option<Tunables>) -> Duration {
        match self.connection.close_reason() {
            Some(ConnectionError::TimedOut) => intervals(tunables).1,
            _ => Duration::ZERO,
        }
    }

    /// Tells the coordinator why the session ended.
    pub(super) fn close(&self, end: &SessionEnd) {
        let (code, reason) = end.close();
        self.connection.close(VarInt::from_u32(code as u32), close_reason(&reason));
    }

    /// Closes because the agent stops, and gives the packet that says so time to leave.
    pub(super) async fn say_goodbye(self) {
        self.connection.close(VarInt::from_u32(CloseCode::GoingAway as u32), b"the node is stopping");
        // If it does not arrive, the coordinator notices the silence.
        let endpoint = match &self.carrier {
            Carrier::Udp { endpoint, .. } => endpoint,
            Carrier::Tcp(tunnel) => tunnel.endpoint(),
        };
        let _ = tokio::time::timeout(GOODBYE_TIMEOUT, endpoint.wait_idle()).await;
    }
}

/// What it takes to open a session's connection.
pub(super) fn session_dial(
    (identity, floor): (Identity, Duration),
    socket: Option<SharedSocket>,
    tunables: Option<Tunables>,
    plan: Plan,
) -> Result<Dial, ConnectError> {
    let tls = tls::session_config(identity.authority(), identity.chain(), identity.key(), floor)?;
    Ok(Dial { tls, socket, tunables, plan })
}

/// Connects to the first of the addresses that answers, tried in turn from the `first` on.
pub(super) async fn dial_any(
    dial: &Dial,
    addresses: &[String],
    first: usize,
) -> Result<Connected, ConnectError> {
    let mut last = ConnectError::NoAddress;
    for index in 0..addresses.len() {
        match dial.dial(&addresses[(first + index) % addresses.len()]).await {
            Ok(connected) => return Ok(connected),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Why a connection ended, for a person.
pub(super) fn describe(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ApplicationClosed(close) => String::from_utf8_lossy(&close.reason).into_owned(),
        ConnectionError::ConnectionClosed(close) => {
            let code = u64::from(close.error_code);
            let reason = String::from_utf8_lossy(&close.reason);
            match code.checked_sub(TLS_ALERT_BASE) {
                Some(UNKNOWN_CA | BAD_CERTIFICATE | DECRYPT_ERROR) => format!(
                    "the coordinator does not accept this node's certificate, which another cluster's authority issued ({reason})"
                ),
                Some(_) => format!("the coordinator ended the handshake: {reason}"),
                None => format!("the coordinator ended the connection: {reason}"),
            }
        }
        ConnectionError::TimedOut => "the coordinator does not answer".into(),
        ConnectionError::TransportError(error) => {
            if error.reason.contains("UnknownIssuer") || error.reason.contains("BadSignature") {
                format!("this coordinator belongs to another cluster ({})", error.reason)
            } else if error.reason.is_empty() {
                error.to_string()
            } else {
                tls::own_words(&error.reason).to_owned()
            }
        }
        other => other.to_string(),
    }
}

/// How often to keep a connection open, and the silence after which it is dead.
pub(super) fn intervals(tunables: Option<Tunables>) -> (Duration, Duration) {
    let (keep_alive, idle) = match tunables {
        Some(tunables) => {
            (Duration::from_millis(tunables.keep_alive_ms), Duration::from_millis(tunables.idle_timeout_ms))
        }
        None => (KEEP_ALIVE, IDLE_TIMEOUT),
    };
    (keep_alive.max(KEEP_ALIVE_MIN), idle.max(KEEP_ALIVE_MIN))
}

pub(super) fn transport(tunables: Option<Tunables>, way: Way) -> TransportConfig {
    let (keep_alive, idle) = intervals(tunables);
    let idle = IdleTimeout::try_from(idle).ok();
    let mut transport = TransportConfig::default();
    transport
        .keep_alive_interval(Some(keep_alive))
        .max_idle_timeout(idle)
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .congestion_controller_factory(congestion())
        .ack_frequency_config(Some(acks()))
        .datagram_receive_buffer_size(None);
    if way == Way::Tcp {
        dunlin_tunnel::fit(&mut transport);
    }
    transport
}

/// Keep-alives are answered at once instead of 25 ms later, which wakes a coordinator of thousands of nodes once for each instead of twice.
fn acks() -> AckFrequencyConfig {
    let mut config = AckFrequencyConfig::default();
    config.ack_eliciting_threshold(VarInt::from_u32(0));
    config
}

/// BBR, as the coordinator has it: loss is no sign of a full line where radios lose packets.
fn congestion() -> Arc<BbrConfig> {
    let mut config = BbrConfig::default();
    config.initial_window(INITIAL_WINDOW_BYTES);
    Arc::new(config)
}

/// Sent before anything is known of the line: a second of one that carries 128 kbit/s. BBR's own is two hundred packets.
const INITIAL_WINDOW_BYTES: u64 = 16 << 10;

/// Until the coordinator says otherwise: below the time after which common NATs forget a UDP mapping.
const KEEP_ALIVE: Duration = Duration::from_secs(25);

/// Until the coordinator says otherwise: two keep-alives may be lost.
const IDLE_TIMEOUT: Duration = Duration::from_secs(80);

/// What a coordinator cannot ask a node to go below.
const KEEP_ALIVE_MIN: Duration = Duration::from_millis(500);

/// Streams that the coordinator may have open: logs, commands and connections, of each more than anybody needs of one node.
const STREAMS_MAX: u32 = 192;

/// A handshake over a slow radio link, with a repeat or two.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a stopping agent waits for its last packet.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(500);

/// QUIC carries TLS alerts as error codes from here on (RFC 9001, section 4.8).
const TLS_ALERT_BASE: u64 = 0x100;

/// TLS alerts (RFC 8446, section 6) that a certificate of another authority causes.
const UNKNOWN_CA: u64 = 48;
const BAD_CERTIFICATE: u64 = 42;
const DECRYPT_ERROR: u64 = 51;
