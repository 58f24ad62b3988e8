//! Over TLS, on the port of a running coordinator.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{ClientAccess, Coordinator, CoordinatorArgs};

pub(super) async fn start(folder: &std::path::Path) -> Coordinator {
    let args = CoordinatorArgs {
        listen: Some("127.0.0.1:0".to_owned()),
        advertise: vec!["coordinator.example:6443".to_owned(), "[2001:db8::1]:6443".to_owned()],
        tls_san: vec!["*.edge.example".to_owned(), "192.0.2.7".to_owned()],
        ..CoordinatorArgs::default()
    };
    Coordinator::start(args.validate(folder.to_owned()).unwrap()).await.unwrap()
}

pub(super) async fn connect(
    coordinator: &Coordinator,
    name: &str,
    alpn: &[&str],
    user: Option<&ClientAccess>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let access = coordinator.admin_access().unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(access.ca_pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match user {
        Some(user) => {
            let chain = CertificateDer::from_pem_slice(user.credentials.certificate_pem.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(user.credentials.key_pem.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![chain], key).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(coordinator.address()).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

pub(super) async fn ask(stream: TlsStream<TcpStream>, path: &str) -> String {
    say(stream, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await
}

/// All that is answered to a request that ends its connection.
pub(super) async fn say(mut stream: TlsStream<TcpStream>, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut told = Vec::new();
    stream.read_to_end(&mut told).await.unwrap();
    String::from_utf8(told).unwrap()
}

#[tokio::test]
async fn the_certificate_has_every_name_of_the_coordinator() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = start(folder.path()).await;
    for name in [
        "localhost",
        "127.0.0.1",
        "::1",
        "10.43.0.1",
        "kubernetes",
        "kubernetes.default.svc.cluster.local",
        "coordinator.example",
        "2001:db8::1",
        "site1.edge.example",
        "192.0.2.7",
    ] {
        assert!(connect(&coordinator, name, &["http/1.1"], None).await.is_ok(), "{name}");
    }
    for name in ["elsewhere.example", "edge.example", "a.b.edge.example", "192.0.2.8"] {
        assert!(connect(&coordinator, name, &["http/1.1"], None).await.is_err(), "{name}");
    }
    coordinator.shutdown().await;
}

#[tokio::test]
async fn protocols_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = start(folder.path()).await;
    let admin = coordinator.admin_access().unwrap();
    let check = async |alpn: &[&str], agreed: Option<&str>| {
        let stream = connect(&coordinator, "localhost", alpn, Some(&admin)).await.unwrap();
        let found = stream.get_ref().1.alpn_protocol().map(|name| String::from_utf8(name.to_vec()).unwrap());
        assert_eq!(found.as_deref(), agreed, "{alpn:?}");
        stream
    };
    check(&["h2", "http/1.1"], Some("h2")).await;
    for alpn in [&["http/1.1"][..], &[]] {
        let stream = check(alpn, alpn.first().copied()).await;
        let answer = ask(stream, "/api/v1/namespaces/default").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    assert!(connect(&coordinator, "localhost", &["imap"], None).await.is_err());
    let answer = ask(connect(&coordinator, "localhost", &[], None).await.unwrap(), "/api").await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    coordinator.shutdown().await;
}

#[tokio::test]
async fn a_certificate_of_another_cluster_is_refused() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (coordinator, other) = (start(folder.path()).await, start(other.path()).await);
    let foreign = other.admin_access().unwrap();
    let refused = match connect(&coordinator, "localhost", &["http/1.1"], Some(&foreign)).await {
        // In TLS 1.3 a client hears of it when it reads.
        Ok(mut stream) => stream.read(&mut [0; 1]).await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
    tokio::join!(coordinator.shutdown(), other.shutdown());
}
