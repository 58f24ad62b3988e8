//! A client that keeps one connection, as each client of a fleet would.

use std::sync::Arc;

use anyhow::{Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{access::Access, cluster::Cluster};

/// How connections of the administrator are made.
#[derive(Clone)]
pub(crate) struct Connector {
    tls: TlsConnector,
    address: String,
}

/// One connection.
pub(crate) struct Client {
    address: String,
    connection: SendRequest<Full<Bytes>>,
}

impl Connector {
    /// For the administrator of a cluster.
    pub(crate) fn of(cluster: &Cluster) -> Result<Self> {
        let access = Access::read(&cluster.access())?;
        // No protocol named is HTTP/1.1.
        Ok(Self { tls: TlsConnector::from(Arc::new(access.tls(&[])?)), address: access.server })
    }

    /// Opens a connection.
    pub(crate) async fn connect(&self) -> Result<Client> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let stream = self.tls.connect(ServerName::try_from("localhost")?, stream).await?;
        let (connection, io) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the connection.
        tokio::spawn(io);
        Ok(Client { address: self.address.clone(), connection })
    }
}

impl Client {
    /// Sends a request and reads the whole answer, which must be a success.
    pub(crate) async fn send(
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
    pub(crate) async fn start(
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
pub(crate) const JSON: &str = "application/json";
