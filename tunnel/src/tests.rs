//! Both sides over pipes and over TCP: what is sent arrives, however slow the other side reads.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use quinn::{
    ClientConfig, Connection, ServerConfig, TransportConfig,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::{ALPN, Addresses, ConnectError, Counted, Traffic, Tunnel, connect, fit};

const NAME: &str = "coordinator.test";

struct Keys {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Keys {
    fn new() -> Self {
        let pair = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(pair.signing_key.serialize_der().into());
        Self { certificate: pair.cert.der().clone(), key }
    }

    fn server(&self, alpn: &[u8]) -> rustls::ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], self.key.clone_key())
            .unwrap();
        config.alpn_protocols = vec![alpn.to_vec()];
        config
    }

    fn client(&self, alpn: &[u8]) -> rustls::ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        config
    }

    fn quic_server(&self) -> ServerConfig {
        let crypto = QuicServerConfig::try_from(self.server(b"inside")).unwrap();
        let mut config = ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(Arc::new(transport()));
        config
    }

    fn quic_client(&self) -> ClientConfig {
        let crypto = QuicClientConfig::try_from(self.client(b"inside")).unwrap();
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport()));
        config
    }
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    fit(&mut transport);
    transport
}

fn addresses(local: u16, peer: u16) -> Addresses {
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    Addresses { local: address(local), peer: address(peer) }
}

/// Both ends of a connection through a pipe that holds few bytes.
async fn through_a_pipe(keys: &Keys) -> (Tunnel, Connection, Tunnel, Connection) {
    let (near, far) = tokio::io::duplex(1000);
    let traffic = Arc::<Traffic>::default;
    let server = Tunnel::new(far, addresses(1, 2), traffic(), Some(keys.quic_server())).unwrap();
    let client = Tunnel::new(near, addresses(2, 1), traffic(), None).unwrap();
    let connecting =
        client.endpoint().connect_with(keys.quic_client(), client.addresses().peer, NAME).unwrap();
    let accept = async { server.endpoint().accept().await.unwrap().await.unwrap() };
    let (near, far) = tokio::join!(connecting, accept);
    (client, near.unwrap(), server, far)
}

#[tokio::test]
async fn a_connection_through_a_narrow_pipe_carries_everything() {
    let keys = Keys::new();
    let (_client, near, _server, far) = through_a_pipe(&keys).await;
    assert_eq!(far.remote_address(), addresses(1, 2).peer);
    let sent: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let send = async {
        let mut output = near.open_uni().await.unwrap();
        output.write_all(&sent).await.unwrap();
        output.finish().unwrap();
    };
    let receive = async { far.accept_uni().await.unwrap().read_to_end(sent.len()).await.unwrap() };
    let ((), received) = tokio::join!(send, receive);
    assert!(received == sent, "{} of {} bytes", received.len(), sent.len());
    assert_eq!(near.stats().path.current_mtu, crate::DATAGRAM_BYTES_MAX);
}

#[tokio::test]
async fn a_close_arrives_although_the_endpoint_is_let_go_at_once() {
    let keys = Keys::new();
    let (client, near, server, far) = through_a_pipe(&keys).await;
    near.close(7_u32.into(), b"enough");
    drop((client, near));
    let reason = far.closed().await;
    assert!(reason.to_string().contains("enough"), "{reason}");
    drop(far);
    tokio::time::timeout(Duration::from_secs(20), server.ended()).await.unwrap();
}

#[tokio::test]
async fn the_end_of_the_stream_is_told() {
    let keys = Keys::new();
    let (near, far) = tokio::io::duplex(1000);
    let server = Tunnel::new(far, addresses(1, 2), Arc::default(), Some(keys.quic_server())).unwrap();
    drop(near);
    tokio::time::timeout(Duration::from_secs(5), server.ended()).await.unwrap();
}

#[tokio::test]
async fn tcp_and_tls_carry_a_connection_and_are_counted() {
    let keys = Keys::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let remote = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(keys.server(ALPN)));
    let accept = async {
        let (stream, peer) = listener.accept().await.unwrap();
        let stream = Counted::new(stream);
        let traffic = stream.traffic();
        let stream = acceptor.accept(stream).await.unwrap();
        let server =
            Tunnel::new(stream, Addresses { local: remote, peer }, traffic, Some(keys.quic_server()));
        let server = server.unwrap();
        let connection = server.endpoint().accept().await.unwrap().await.unwrap();
        (server, connection)
    };
    let dial = async {
        let client = connect(remote, NAME, &keys.client(b"inside")).await.unwrap();
        let connecting = client.endpoint().connect_with(keys.quic_client(), remote, NAME).unwrap();
        let connection = connecting.await.unwrap();
        (client, connection)
    };
    let ((server, far), (client, near)) = tokio::join!(accept, dial);
    let mut output = near.open_uni().await.unwrap();
    output.write_all(&[1; 20_000]).await.unwrap();
    output.finish().unwrap();
    let received = far.accept_uni().await.unwrap().read_to_end(20_000).await.unwrap();
    assert_eq!(received.len(), 20_000);
    assert!(client.traffic().sent() > 20_000 && server.traffic().received() > 20_000);
}

#[tokio::test]
async fn a_stranger_on_tcp_is_not_spoken_to() {
    let (keys, strangers) = (Keys::new(), Keys::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let remote = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(strangers.server(ALPN)));
    let accept = async {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor.accept(stream).await.is_ok()
    };
    let tls = keys.client(b"inside");
    let (_, connected) = tokio::join!(accept, connect(remote, NAME, &tls));
    assert!(matches!(connected, Err(ConnectError::Tls(_))), "{connected:?}");
}
