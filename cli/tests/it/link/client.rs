//! A client of the API that shows a node's certificate.

use std::{path::Path, sync::Arc};

use dunlin_link::{
    frame::{self, Frame, HEADER_BYTES, Header},
    join::SERVER_NAME,
    limits::HEAD_FRAME_BYTES_MAX,
    rpc::{self, Method, RequestHead, ResponseHead},
};
use quinn::{Connection, ConnectionError, Endpoint, crypto::rustls::QuicClientConfig};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::cluster::Coordinator;

/// A connection to the API as the node whose identity is in a folder.
pub(crate) struct Client {
    _endpoint: Endpoint,
    connection: Connection,
}

impl Client {
    pub(crate) async fn connect(coordinator: &Coordinator, folder: &Path) -> Self {
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
        tls.alpn_protocols = vec![rpc::ALPN.to_vec()];
        let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
        let connecting = endpoint.connect_with(config, coordinator.address, SERVER_NAME).unwrap();
        Self { connection: connecting.await.unwrap(), _endpoint: endpoint }
    }

    /// Asks for a path and answers the status; nothing when the connection was closed on it.
    pub(crate) async fn get(&self, path: &str) -> Option<u16> {
        let head = RequestHead {
            method: Method::Get,
            path: path.to_owned(),
            query: Vec::new(),
            content_type: String::new(),
            accept: String::new(),
            user_agent: String::new(),
        };
        let (mut send, mut receive) = self.connection.open_bi().await.ok()?;
        send.write_all(&frame::encode(&head)).await.ok()?;
        let mut header = [0; HEADER_BYTES];
        receive.read_exact(&mut header).await.ok()?;
        let header = Header::decode(header, HEAD_FRAME_BYTES_MAX).unwrap();
        let mut body = vec![0; header.body_bytes];
        receive.read_exact(&mut body).await.ok()?;
        let head: ResponseHead = Frame { kind: header.kind, body }.decode().unwrap();
        Some(head.status)
    }

    /// Why the coordinator closed the connection.
    pub(crate) async fn closed(&self) -> String {
        match self.connection.closed().await {
            ConnectionError::ApplicationClosed(close) => String::from_utf8_lossy(&close.reason).into_owned(),
            other => panic!("closed by {other}"),
        }
    }
}
