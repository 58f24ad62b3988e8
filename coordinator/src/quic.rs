//! The one module of the coordinator that names quinn: the endpoint, and which protocol each connection speaks.
//!
//! Whoever is turned away is told why in words, and the same words are logged with the address.

mod api;
mod join;
mod link;
mod reset;
mod stream;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use dunlin_link::{
    join as join_protocol,
    message::Tunables,
    rpc,
    session::{CloseCode, close_reason},
};
use quinn::{
    Connection, Endpoint, IdleTimeout, Incoming, ServerConfig, TokioRuntime, TransportConfig, VarInt,
    crypto::rustls::{HandshakeData, QuicServerConfig},
};
use rustls_pki_types::CertificateDer;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, debug, debug_span, warn};

use crate::{
    pki::{Peer, Pki, TlsError},
    service::ApiService,
    sessions::Sessions,
    tokens::Tokens,
};

/// The coordinator's UDP port.
#[derive(Debug)]
pub struct QuicServer {
    endpoint: Endpoint,
    services: Arc<Services>,
}

/// What connections lead to.
#[derive(Clone, Debug)]
pub struct Services {
    /// Issues certificates.
    pub pki: Pki,
    /// Decides who may join and which key is whose.
    pub tokens: Tokens,
    /// Takes the connections of nodes.
    pub sessions: Sessions,
    /// Answers the API.
    pub api: ApiService,
}

/// Why the port is not served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Another process has the port, or the address is not this machine's.
    #[error("failed to bind UDP address {address}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// TLS cannot be configured.
    #[error("failed to set up TLS")]
    Tls(#[from] TlsError),
    /// The tunables cannot be met by QUIC.
    #[error("failed to set up QUIC: {0}")]
    Transport(&'static str),
}

impl QuicServer {
    /// Binds the port; connections wait until [`QuicServer::run`]. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind(address: SocketAddr, tunables: Tunables, services: Services) -> Result<Self, BindError> {
        let tls = services.pki.server_config()?;
        let tls = QuicServerConfig::try_from(tls)
            .map_err(|_| BindError::Transport("TLS lacks the cipher of initial packets"))?;
        let mut config = ServerConfig::with_crypto(Arc::new(tls));
        config
            .transport_config(Arc::new(transport(tunables)?))
            .max_incoming(INCOMING_MAX)
            .incoming_buffer_size(INCOMING_BYTES_MAX)
            .incoming_buffer_size_total(INCOMING_BYTES_MAX * 64);
        let bind_error = |source| BindError::Bind { address, source };
        let socket = std::net::UdpSocket::bind(address).map_err(bind_error)?;
        let runtime = Arc::new(TokioRuntime);
        let endpoint_config = reset::endpoint_config(&services.pki);
        let endpoint = Endpoint::new(endpoint_config, Some(config), socket, runtime).map_err(bind_error)?;
        Ok(Self { endpoint, services: Arc::new(services) })
    }

    /// Where the port is, for an address that asked for any free one.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Serves until `stop`, then closes every connection and waits until all is said.
    pub async fn run(self, stop: CancellationToken) {
        let connections = TaskTracker::new();
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        let strangers = Arc::new(Semaphore::new(STRANGERS_MAX));
        loop {
            let incoming = tokio::select! {
                incoming = self.endpoint.accept() => incoming,
                () = stop.cancelled() => None,
            };
            let Some(incoming) = incoming else { break };
            let free = handshakes.available_permits();
            let verdict = match incoming.remote_address_validated() {
                true => Verdict::of_validated(free),
                false => Verdict::of_claimed(free),
            };
            match verdict {
                Verdict::Accept => {}
                Verdict::Retry => {
                    // The only error is that it may not, which holds for no address that is not validated.
                    let _ = incoming.retry();
                    continue;
                }
                Verdict::Refuse => {
                    incoming.refuse();
                    continue;
                }
            }
            // Only this loop takes permits: the one that was counted is still there.
            let permit = Arc::clone(&handshakes).try_acquire_owned();
            let span = debug_span!("connection", remote = %incoming.remote_address());
            let (services, strangers) = (Arc::clone(&self.services), Arc::clone(&strangers));
            let stop = stop.clone();
            connections.spawn(
                async move {
                    let accepted = accept(incoming).await;
                    drop(permit);
                    if let Some((connection, alpn)) = accepted {
                        tokio::select! {
                            () = serve(&services, &strangers, &connection, &alpn) => {}
                            () = stop.cancelled() => {
                                close(&connection, CloseCode::GoingAway, "the coordinator is stopping");
                            }
                        }
                    }
                }
                .instrument(span),
            );
        }
        connections.close();
        connections.wait().await;
        // Lets the last packets of closed connections leave.
        if tokio::time::timeout(DRAIN_TIMEOUT, self.endpoint.wait_idle()).await.is_err() {
            debug!("some connections did not confirm their end");
        }
    }
}

/// What becomes of the first packet of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The handshake begins.
    Accept,
    /// The sender shows first that it receives at its address; nothing is kept meanwhile.
    Retry,
    /// There is no room.
    Refuse,
}

impl Verdict {
    /// For a sender that receives at its address.
    const fn of_validated(free: usize) -> Self {
        if free == 0 { Self::Refuse } else { Self::Accept }
    }

    /// For an address that may be made up: such ones must not take all places.
    const fn of_claimed(free: usize) -> Self {
        if free > HANDSHAKES_MAX - UNVALIDATED_HANDSHAKES_MAX { Self::Accept } else { Self::Retry }
    }
}

/// Completes a handshake; answers the connection and its protocol.
async fn accept(incoming: Incoming) -> Option<(Connection, Vec<u8>)> {
    let remote = incoming.remote_address();
    let connecting = match incoming.accept() {
        Ok(connecting) => connecting,
        Err(error) => {
            warn!(%remote, %error, "refused a connection");
            return None;
        }
    };
    let connection = match tokio::time::timeout(HANDSHAKE_TIMEOUT, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            warn!(%remote, %error, "refused a connection: its handshake failed");
            return None;
        }
        Err(_) => {
            warn!(%remote, "refused a connection: its handshake took too long");
            return None;
        }
    };
    let data = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
    Some((connection, data.and_then(|data| data.protocol).unwrap_or_default()))
}

/// Serves a connection; one without a certificate only for a short while, and not many at a time.
async fn serve(services: &Arc<Services>, strangers: &Semaphore, connection: &Connection, alpn: &[u8]) {
    if connection.peer_identity().is_some() {
        return speak(services, connection, alpn).await;
    }
    let Ok(_seat) = strangers.try_acquire() else {
        warn!(remote = %connection.remote_address(), "refused a connection: too many have no certificate");
        return close(connection, CloseCode::Busy, "too many machines without a certificate are connected");
    };
    if tokio::time::timeout(STRANGER_TIMEOUT, speak(services, connection, alpn)).await.is_err() {
        close(connection, CloseCode::GoingAway, "a connection without a certificate is not kept open");
    }
}

/// Grants streams and memory to a connection whose other side is known by now.
fn widen(connection: &Connection, streams: u32, receive_window: u32) {
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(streams));
    connection.set_receive_window(VarInt::from_u32(receive_window));
}

async fn speak(services: &Arc<Services>, connection: &Connection, alpn: &[u8]) {
    match alpn {
        alpn if alpn == join_protocol::SESSION_ALPN => link::serve(services, connection).await,
        alpn if alpn == join_protocol::ALPN => join::serve(services, connection).await,
        alpn if alpn == rpc::ALPN => api::serve(services, connection).await,
        _ => turn_away(connection, "no protocol of this port was asked for"),
    }
}

/// Who is on the other side; `None` without a certificate.
fn peer(connection: &Connection) -> Result<Option<Peer>, String> {
    let chain =
        connection.peer_identity().and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
    let Some(leaf) = chain.as_ref().and_then(|chain| chain.first()) else { return Ok(None) };
    Peer::from_certificate(leaf).map(Some).map_err(|error| error.to_string())
}

/// Closes a connection that may not be here, and says why on both sides.
fn turn_away(connection: &Connection, reason: &str) {
    warn!(remote = %connection.remote_address(), reason, "refused a connection");
    close(connection, CloseCode::Refused, reason);
}

fn close(connection: &Connection, code: CloseCode, reason: &str) {
    debug!(remote = %connection.remote_address(), reason, "closing a connection");
    connection.close(VarInt::from_u32(code as u32), close_reason(reason));
}

fn transport(tunables: Tunables) -> Result<TransportConfig, BindError> {
    let idle = IdleTimeout::try_from(Duration::from_millis(tunables.idle_timeout_ms))
        .map_err(|_| BindError::Transport("the idle timeout is too long"))?;
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(idle))
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .stream_receive_window(VarInt::from_u32(STREAM_RECEIVE_WINDOW))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None);
    Ok(transport)
}

/// Handshakes under way at a time; each costs the coordinator a signature.
const HANDSHAKES_MAX: usize = 256;

/// Those of them whose address may be made up.
const UNVALIDATED_HANDSHAKES_MAX: usize = 32;

/// Connections that wait to be looked at.
const INCOMING_MAX: usize = 1024;

/// What one of them may have sent meanwhile.
const INCOMING_BYTES_MAX: u64 = 64 << 10;

/// A handshake over a slow radio link, with a repeat or two.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a stopping coordinator waits for clients to confirm.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Connections without a certificate at a time: machines that join, and clients that are told they need one.
const STRANGERS_MAX: usize = 256;

/// How long one of them may last: a join, and the time to take the answer.
const STRANGER_TIMEOUT: Duration = Duration::from_secs(40);

/// Streams that the other side may open before it is known who it is: the one that tells.
const STREAMS_MAX: u32 = 1;

/// Bytes that the other side may send on all streams before they are read, while it is not known who it is: a request with its head.
const RECEIVE_WINDOW: u32 = 128 << 10;

/// The same for one stream, whoever it is: enough for a module to be pushed at 10 MB/s over 100 ms.
const STREAM_RECEIVE_WINDOW: u32 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::{HANDSHAKES_MAX, UNVALIDATED_HANDSHAKES_MAX, Verdict};

    #[test]
    fn made_up_addresses_cannot_take_all_handshakes() {
        let check = |under_way: usize, unvalidated, validated| {
            let free = HANDSHAKES_MAX - under_way;
            assert_eq!((Verdict::of_claimed(free), Verdict::of_validated(free)), (unvalidated, validated));
        };
        check(0, Verdict::Accept, Verdict::Accept);
        check(UNVALIDATED_HANDSHAKES_MAX - 1, Verdict::Accept, Verdict::Accept);
        check(UNVALIDATED_HANDSHAKES_MAX, Verdict::Retry, Verdict::Accept);
        check(HANDSHAKES_MAX - 1, Verdict::Retry, Verdict::Accept);
        check(HANDSHAKES_MAX, Verdict::Retry, Verdict::Refuse);
    }
}
