//! A client that keeps one connection, as each client of a fleet would.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::cluster::Cluster;

/// How the coordinator is reached as an administrator.
#[derive(Clone)]
pub(super) struct Access {
    connector: TlsConnector,
    address: String,
}

/// One connection.
pub(super) struct Client {
    address: String,
    connection: SendRequest<Full<Bytes>>,
}

impl Access {
    /// The administrator of a cluster.
    pub(super) fn of(cluster: &Cluster) -> Result<Self> {
        let text = std::fs::read_to_string(cluster.access())?;
        let config: Value = serde_norway::from_str(&text)?;
        let decoded = |value: &Value| STANDARD.decode(value.as_str().unwrap_or_default());
        let (user, cluster) = (&config["users"][0]["user"], &config["clusters"][0]["cluster"]);
        let authority = decoded(&cluster["certificate-authority-data"])?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&authority)?)?;
        let certificate = decoded(&user["client-certificate-data"])?;
        let chain = CertificateDer::pem_slice_iter(&certificate).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(&decoded(&user["client-key-data"])?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        let server = cluster["server"].as_str().context("the configuration names no server")?;
        let address = server.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), address })
    }

    /// Opens a connection.
    pub(super) async fn connect(&self) -> Result<Client> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let stream = self.connector.connect(ServerName::try_from("localhost")?, stream).await?;
        let (connection, io) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the connection.
        tokio::spawn(io);
        Ok(Client { address: self.address.clone(), connection })
    }
}

impl Client {
    /// Sends a request and reads the whole answer, which must be a success.
    pub(super) async fn send(
        &mut self,
        method: &str,
        path: &str,
        accept: &str,
        body: Bytes,
    ) -> Result<Bytes> {
        let answer = self.start(method, path, accept, body).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        ensure!(status.is_success(), "{method} {path}: {status}: {}", String::from_utf8_lossy(&body));
        Ok(body)
    }

    /// Sends a request and answers as soon as the head has come.
    pub(super) async fn start(
        &mut self,
        method: &str,
        path: &str,
        accept: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.address)
            .header("accept", accept)
            .header("content-type", "application/json")
            .header("user-agent", "dunlin-bench")
            .body(Full::new(body))?;
        self.connection.ready().await?;
        Ok(self.connection.send_request(request).await?)
    }
}

/// Plain JSON.
pub(super) const JSON: &str = "application/json";
