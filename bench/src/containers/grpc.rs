//! Calls over one open connection, as a kubelet keeps one to its container runtime.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Request,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;

use super::protobuf::Message;

/// An open connection.
#[derive(Clone, Debug)]
pub(super) struct Channel(SendRequest<Full<Bytes>>);

impl Channel {
    pub(super) async fn open(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).await?;
        let (sender, io) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        // Ends with the connection.
        tokio::spawn(io);
        Ok(Self(sender))
    }

    /// Sends a request; answers the message that comes back.
    pub(super) async fn call(&self, method: &str, message: Message) -> Result<Bytes> {
        let message = message.into_bytes();
        let mut body = vec![0];
        body.extend(u32::try_from(message.len())?.to_be_bytes());
        body.extend(message);
        let request = Request::post(format!("http://localhost{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(Bytes::from(body)))?;
        let mut sender = self.0.clone();
        sender.ready().await?;
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?;
        check(method, body.trailers().unwrap_or(&head.headers))?;
        let body = body.to_bytes();
        ensure!(body.len() >= PREFIX_BYTES, "{method} was answered with nothing");
        Ok(body.slice(PREFIX_BYTES..))
    }
}

fn check(method: &str, headers: &HeaderMap) -> Result<()> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status").with_context(|| format!("{method} has no status"))? {
        "0" => Ok(()),
        status => bail!("{method} failed ({status}): {}", text("grpc-message").unwrap_or_default()),
    }
}

/// Whether a message is compressed, and its length.
const PREFIX_BYTES: usize = 5;
