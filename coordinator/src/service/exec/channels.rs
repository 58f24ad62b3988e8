//! Kubernetes' channel protocols over WebSocket: the first byte of a message says which stream the rest belongs to.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use dunlin_api::Status;
use dunlin_link::{
    exec::{Input, Output, TerminalSize},
    limits::EXEC_DATA_BYTES_MAX,
};
use futures_util::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use tokio::{
    io::AsyncWriteExt as _,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{super::frames::FrameReader, end, options::StreamOptions, relay::next_output};
use crate::{
    service::{
        upgrade::Duplex,
        websocket::{self, Incoming, Message, Outgoing},
    },
    sessions::NodeStream,
};

/// One of the protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channels {
    /// `v5.channel.k8s.io`: streams can be closed one by one.
    V5,
    /// `v4.channel.k8s.io`.
    V4,
    /// `v4.base64.channel.k8s.io`: for those who cannot send bytes.
    V4Base64,
}

impl Channels {
    /// The protocol of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "v5.channel.k8s.io" => Some(Self::V5),
            "v4.channel.k8s.io" => Some(Self::V4),
            "v4.base64.channel.k8s.io" => Some(Self::V4Base64),
            _ => None,
        }
    }

    /// Opens the node's stream and speaks until either side ends.
    pub(super) async fn talk(
        self,
        client: Box<dyn Duplex>,
        options: &StreamOptions,
        node: impl Future<Output = Result<NodeStream, Status>>,
    ) {
        let (mut sink, stream) = websocket::server(client).await.split();
        // As Kubernetes does, to say that the connection is there.
        let first = if options.stdout {
            STDOUT
        } else if options.stderr {
            STDERR
        } else {
            ERROR
        };
        if sink.send(self.message(first, &[])).await.is_err() {
            return;
        }
        let node = match node.await {
            Ok(node) => node,
            Err(status) => {
                let status = status.0.to_string();
                return self.close(sink, stream, status.as_bytes()).await;
            }
        };
        let (from_node, mut to_node) = tokio::io::split(node);
        let mut stream = stream;
        let end = tokio::select! {
            () = self.towards_node(&mut stream, &mut to_node) => return,
            end = self.towards_client(FrameReader::new(from_node), &mut sink) => end,
        };
        if let Some(status) = end {
            self.close(sink, stream, status.as_bytes()).await;
        }
    }

    /// Passes on what the client sends; ends when it has left.
    async fn towards_node(self, client: &mut Incoming, node: &mut (impl tokio::io::AsyncWrite + Unpin)) {
        while let Some(Ok(message)) = client.next().await {
            let Some((channel, bytes)) = self.content(message) else { continue };
            let inputs = match channel {
                STDIN => {
                    bytes.chunks(EXEC_DATA_BYTES_MAX).map(|piece| Input::Stdin(piece.to_vec())).collect()
                }
                RESIZE => match serde_json::from_slice::<Size>(&bytes) {
                    Ok(size) => vec![Input::Resize(size.into())],
                    Err(_) => continue,
                },
                CLOSE if self == Self::V5 && *bytes == [STDIN] => vec![Input::StdinEnd],
                _ => continue,
            };
            for input in inputs {
                if node.write_all(&input.encode()).await.is_err() {
                    // It has told the end, or is found gone by whoever reads from it.
                    return std::future::pending().await;
                }
            }
        }
    }

    /// Passes on what the node tells; answers its end as the error channel tells it, or nothing when the client is gone.
    async fn towards_client<R: tokio::io::AsyncRead + Unpin>(
        self,
        mut node: FrameReader<R>,
        client: &mut Outgoing,
    ) -> Option<String> {
        let mut look = interval(PING_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        look.reset();
        loop {
            let output = tokio::select! {
                output = next_output(&mut node) => output,
                // A client that is gone without a word is noticed by writing to it.
                _ = look.tick() => {
                    client.send(Message::Ping(Bytes::new())).await.ok()?;
                    continue;
                }
            };
            let message = match output {
                Output::Stdout(bytes) => self.message(STDOUT, &bytes),
                Output::Stderr(bytes) => self.message(STDERR, &bytes),
                Output::End(told) => return Some(end::status(&told).to_string()),
            };
            client.send(message).await.ok()?;
        }
    }

    /// Tells the end, and lets the client take it: a connection that is dropped at once may lose what is under way.
    async fn close(self, mut sink: Outgoing, mut stream: Incoming, status: &[u8]) {
        let farewell = async {
            sink.send(self.message(ERROR, status)).await?;
            sink.send(Message::Close(Some(websocket::done()))).await?;
            while let Some(Ok(_)) = stream.next().await {}
            Ok::<(), websocket::Error>(())
        };
        // Neither a client that is gone nor one that never answers is waited for.
        let _ = timeout(FAREWELL_TIMEOUT, farewell).await;
    }

    fn message(self, channel: u8, bytes: &[u8]) -> Message {
        match self {
            Self::V5 | Self::V4 => Message::binary([&[channel], bytes].concat()),
            Self::V4Base64 => {
                Message::text(format!("{}{}", char::from(b'0' + channel), STANDARD.encode(bytes)))
            }
        }
    }

    /// The channel of a message and what it says; `None` when it says nothing.
    fn content(self, message: Message) -> Option<(u8, Bytes)> {
        match (self, message) {
            (Self::V5 | Self::V4, Message::Binary(bytes)) => {
                let channel = *bytes.first()?;
                Some((channel, bytes.slice(1..)))
            }
            (Self::V4Base64, Message::Text(text)) => {
                let (channel, rest) = text.as_bytes().split_first()?;
                Some((channel.checked_sub(b'0')?, STANDARD.decode(rest).ok()?.into()))
            }
            _ => None,
        }
    }
}

/// A terminal's size, as clients tell it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    width: u16,
    height: u16,
}

impl From<Size> for TerminalSize {
    fn from(size: Size) -> Self {
        Self { columns: size.width, rows: size.height }
    }
}

/// Channels, by their numbers in Kubernetes.
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// Its content is the number of a channel that is closed. Since version 5.
const CLOSE: u8 = 255;

/// How often a client of which nothing is heard is looked at.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// How long a client may take to take the end.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use proptest::{
        collection::vec,
        prelude::{any, prop_assert, proptest},
    };

    use super::*;

    proptest! {
        #[test]
        fn any_message_is_read_or_left(bytes in vec(any::<u8>(), 0..40), text in r"[0-9/A-Za-z+=]{0,12}|\\PC{0,8}") {
            for channels in [Channels::V5, Channels::V4, Channels::V4Base64] {
                for message in [Message::binary(bytes.clone()), Message::text(text.clone())] {
                    let length = message.len();
                    let read = channels.content(message);
                    prop_assert!(read.is_none_or(|(_, content)| content.len() < length));
                }
            }
        }

        /// Frames of any shape: the conversation ends, whatever came before.
        #[test]
        fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..200), masked in any::<bool>()) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let (mut client, server) = tokio::io::duplex(1 << 16);
                let mut sent = bytes;
                if masked && sent.len() > 1 {
                    // What a client must do, so that its frames are looked into.
                    sent[0] &= 0x8f;
                    sent[1] |= 0x80;
                }
                client.write_all(&sent).await.unwrap();
                drop(client);
                let (_, mut incoming) = websocket::server(Box::new(server)).await.split();
                while let Some(Ok(message)) = incoming.next().await {
                    Channels::V5.content(message);
                }
            });
        }
    }

    #[test]
    fn messages_say_their_channel() {
        let check = |channels: Channels, expected: Message| {
            assert_eq!(channels.message(STDERR, b"no"), expected);
            assert_eq!(channels.content(expected), Some((STDERR, Bytes::from_static(b"no"))));
        };
        check(Channels::V5, Message::binary(b"\x02no".as_slice()));
        check(Channels::V4, Message::binary(b"\x02no".as_slice()));
        check(Channels::V4Base64, Message::text("2bm8="));
        for (channels, message) in [
            (Channels::V5, Message::text("2no")),
            (Channels::V4, Message::binary(b"".as_slice())),
            (Channels::V4Base64, Message::text("2*")),
            (Channels::V4Base64, Message::text("")),
            (Channels::V4Base64, Message::binary(b"2bm8=".as_slice())),
        ] {
            assert_eq!(channels.content(message.clone()), None, "{message:?}");
        }
    }
}
