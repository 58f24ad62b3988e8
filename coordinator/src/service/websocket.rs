//! WebSocket (RFC 6455) on a connection that left HTTP: the handshake, and messages within bounds.

use std::{future::ready, io};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use dunlin_api::Status;
use futures_util::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use http::{HeaderMap, HeaderValue};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
};

use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

use super::{response::Response, upgrade::Duplex};

pub(super) use tokio_tungstenite::tungstenite::{Error, Message};

/// A connection's messages, from a client and to it.
pub(super) type Incoming = SplitStream<WebSocketStream<Box<dyn Duplex>>>;

/// See [`Incoming`].
pub(super) type Outgoing = SplitSink<WebSocketStream<Box<dyn Duplex>>, Message>;

/// What a client's handshake says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Handshake {
    accept: String,
    protocols: Vec<String>,
}

impl Handshake {
    /// Reads the headers of a request.
    ///
    /// # Errors
    /// 400 when they are no handshake.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Status> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if text("sec-websocket-version") != Some(VERSION) {
            let message = format!("only version {VERSION} of WebSocket is served");
            return Err(Status::bad_request(message));
        }
        let key = text("sec-websocket-key")
            .filter(|key| STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == KEY_BYTES))
            .ok_or_else(|| Status::bad_request("the request has no WebSocket key"))?;
        let values = headers.get_all("sec-websocket-protocol");
        let values = values.iter().filter_map(|value: &HeaderValue| value.to_str().ok());
        let protocols =
            values.flat_map(|value| value.split(',')).map(|name| name.trim().to_owned()).collect();
        Ok(Self { accept: accept(key), protocols })
    }

    /// Takes the first of the client's protocols that is known.
    ///
    /// # Errors
    /// 403, as Kubernetes answers, when none is.
    pub(super) fn choose<P>(mut self, known: impl Fn(&str) -> Option<P>) -> Result<(P, Self), Status> {
        let found = self.protocols.iter().enumerate().find_map(|(at, name)| Some((at, known(name)?)));
        let Some((at, protocol)) = found else {
            let message = format!("requested protocol(s) are not supported: [{}]", self.protocols.join(" "));
            return Err(Status::failure(403, "Forbidden", message));
        };
        self.protocols = vec![self.protocols.swap_remove(at)];
        Ok((protocol, self))
    }

    /// Adds to an answer what accepts the handshake.
    pub(super) fn accept(self, response: Response) -> Response {
        let response = response.with_header("sec-websocket-accept", self.accept);
        match self.protocols.into_iter().next() {
            Some(protocol) => response.with_header("sec-websocket-protocol", protocol),
            None => response,
        }
    }
}

/// The server's side of a connection whose handshake is done.
pub(super) async fn server(stream: Box<dyn Duplex>) -> WebSocketStream<Box<dyn Duplex>> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
        .write_buffer_size(0)
        .max_write_buffer_size(MESSAGE_BYTES_MAX);
    WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await
}

/// The server's side of a connection that carries another protocol's bytes, whose messages have no meaning of their own. What is written at
/// once is a message; shutting down closes the WebSocket.
pub(super) async fn tunnel(stream: Box<dyn Duplex>) -> Box<dyn Duplex> {
    let (sink, stream) = server(stream).await.split();
    let bytes = stream.filter_map(|message| async {
        match message {
            Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
            Ok(_) => None,
            Err(Error::ConnectionClosed) => None,
            Err(error) => Some(Err(io::Error::other(error))),
        }
    });
    let messages = sink
        .sink_map_err(io::Error::other)
        .with(|bytes: Bytes| ready(io::Result::Ok(Message::Binary(bytes))));
    let from = StreamReader::new(Box::pin(bytes));
    let to = SinkWriter::new(CopyToBytes::new(messages));
    Box::new(tokio::io::join(from, to))
}

/// The close frame of a conversation that is over.
pub(super) fn done() -> CloseFrame {
    CloseFrame { code: CloseCode::Normal, reason: "".into() }
}

/// The proof that a key was read.
fn accept(key: &str) -> String {
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{KEY_SUFFIX}").as_bytes()))
}

/// The one version there is.
const VERSION: &str = "13";

/// RFC 6455, section 4.1.
const KEY_BYTES: usize = 16;

/// RFC 6455, section 1.3.
const KEY_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Largest message from a client: many times what kubectl sends at once.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect::<Vec<_>>()
            .into_iter()
            .fold(HeaderMap::new(), |mut headers, (name, value): (http::HeaderName, HeaderValue)| {
                headers.append(name, value);
                headers
            })
    }

    #[test]
    fn a_handshake_is_accepted_with_the_first_known_protocol() {
        let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let version = ("sec-websocket-version", "13");
        let protocols = ("sec-websocket-protocol", "v9, v5");
        let handshake =
            Handshake::read(&headers(&[key, version, protocols, ("sec-websocket-protocol", "v4")])).unwrap();
        let known = |name: &str| matches!(name, "v4" | "v5").then(|| name.to_owned());
        let (protocol, handshake) = handshake.choose(known).unwrap();
        assert_eq!((protocol.as_str(), &handshake.protocols), ("v5", &vec!["v5".to_owned()]));
        // The example of the RFC.
        assert_eq!(handshake.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let refused = Handshake::read(&headers(&[key, version])).unwrap().choose(known).unwrap_err();
        assert_eq!(refused.code(), 403);
        for faulty in [&[key][..], &[version], &[version, ("sec-websocket-key", "c2hvcnQ=")]] {
            assert_eq!(Handshake::read(&headers(faulty)).unwrap_err().code(), 400, "{faulty:?}");
        }
    }
}
