//! A plain HTTPS client with an administrator's certificate.

use std::{path::Path, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, client::WantsClientCert};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use serde_json::Value;
use tokio::{net::TcpStream, runtime::Runtime};
use tokio_rustls::TlsConnector;

/// One connection at a time, opened again when the server closed it.
pub(crate) struct Client {
    runtime: Runtime,
    connector: TlsConnector,
    address: String,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) warnings: Vec<String>,
    pub(crate) body: Bytes,
}

impl Client {
    /// A client with the first user of a kubeconfig.
    pub(crate) fn new(kubeconfig: &Path, address: &str) -> Self {
        let config = read(kubeconfig);
        let user = &config["users"][0]["user"];
        let certificate = decoded(&user["client-certificate-data"]);
        let key = decoded(&user["client-key-data"]);
        let chain = CertificateDer::pem_slice_iter(&certificate).map(Result::unwrap).collect();
        let builder = trusting(&config);
        Self::with(
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(&key).unwrap()).unwrap(),
            address,
        )
    }

    /// A client that trusts the cluster of a kubeconfig and shows no certificate.
    pub(crate) fn nobody(kubeconfig: &Path, address: &str) -> Self {
        Self::with(trusting(&read(kubeconfig)).with_no_client_auth(), address)
    }

    fn with(config: ClientConfig, address: &str) -> Self {
        Self {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            connector: TlsConnector::from(Arc::new(config)),
            address: address.to_owned(),
            connection: None,
        }
    }

    /// Sends a request and reads the whole answer.
    pub(crate) fn send(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let Self { runtime, connector, address, connection } = self;
        runtime.block_on(async {
            if connection.as_ref().is_none_or(SendRequest::is_closed) {
                *connection = Some(connect(connector, address).await);
            }
            let mut request = Request::builder().method(method).uri(target).header("host", address.as_str());
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = request.body(Full::new(Bytes::copy_from_slice(body))).unwrap();
            let connection = connection.as_mut().unwrap();
            connection.ready().await.unwrap();
            let answer = connection.send_request(request).await.unwrap();
            let warnings = answer.headers().get_all("warning").iter();
            let warnings = warnings.map(|warning| warning.to_str().unwrap().to_owned()).collect();
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            Answer { status, warnings, body }
        })
    }
}

async fn connect(connector: &TlsConnector, address: &str) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = connector.connect(name, stream).await.unwrap();
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    // Ends with the connection.
    tokio::spawn(connection);
    sender
}

fn read(kubeconfig: &Path) -> Value {
    serde_norway::from_str(&std::fs::read_to_string(kubeconfig).unwrap()).unwrap()
}

fn decoded(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap()).unwrap()
}

fn trusting(config: &Value) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let authority = decoded(&config["clusters"][0]["cluster"]["certificate-authority-data"]);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&authority).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
}
