//! The TCP port: TLS, then by ALPN what is inside. Today that is tunnels, for machines whose UDP is blocked.

use std::{io, sync::Arc, time::Duration};

use dunlin_link::session::CloseCode;
use dunlin_tunnel::{ALPN, Addresses, Counted, SEND_BUFFER_BYTES, Tunnel};
use quinn::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, debug_span, warn};

use super::{
    NO_ROOM, Port, Services, accept,
    admission::{Admission, HANDSHAKE_TIMEOUT},
    close, go_away,
    line::Line,
    serve,
};

/// Listens for tunnels.
pub(super) struct TunnelPort {
    listener: TcpListener,
    tls: TlsAcceptor,
    inside: ServerConfig,
}

/// A TCP connection that has been accepted.
struct Knock {
    stream: TcpStream,
    addresses: Addresses,
    tls: TlsAcceptor,
    inside: ServerConfig,
}

impl TunnelPort {
    /// Takes a bound listener over.
    pub(super) fn new(
        listener: std::net::TcpListener,
        tls: rustls::ServerConfig,
        inside: ServerConfig,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        // Connections inherit it. A larger buffer would only let urgent bytes wait behind others.
        rustix::net::sockopt::set_socket_send_buffer_size(&listener, SEND_BUFFER_BYTES as usize)?;
        Ok(Self { listener: TcpListener::from_std(listener)?, tls: Arc::new(tls).into(), inside })
    }

    async fn next(&self) -> Knock {
        loop {
            match self.knock().await {
                Ok(knock) => return knock,
                Err(error) => {
                    // A connection that is gone already, or no file is free: others must end first.
                    debug!(%error, "failed to accept a TCP connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn knock(&self) -> io::Result<Knock> {
        let (stream, peer) = self.listener.accept().await?;
        stream.set_nodelay(true)?;
        let addresses = Addresses { local: stream.local_addr()?, peer };
        Ok(Knock { stream, addresses, tls: self.tls.clone(), inside: self.inside.clone() })
    }
}

impl Port {
    /// Takes TCP connections until the coordinator stops.
    pub(super) async fn serve_tunnels(&self, port: &TunnelPort) {
        loop {
            let knock = tokio::select! {
                knock = port.next() => knock,
                () = self.stop.cancelled() => return,
            };
            let peer = knock.addresses.peer;
            let Some((place, unknown)) = self.admission.tunnel(peer.ip()) else {
                self.admission.complain(peer, "too many TCP connections are open", None);
                continue;
            };
            let span = debug_span!("connection", remote = %peer, carrier = "tcp");
            let (services, admission) = (Arc::clone(&self.services), Arc::clone(&self.admission));
            let stop = self.stop.clone();
            let serve = async move {
                let opened = tokio::select! {
                    opened = open(knock, &admission) => opened,
                    () = stop.cancelled() => None,
                };
                drop(unknown);
                if let Some((tunnel, line, alpn)) = opened {
                    run(&services, &admission, (&tunnel, &line, &alpn), &stop).await;
                }
                drop(place);
            };
            self.connections.spawn(serve.instrument(span));
        }
    }
}

async fn run(
    services: &Arc<Services>,
    admission: &Admission,
    (tunnel, line, alpn): (&Tunnel, &Line, &[u8]),
    stop: &CancellationToken,
) {
    tokio::select! {
        () = serve(services, admission, line, alpn) => {}
        () = tunnel.ended() => close(&line.connection, CloseCode::GoingAway, "the TCP connection ended"),
        () = stop.cancelled() => go_away(line),
    }
    // The last words of the connection need a while to be written; the tunnel then ends by itself.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, tunnel.endpoint().wait_idle()).await;
}

/// Both handshakes, the one of TLS on TCP and the one of QUIC inside.
async fn open(knock: Knock, admission: &Admission) -> Option<(Tunnel, Line, Vec<u8>)> {
    let peer = knock.addresses.peer;
    let inside = knock.inside.clone();
    let addresses = knock.addresses;
    // Takes no place of a QUIC handshake: whoever says nothing on TCP must hold up nobody on UDP.
    let shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, knock.tls.accept(Counted::new(knock.stream)));
    let stream = match shaken.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            admission.complain(peer, "its handshake on TCP failed", Some(&error));
            return None;
        }
        Err(_) => {
            admission.complain(peer, "its handshake on TCP took too long", None);
            return None;
        }
    };
    match stream.get_ref().1.alpn_protocol() {
        Some(ALPN) => {}
        // HTTPS will have its place here.
        _ => {
            admission.complain(peer, "it asks on TCP for no protocol of this port", None);
            return None;
        }
    }
    let traffic = stream.get_ref().0.traffic();
    let tunnel = Tunnel::new(stream, addresses, traffic, Some(inside));
    let tunnel = tunnel.inspect_err(|error| warn!(%error, "failed to set up a tunnel")).ok()?;
    let incoming = tokio::time::timeout(HANDSHAKE_TIMEOUT, tunnel.endpoint().accept()).await.ok()??;
    let place = admission.handshake(peer.ip());
    if place.is_none() {
        admission.complain(peer, NO_ROOM, None);
        incoming.refuse();
        return None;
    }
    let (connection, alpn) = accept(incoming, admission).await?;
    let line = Line::tcp(connection, &tunnel);
    Some((tunnel, line, alpn))
}

impl std::fmt::Debug for TunnelPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TunnelPort").field("listener", &self.listener).finish_non_exhaustive()
    }
}

/// After a failure to accept, before the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// For the last words of a connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
