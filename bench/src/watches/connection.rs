//! Connections that carry requests and many watches.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use dunlin_link::{
    frame::{self, Frame, HEADER_BYTES, Header},
    join::SERVER_NAME,
    limits::HEAD_FRAME_BYTES_MAX,
    rpc::{self, Method, RequestHead, ResponseHead},
};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use quinn::{Endpoint, crypto::rustls::QuicClientConfig};
use rustls_pki_types::ServerName;
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_rustls::TlsConnector;

use super::{SharedSeen, observer::Observer, observer::Seen, scope::Scope, tenants::Tenants};
use crate::access::Access;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// By certificate.
    Administrator,
    /// One of the service accounts, by its token.
    Account(usize),
}

/// A connection of HTTP/2.
#[derive(Debug)]
pub(super) struct Http2 {
    requests: http2::SendRequest<Full<Bytes>>,
    server: String,
    token: Option<String>,
    /// Ends with the connection.
    pub(super) io: JoinHandle<()>,
}

/// A connection of QUIC, as the administrator.
#[derive(Debug)]
pub(super) struct Quic {
    connection: quinn::Connection,
    /// Keeps the socket.
    endpoint: Endpoint,
}

/// A watch that is read by a task of its own.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) scope: Scope,
    pub(super) transport: &'static str,
    pub(super) seen: SharedSeen,
    reading: JoinHandle<()>,
}

impl Http2 {
    /// Connects; `token` goes with every request, and without one the certificate says who asks.
    pub(super) async fn connect(access: &Access, token: Option<&str>) -> Result<Self> {
        let tls = if token.is_some() { access.anonymous_tls(&[H2]) } else { access.tls(&[H2]) }?;
        let stream = TcpStream::connect(&access.server).await?;
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::new(tls));
        let stream = connector.connect(ServerName::try_from("localhost")?, stream).await?;
        let (requests, io) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .handshake(TokioIo::new(stream))
            .await?;
        // How it ends is told by what is under way on it.
        let io = tokio::spawn(async move { drop(io.await) });
        Ok(Self { requests, server: access.server.clone(), token: token.map(str::to_owned), io })
    }

    /// Sends a request and reads the whole answer, which must be a success.
    pub(super) async fn send(&self, method: &str, path: &str, body: Bytes) -> Result<Bytes> {
        let answer = self.start(method, path, body).await?;
        Ok(answer.into_body().collect().await?.to_bytes())
    }

    /// Sends a request and answers the body of a success as soon as its head has come.
    pub(super) async fn start(&self, method: &str, path: &str, body: Bytes) -> Result<Response<Incoming>> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("https://{}{path}", self.server))
            .header("content-type", "application/json")
            .header("user-agent", "dunlin-bench");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answer = self.requests.clone().send_request(request.body(Full::new(body))?).await?;
        let status = answer.status();
        if !status.is_success() {
            let said = answer.into_body().collect().await?.to_bytes();
            anyhow::bail!("{method} {path}: {status}: {}", String::from_utf8_lossy(&said));
        }
        Ok(answer)
    }

    /// Watches each scope from the revision on that the tenants were made at.
    pub(super) async fn watch(
        self,
        tenants: &Tenants,
        scopes: impl IntoIterator<Item = Scope>,
        epoch: Instant,
    ) -> Result<Vec<Opened>> {
        let mut opened = Vec::new();
        for scope in scopes {
            let mut body = self.start("GET", &tenants.watch_path(scope), Bytes::new()).await?.into_body();
            let seen = new_seen(scope);
            let mut observer = Observer::new(epoch, Arc::clone(&seen));
            let reading = tokio::spawn(async move {
                while let Some(Ok(frame)) = body.frame().await {
                    if let Some(bytes) = frame.data_ref() {
                        observer.take(bytes);
                    }
                }
                observer.close();
            });
            opened.push(Opened { scope, transport: "HTTP/2", seen, reading });
        }
        Ok(opened)
    }
}

impl Quic {
    /// Connects.
    pub(super) async fn connect(access: &Access) -> Result<Self> {
        let server: SocketAddr = access.server.parse().context("the coordinator's address")?;
        let crypto = QuicClientConfig::try_from(access.tls(&[rpc::ALPN])?).context("TLS for QUIC")?;
        let endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).context("no UDP socket")?;
        let config = quinn::ClientConfig::new(Arc::new(crypto));
        let connection = endpoint.connect_with(config, server, SERVER_NAME)?.await?;
        Ok(Self { connection, endpoint })
    }

    /// As [`Http2::watch`].
    pub(super) async fn watch(
        self,
        tenants: &Tenants,
        scopes: impl IntoIterator<Item = Scope>,
        epoch: Instant,
    ) -> Result<Vec<Opened>> {
        let mut opened = Vec::new();
        for scope in scopes {
            let (path, query) = tenants.watch_request(scope);
            let query = query.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            let mut body = self.start(path, query).await?;
            let seen = new_seen(scope);
            let mut observer = Observer::new(epoch, Arc::clone(&seen));
            let kept = (self.connection.clone(), self.endpoint.clone());
            let reading = tokio::spawn(async move {
                while let Ok(Some(chunk)) = body.read_chunk(CHUNK_BYTES, true).await {
                    observer.take(&chunk.bytes);
                }
                observer.close();
                drop(kept);
            });
            opened.push(Opened { scope, transport: "QUIC", seen, reading });
        }
        Ok(opened)
    }

    async fn start(&self, path: String, query: Vec<(String, String)>) -> Result<quinn::RecvStream> {
        let head = RequestHead {
            method: Method::Get,
            path,
            query,
            content_type: String::new(),
            accept: String::new(),
            user_agent: "dunlin-bench".into(),
        };
        let (mut send, mut receive) = self.connection.open_bi().await?;
        send.write_all(&frame::encode(&head)).await?;
        // Fails only when the answer is there already.
        let _ = send.finish();
        let mut header = [0; HEADER_BYTES];
        receive.read_exact(&mut header).await?;
        let Header { kind, body_bytes } = Header::decode(header, HEAD_FRAME_BYTES_MAX)?;
        let mut head = vec![0; body_bytes];
        receive.read_exact(&mut head).await?;
        let head: ResponseHead = Frame { kind, body: head }.decode()?;
        ensure!(head.status == 200, "a watch was answered {}", head.status);
        Ok(receive)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

fn new_seen(scope: Scope) -> SharedSeen {
    Arc::new(if scope == Scope::All { Seen::listing() } else { Seen::default() })
}

const H2: &[u8] = b"h2";
/// What is sent of one watch before it is read, and of all on its connection.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
const CHUNK_BYTES: usize = 64 << 10;
