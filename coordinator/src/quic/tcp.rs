//! The TCP port: TLS, then by ALPN what is inside: HTTPS, or a tunnel of a machine whose UDP is blocked.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use dunlin_link::session::CloseCode;
use dunlin_tunnel::{ALPN, Addresses, Counted, SEND_BUFFER_BYTES, Tunnel};
use quinn::ServerConfig;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, debug_span, warn};

use super::{
    NO_ROOM, Port, Services, accept,
    admission::{Admission, HANDSHAKE_TIMEOUT},
    close, go_away,
    line::Line,
    serve,
};
use crate::{
    authn,
    https::{ALPN_H2, Lifetime, Version},
};

/// Listens for both.
pub(super) struct TcpPort {
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

/// A stream that HTTP is spoken on; in a box, for there are thousands of tunnels that need no room for it.
type HttpsStream = Box<TlsStream<Counted<TcpStream>>>;

/// What came inside.
enum Opened {
    /// A tunnel, with the connection in it and the protocol of that.
    Tunnel(Tunnel, Line, Vec<u8>),
    /// HTTP.
    Https(HttpsStream, Version),
}

impl TcpPort {
    /// Takes a bound listener over.
    pub(super) fn new(
        listener: std::net::TcpListener,
        tls: rustls::ServerConfig,
        inside: ServerConfig,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        // Connections inherit it: the only way to learn that the client of a watch with nothing to tell is gone.
        sockopt::set_socket_keepalive(&listener, true)?;
        sockopt::set_tcp_keepidle(&listener, KEEP_ALIVE)?;
        sockopt::set_tcp_keepintvl(&listener, KEEP_ALIVE)?;
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
    pub(super) async fn serve_tcp(&self, port: &TcpPort) {
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
            let (stop, tasks) = (self.stop.clone(), self.connections.clone());
            let serve = async move {
                services.certificate.cover(knock.addresses.local.ip());
                let opened = tokio::select! {
                    opened = open(knock, &services, &admission) => opened,
                    () = stop.cancelled() => None,
                };
                drop(unknown);
                match opened {
                    Some(Opened::Tunnel(tunnel, line, alpn)) => {
                        run(&services, &admission, (&tunnel, &line, &alpn), &stop).await;
                        drop(place);
                    }
                    Some(Opened::Https(stream, version)) => {
                        // Has a place of its own, so that clients of the API keep out no node.
                        drop(place);
                        let lifetime = Lifetime { tasks: &tasks, stop: &stop };
                        Box::pin(https(&services, &admission, (stream, version, peer), lifetime)).await;
                    }
                    None => {}
                }
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

async fn https(
    services: &Services,
    admission: &Admission,
    (stream, version, remote): (HttpsStream, Version, SocketAddr),
    lifetime: Lifetime<'_>,
) {
    let Some(_place) = admission.https(remote.ip()) else {
        services.https.figures().refused();
        return admission.complain(remote, "too many connections of HTTPS are open", None);
    };
    match authn::peer(stream.get_ref().1.peer_certificates()) {
        Ok(peer) => services.https.serve(stream, version, peer, lifetime).await,
        Err(error) => admission.complain(remote, "its certificate says nothing usable", Some(&error)),
    }
}

/// The handshake of TLS on TCP, and in a tunnel the one of QUIC inside.
async fn open(knock: Knock, services: &Services, admission: &Admission) -> Option<Opened> {
    let peer = knock.addresses.peer;
    let inside = knock.inside.clone();
    let addresses = knock.addresses;
    // Takes no place of a QUIC handshake: whoever says nothing on TCP must hold up nobody on UDP.
    let shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, knock.tls.accept(Counted::new(knock.stream)));
    let stream = match shaken.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            services.https.figures().handshake_failed();
            admission.complain(peer, "its handshake on TCP failed", Some(&error));
            return None;
        }
        Err(_) => {
            services.https.figures().handshake_failed();
            admission.complain(peer, "its handshake on TCP took too long", None);
            return None;
        }
    };
    match stream.get_ref().1.alpn_protocol() {
        Some(ALPN) => {
            let socket = stream.get_ref().0.get_ref();
            // A larger buffer would only let urgent bytes wait behind others.
            let narrowed = sockopt::set_socket_send_buffer_size(socket, SEND_BUFFER_BYTES as usize);
            narrowed.inspect_err(|error| warn!(%error, "failed to set up a tunnel")).ok()?;
        }
        Some(ALPN_H2) => return Some(Opened::Https(Box::new(stream), Version::Http2)),
        // TLS lets nobody in who names only others.
        _ => return Some(Opened::Https(Box::new(stream), Version::Http1)),
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
    Some(Opened::Tunnel(tunnel, line, alpn))
}

impl std::fmt::Debug for TcpPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TcpPort").field("listener", &self.listener).finish_non_exhaustive()
    }
}

/// After a failure to accept, before the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Between two signs of life on a connection that is silent.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// For the last words of a connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
