//! The side that connects.

use std::{io, net::SocketAddr, sync::Arc};

use rustls::{ClientConfig, SignatureScheme, client::ResolvesClientCert, sign::CertifiedKey};
use rustls_pki_types::ServerName;
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

use crate::{ALPN, Addresses, Counted, SEND_BUFFER_BYTES, Tunnel};

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody takes TCP connections there.
    #[error("no TCP connection")]
    Tcp(#[source] io::Error),
    /// Who takes them is not the coordinator, or does not want a tunnel.
    #[error("the TLS handshake on TCP failed")]
    Tls(#[source] io::Error),
    /// The name of the coordinator cannot be asked for.
    #[error("`{0}` is no name of a server")]
    Name(String),
    /// QUIC refuses the stream.
    #[error("failed to set up QUIC over TCP")]
    Endpoint(#[source] io::Error),
}

/// Opens a tunnel to a coordinator. `tls` says how the coordinator is known; its protocols and its own certificate are for the
/// connection inside, which shows them again.
///
/// # Errors
/// When there is no connection, or the other side is not the one that `tls` knows.
pub async fn connect(remote: SocketAddr, name: &str, tls: &ClientConfig) -> Result<Tunnel, ConnectError> {
    let socket = if remote.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(ConnectError::Tcp)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES).map_err(ConnectError::Tcp)?;
    let stream = socket.connect(remote).await.map_err(ConnectError::Tcp)?;
    stream.set_nodelay(true).map_err(ConnectError::Tcp)?;
    let addresses = Addresses { local: stream.local_addr().map_err(ConnectError::Tcp)?, peer: remote };
    let mut tls = tls.clone();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.client_auth_cert_resolver = Arc::new(Nobody);
    let name = ServerName::try_from(name.to_owned()).map_err(|_| ConnectError::Name(name.to_owned()))?;
    let stream = Counted::new(stream);
    let traffic = stream.traffic();
    let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await.map_err(ConnectError::Tls)?;
    if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
        return Err(ConnectError::Tls(io::Error::other("the other side does not know tunnels")));
    }
    Tunnel::new(stream, addresses, traffic, None).map_err(ConnectError::Endpoint)
}

/// Outside no certificate is shown: who is inside says so there.
#[derive(Debug)]
struct Nobody;

impl ResolvesClientCert for Nobody {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
