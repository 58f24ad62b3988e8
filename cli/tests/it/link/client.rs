//! A client of the API that shows a node's certificate.

use std::{net::SocketAddr, path::Path, sync::Arc};

use dunlin_link::{
    frame::{self, Frame, HEADER_BYTES, Header, Message},
    join::SERVER_NAME,
    limits::HEAD_FRAME_BYTES_MAX,
    rpc::{self, Method, RequestHead, ResponseHead},
};
use quinn::{
    Connection, ConnectionError, Endpoint, RecvStream, TransportConfig, crypto::rustls::QuicClientConfig,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::cluster::Coordinator;

/// A connection to the API as the node whose identity is in a folder.
pub(crate) struct Client {
    _endpoint: Endpoint,
    connection: Connection,
}

impl Client {
    pub(crate) async fn connect(coordinator: &Coordinator, folder: &Path) -> Self {
        Self::connect_to(coordinator.address, folder, rpc::ALPN, TransportConfig::default()).await
    }

    /// The same for any protocol of the port, with bounds of its own.
    pub(crate) async fn connect_to(
        address: SocketAddr,
        folder: &Path,
        alpn: &[u8],
        transport: TransportConfig,
    ) -> Self {
        let file = |name: &str| std::fs::read(folder.join("identity").join(name)).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from(file("ca.der"))).unwrap();
        let chain = vec![CertificateDer::from(file("node.der"))];
        let key = PrivatePkcs8KeyDer::from(file("node.key"));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key.into())
            .unwrap();
        tls.alpn_protocols = vec![alpn.to_vec()];
        let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        config.transport_config(Arc::new(transport));
        let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
        let connecting = endpoint.connect_with(config, address, SERVER_NAME).unwrap();
        Self { connection: connecting.await.unwrap(), _endpoint: endpoint }
    }

    /// Asks for a path and answers the status; nothing when the connection was closed on it.
    pub(crate) async fn get(&self, path: &str) -> Option<u16> {
        let mut receive = self.ask(path, &[]).await?;
        let head: ResponseHead = read_head(&mut receive).await?;
        Some(head.status)
    }

    /// The connection itself.
    pub(crate) const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Asks for a path and reads nothing of the answer.
    pub(crate) async fn ask(&self, path: &str, query: &[(&str, &str)]) -> Option<RecvStream> {
        let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let head = RequestHead {
            method: Method::Get,
            path: path.to_owned(),
            query,
            content_type: String::new(),
            accept: String::new(),
            user_agent: String::new(),
        };
        let (mut send, receive) = self.connection.open_bi().await.ok()?;
        send.write_all(&frame::encode(&head)).await.ok()?;
        send.finish().ok()?;
        Some(receive)
    }

    /// Why the coordinator closed the connection.
    pub(crate) async fn closed(&self) -> String {
        match self.connection.closed().await {
            ConnectionError::ApplicationClosed(close) => String::from_utf8_lossy(&close.reason).into_owned(),
            other => panic!("closed by {other}"),
        }
    }
}

/// Reads the frame at the start of a stream; nothing when the stream broke.
pub(crate) async fn read_head<M: Message>(receive: &mut RecvStream) -> Option<M> {
    let mut header = [0; HEADER_BYTES];
    receive.read_exact(&mut header).await.ok()?;
    let header = Header::decode(header, HEAD_FRAME_BYTES_MAX).unwrap();
    let mut body = vec![0; header.body_bytes];
    receive.read_exact(&mut body).await.ok()?;
    Some(Frame { kind: header.kind, body }.decode().unwrap())
}
