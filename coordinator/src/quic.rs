//! The one module of the coordinator that names quinn: the port, and which protocol each connection speaks.
//!
//! QUIC is served on UDP, and through tunnels on the TCP port of the same number for those whose UDP is blocked. Whoever is turned
//! away is told why in words, and the same words are logged with the address.

mod admission;
mod api;
mod gate;
mod join;
mod line;
mod link;
mod opening;
mod reset;
mod stream;
mod tcp;
mod transfers;

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::Arc,
    time::Duration,
};

use dunlin_link::{
    join as join_protocol,
    message::Tunables,
    rpc,
    session::{CloseCode, close_reason},
};
use quinn::{
    Connection, Endpoint, IdleTimeout, Incoming, ServerConfig, TokioRuntime, TransportConfig, VarInt,
    congestion::BbrConfig,
    crypto::rustls::{HandshakeData, QuicServerConfig},
};
use rustls_pki_types::CertificateDer;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, debug, debug_span, warn};

use self::{
    admission::{AddressProof, Admission, HANDSHAKE_TIMEOUT, STRANGER_TIMEOUT, Verdict},
    line::Line,
    tcp::TcpPort,
};
use crate::{
    authn::{self, Authenticator},
    https::HttpsFront,
    members::Members,
    pki::{Peer, ServingCertificate, TlsError},
    service::ApiService,
    sessions::Sessions,
};

/// The coordinator's port, on UDP and TCP.
#[derive(Debug)]
pub struct QuicServer {
    endpoint: Endpoint,
    tcp: TcpPort,
    services: Arc<Services>,
}

/// What connections lead to.
#[derive(Clone, Debug)]
pub struct Services {
    /// What HTTPS and tunnels show; knows the cluster's authority.
    certificate: Arc<ServingCertificate>,
    /// Lets machines in, and knows which key is whose.
    members: Members,
    /// Takes the connections of nodes.
    sessions: Sessions,
    /// Answers the API.
    api: ApiService,
    /// Tells who asks.
    authenticator: Authenticator,
    /// Answers the API over HTTPS.
    https: HttpsFront,
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
    /// The same on TCP.
    #[error("failed to bind TCP address {address}, by which nodes come whose UDP is blocked")]
    BindTcp {
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

impl Services {
    /// Leads to these, over all protocols.
    pub fn new(
        certificate: ServingCertificate,
        members: Members,
        sessions: Sessions,
        api: ApiService,
        authenticator: Authenticator,
    ) -> Self {
        let https = HttpsFront::new(api.clone(), authenticator.clone());
        Self { certificate: Arc::new(certificate), members, sessions, api, authenticator, https }
    }
}

impl QuicServer {
    /// Binds the port; connections wait until [`QuicServer::run`]. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind(address: SocketAddr, tunables: Tunables, services: Services) -> Result<Self, BindError> {
        let (socket, listener) = bind(address)?;
        let mut config = server_config(&services, transport(tunables)?)?;
        config
            .max_incoming(INCOMING_MAX)
            .incoming_buffer_size(INCOMING_BYTES_MAX)
            .incoming_buffer_size_total(INCOMING_BYTES_MAX * 64);
        let mut tunnelled = transport(tunables)?;
        dunlin_tunnel::fit(&mut tunnelled);
        let tunnelled = server_config(&services, tunnelled)?;
        let certificate = Arc::clone(&services.certificate);
        let tls = services.certificate.pki().tcp_config(services.api.clock().clone(), certificate)?;
        let bind_error = |source| BindError::Bind { address, source };
        let endpoint_config = reset::endpoint_config(services.certificate.pki());
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new(endpoint_config, Some(config), socket, runtime).map_err(bind_error)?;
        let tcp = TcpPort::new(listener, tls, tunnelled)
            .map_err(|source| BindError::BindTcp { address, source })?;
        Ok(Self { endpoint, tcp, services: Arc::new(services) })
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
        let port = Port {
            services: self.services,
            admission: Arc::new(Admission::new()),
            connections: TaskTracker::new(),
            stop,
        };
        tokio::join!(port.serve_udp(&self.endpoint), port.serve_tcp(&self.tcp));
        port.connections.close();
        port.connections.wait().await;
        // Lets the last packets of closed connections leave.
        if tokio::time::timeout(DRAIN_TIMEOUT, self.endpoint.wait_idle()).await.is_err() {
            debug!("some connections did not confirm their end");
        }
    }
}

/// What both ways to the port share.
#[derive(Debug)]
struct Port {
    services: Arc<Services>,
    admission: Arc<Admission>,
    connections: TaskTracker,
    stop: CancellationToken,
}

impl Port {
    async fn serve_udp(&self, endpoint: &Endpoint) {
        loop {
            let incoming = tokio::select! {
                incoming = endpoint.accept() => incoming,
                () = self.stop.cancelled() => None,
            };
            let Some(incoming) = incoming else { return };
            let address = match incoming.remote_address_validated() {
                true => AddressProof::Validated,
                false => AddressProof::Claimed,
            };
            match self.admission.verdict(address) {
                Verdict::Accept => {}
                Verdict::Retry => {
                    // The only error is that it may not, which holds for no address that is not validated.
                    let _ = incoming.retry();
                    continue;
                }
                Verdict::Refuse => {
                    self.admission.complain(incoming.remote_address(), NO_ROOM, None);
                    incoming.refuse();
                    continue;
                }
            }
            // Tunnels take places too: the one that was counted may be gone.
            let remote = incoming.remote_address();
            let Some(place) = self.admission.handshake(remote.ip()) else {
                self.admission.complain(remote, NO_ROOM, None);
                incoming.refuse();
                continue;
            };
            let span = debug_span!("connection", %remote);
            let (services, admission) = (Arc::clone(&self.services), Arc::clone(&self.admission));
            let stop = self.stop.clone();
            let serve = async move {
                let accepted = accept(incoming, &admission).await;
                drop(place);
                let Some((connection, alpn)) = accepted else { return };
                let line = Line::udp(connection);
                tokio::select! {
                    () = serve(&services, &admission, &line, &alpn) => {}
                    () = stop.cancelled() => go_away(&line),
                }
            };
            self.connections.spawn(serve.instrument(span));
        }
    }
}

/// Ends a connection because the coordinator ends.
fn go_away(line: &Line) {
    close(&line.connection, CloseCode::GoingAway, "the coordinator is stopping");
}

/// Completes a handshake; answers the connection and its protocol.
async fn accept(incoming: Incoming, admission: &Admission) -> Option<(Connection, Vec<u8>)> {
    let remote = incoming.remote_address();
    let connecting = match incoming.accept() {
        Ok(connecting) => connecting,
        Err(error) => {
            admission.complain(remote, "its first packet is not one", Some(&error));
            return None;
        }
    };
    let connection = match tokio::time::timeout(HANDSHAKE_TIMEOUT, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            admission.complain(remote, "its handshake failed", Some(&error));
            return None;
        }
        Err(_) => {
            admission.complain(remote, "its handshake took too long", None);
            return None;
        }
    };
    let data = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
    Some((connection, data.and_then(|data| data.protocol).unwrap_or_default()))
}

/// Serves a connection; one without a certificate only for a short while, and not many at a time.
async fn serve(services: &Arc<Services>, admission: &Admission, line: &Line, alpn: &[u8]) {
    let connection = &line.connection;
    if connection.peer_identity().is_some() {
        return speak(services, line, alpn).await;
    }
    let Some(_seat) = admission.stranger() else {
        admission.complain(connection.remote_address(), "too many have no certificate", None);
        return close(connection, CloseCode::Busy, "too many machines without a certificate are connected");
    };
    if tokio::time::timeout(STRANGER_TIMEOUT, speak(services, line, alpn)).await.is_err() {
        close(connection, CloseCode::GoingAway, "a connection without a certificate is not kept open");
    }
}

/// Grants streams and memory to a connection whose other side is known by now.
fn widen(connection: &Connection, streams: u32, receive_window: u32) {
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(streams));
    connection.set_receive_window(VarInt::from_u32(receive_window));
}

async fn speak(services: &Arc<Services>, line: &Line, alpn: &[u8]) {
    let connection = &line.connection;
    match alpn {
        // Each in a box of its own size: there are thousands of sessions, and they shall not be as large as a request of the API.
        alpn if alpn == join_protocol::SESSION_ALPN => Box::pin(link::serve(services, line)).await,
        alpn if alpn == join_protocol::ALPN => Box::pin(join::serve(services, connection)).await,
        alpn if alpn == rpc::ALPN => Box::pin(api::serve(services, connection)).await,
        _ => turn_away(connection, "no protocol of this port was asked for"),
    }
}

/// Who is on the other side; `None` without a certificate.
fn peer(connection: &Connection) -> Result<Option<Peer>, String> {
    let chain =
        connection.peer_identity().and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
    authn::peer(chain.as_deref().map(Vec::as_slice)).map_err(|error| error.to_string())
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

/// Binds UDP and TCP to one port.
fn bind(address: SocketAddr) -> Result<(UdpSocket, TcpListener), BindError> {
    let mut tries = if address.port() == 0 { BIND_TRIES } else { 1 };
    loop {
        tries -= 1;
        let bind_error = |source| BindError::Bind { address, source };
        let socket = UdpSocket::bind(address).map_err(bind_error)?;
        widen_buffer(&socket);
        let same = SocketAddr::new(address.ip(), socket.local_addr().map_err(bind_error)?.port());
        match TcpListener::bind(same) {
            Ok(listener) => return Ok((socket, listener)),
            Err(_) if tries > 0 => {}
            Err(source) => return Err(BindError::BindTcp { address: same, source }),
        }
    }
}

/// Asks for a larger buffer; root gets it, others as much as the machine's administrator allows.
fn widen_buffer(socket: &UdpSocket) {
    use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};
    // What is lost for want of room is sent again.
    let _ = set_socket_recv_buffer_size_force(socket, UDP_RECEIVE_BUFFER_BYTES)
        .or_else(|_| set_socket_recv_buffer_size(socket, UDP_RECEIVE_BUFFER_BYTES));
}

fn server_config(services: &Services, transport: TransportConfig) -> Result<ServerConfig, BindError> {
    let tls =
        QuicServerConfig::try_from(services.certificate.pki().server_config(services.api.clock().clone())?)
            .map_err(|_| BindError::Transport("TLS lacks the cipher of initial packets"))?;
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

fn transport(tunables: Tunables) -> Result<TransportConfig, BindError> {
    let idle = IdleTimeout::try_from(Duration::from_millis(tunables.idle_timeout_ms))
        .map_err(|_| BindError::Transport("the idle timeout is too long"))?;
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(idle))
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .send_window(SEND_WINDOW)
        .stream_receive_window(VarInt::from_u32(STREAM_RECEIVE_WINDOW))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        // A connection keeps the buffer that it has once sent from. For segments in batches that is 14 KiB for each of thousands of
        // nodes, to save a client that reads much some system calls.
        .congestion_controller_factory(congestion())
        .enable_segmentation_offload(false);
    Ok(transport)
}

/// BBR: loss is no sign of a full line where radios lose packets. On a line of 600 ms that loses one packet in ten it carries twenty times
/// what Cubic does, and on others as much (`bench/README.md`).
fn congestion() -> Arc<BbrConfig> {
    let mut config = BbrConfig::default();
    config.initial_window(INITIAL_WINDOW_BYTES);
    Arc::new(config)
}

/// What those are told, in the log, for whom there is no place.
const NO_ROOM: &str = "too many handshakes are under way";

/// Sent before anything is known of the line: a second of one that carries 128 kbit/s. BBR's own is two hundred packets.
const INITIAL_WINDOW_BYTES: u64 = 16 << 10;

/// Connections that wait to be looked at.
const INCOMING_MAX: usize = 1024;

/// What one of them may have sent meanwhile.
const INCOMING_BYTES_MAX: u64 = 64 << 10;

/// What the kernel may hold of packets that nobody has looked at: the first ones of a fleet that comes back at once.
const UDP_RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// Ports that are tried when any will do: UDP's may be taken on TCP.
const BIND_TRIES: usize = 16;

/// How long a stopping coordinator waits for clients to confirm.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Streams that the other side may open before it is known who it is: the one that tells.
const STREAMS_MAX: u32 = 1;

/// Bytes that the other side may send on all streams before they are read, while it is not known who it is: a request with its head.
const RECEIVE_WINDOW: u32 = 128 << 10;

/// The same for one stream, whoever it is: enough for a module to be pushed at 10 MB/s over 100 ms.
const STREAM_RECEIVE_WINDOW: u32 = 1 << 20;

/// Bytes of all streams that the other side has not confirmed: what one that stops reading can hold. Enough for 10 MB/s over 300 ms.
const SEND_WINDOW: u64 = 4 << 20;
