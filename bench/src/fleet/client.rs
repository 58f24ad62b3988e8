//! A client of the API over one QUIC connection, so that what is measured is the coordinator and not the start of a program.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use dunlin_link::{
    frame::{self, Frame, HEADER_BYTES, Header},
    join::SERVER_NAME,
    limits::HEAD_FRAME_BYTES_MAX,
    rpc::{self, Method, RequestHead, ResponseHead},
};
use quinn::{Connection, Endpoint, TransportConfig, crypto::rustls::QuicClientConfig};
use serde_json::Value;

use crate::access::Access;

/// A connection to the API, as the administrator.
#[derive(Clone, Debug)]
pub(super) struct Client {
    connection: Connection,
    /// Keeps the socket.
    _endpoint: Endpoint,
}

impl Client {
    /// Connects, trying again until `patience` is over.
    pub(super) async fn connect(access: &Access, patience: Duration) -> Result<Self> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            match tokio::time::timeout(ATTEMPT_TIMEOUT, Self::try_connect(access)).await {
                Ok(Ok(client)) => return Ok(client),
                Ok(Err(error)) if tokio::time::Instant::now() >= deadline => return Err(error),
                Err(_) if tokio::time::Instant::now() >= deadline => {
                    anyhow::bail!("no answer from {} within {patience:?}", access.server);
                }
                _ => tokio::time::sleep(POLL_INTERVAL).await,
            }
        }
    }

    async fn try_connect(access: &Access) -> Result<Self> {
        let server: SocketAddr = access.server.parse().context("the coordinator's address")?;
        let crypto = QuicClientConfig::try_from(access.tls(&[rpc::ALPN])?).context("TLS for QUIC")?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        let mut transport = TransportConfig::default();
        transport.keep_alive_interval(Some(KEEP_ALIVE));
        config.transport_config(Arc::new(transport));
        let endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).context("no UDP socket")?;
        let connection = endpoint.connect_with(config, server, SERVER_NAME)?.await?;
        Ok(Self { connection, _endpoint: endpoint })
    }

    /// Sends a request; answers the JSON of a success.
    pub(super) async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let head = RequestHead {
            method,
            path: path.to_owned(),
            query: Vec::new(),
            content_type: if method == Method::Patch {
                MERGE_PATCH.into()
            } else {
                "application/json".into()
            },
            accept: String::new(),
            user_agent: "dunlin-bench".into(),
        };
        let (mut send, mut receive) = self.connection.open_bi().await?;
        send.write_all(&frame::encode(&head)).await?;
        if let Some(body) = body {
            send.write_all(body.to_string().as_bytes()).await?;
        }
        // Fails only when the answer is there already.
        let _ = send.finish();
        let mut header = [0; HEADER_BYTES];
        receive.read_exact(&mut header).await?;
        let Header { kind, body_bytes } = Header::decode(header, HEAD_FRAME_BYTES_MAX)?;
        let mut head = vec![0; body_bytes];
        receive.read_exact(&mut head).await?;
        let head: ResponseHead = Frame { kind, body: head }.decode()?;
        let answer = receive.read_to_end(ANSWER_BYTES_MAX).await?;
        let answer: Value = serde_json::from_slice(&answer).context("the answer is not JSON")?;
        ensure!(head.status < 300, "{path}: {} {}", head.status, answer["message"]);
        Ok(answer)
    }
}

const MERGE_PATCH: &str = "application/merge-patch+json";

/// A first packet that finds nobody is repeated only after a second; a new attempt is sooner there.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(500);
const POLL_INTERVAL: Duration = Duration::from_millis(5);
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: usize = 64 << 20;
