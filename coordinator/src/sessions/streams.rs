//! Streams that the coordinator opens on a node: logs, core dumps, commands, attachments, connections, forwards, questions of use.
//!
//! A wish is handed to the connection of its node, which opens the stream and answers with it. The stream is then the asker's: dropping
//! it is the end for the node.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use dunlin_link::{
    NodeName, PodUid,
    exec::{AttachRequest, ExecRequest},
    frame::{Kind, Message, encode},
    logs::{LogRequest, LogStreams},
    session::protocol::Protocol,
    stream::{AttachOpen, ConnectOpen, CoreDumpOpen, ExecOpen, ForwardOpen, StreamRefusal},
    usage::UsageOpen,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
};

use super::Sessions;

/// A wish for a stream; boxed on the way, because a channel keeps room for 32 of them.
#[derive(Debug)]
pub(crate) enum Wish {
    /// A log.
    Log(OpenLog),
    /// Something that goes both ways.
    Stream(OpenStream),
}

/// A wish to read a log.
#[derive(Debug)]
pub(crate) struct OpenLog {
    pub(crate) request: LogRequest,
    pub(crate) streams: LogStreams,
    pub(crate) reply: oneshot::Sender<Result<LogReader, OpenLogError>>,
}

/// A wish for something that goes both ways.
#[derive(Debug)]
pub(crate) struct OpenStream {
    pub(crate) open: StreamOpen,
    pub(crate) reply: oneshot::Sender<Result<NodeStream, OpenStreamError>>,
}

/// A log as it arrives from its node; it ends when the log does.
pub struct LogReader(Box<dyn AsyncRead + Send + Unpin>);

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenLogError {
    /// The node has no session.
    #[error("node `{0}` is not connected")]
    NotConnected(NodeName),
    /// Its version of the protocol cannot tell streams apart.
    #[error("node `{0}` runs an earlier version of dunlin, which cannot tell streams apart; update it")]
    Unsupported(NodeName),
    /// The node has too many log streams, or its connection broke.
    #[error("the connection to node `{0}` failed")]
    Failed(NodeName),
    /// The node has no such log; its own words.
    #[error("{0}")]
    Refused(String),
}

/// What is wanted of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamOpen {
    /// A command; frames of `dunlin_link::exec` travel on the stream.
    Exec(ExecRequest),
    /// A container's streams, in the same frames.
    Attach(AttachRequest),
    /// A connection to the pod's address; its bytes travel on the stream.
    Connect {
        /// To which pod.
        uid: PodUid,
        /// To which of its ports.
        port: u16,
    },
    /// A connection to the pod's localhost; its bytes travel on the stream.
    Forward {
        /// To which pod.
        uid: PodUid,
        /// To which of its ports.
        port: u16,
    },
    /// What the node uses, told once in frames of `dunlin_link::usage`.
    Usage,
    /// The core dump that a container left; its bytes come on the stream.
    CoreDump {
        /// Of which pod.
        uid: PodUid,
        /// Of which container.
        container: String,
    },
}

/// A stream both ways as it comes from a node.
pub struct NodeStream(Pin<Box<dyn Duplex>>);

trait Duplex: AsyncRead + AsyncWrite + Send {}

impl<S: AsyncRead + AsyncWrite + Send> Duplex for S {}

/// Why there is no stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenStreamError {
    /// The node has no session.
    #[error("node \"{0}\" is not connected")]
    NotConnected(NodeName),
    /// Its version of the protocol has no such streams.
    #[error("node \"{0}\" runs an earlier version of dunlin, which cannot do this; update it")]
    Unsupported(NodeName),
    /// It did not answer in time, has too many streams, or its connection broke.
    #[error("node \"{0}\" does not answer")]
    Failed(NodeName),
    /// It refuses, in its own words.
    #[error("{message}")]
    Refused {
        /// In a word.
        reason: StreamRefusal,
        /// For a person.
        message: String,
    },
}

impl Sessions {
    /// Opens a container's log on its node.
    ///
    /// # Errors
    /// When the node is not connected, does not answer, or has no such log.
    pub async fn open_log(
        &self,
        node: &NodeName,
        request: LogRequest,
        streams: LogStreams,
    ) -> Result<LogReader, OpenLogError> {
        let (reply, answer) = oneshot::channel();
        if !self.wish(node, Wish::Log(OpenLog { request, streams, reply })).await {
            return Err(OpenLogError::NotConnected(node.clone()));
        }
        answer.await.unwrap_or_else(|_| Err(OpenLogError::Failed(node.clone())))
    }

    /// Opens a stream that goes both ways.
    ///
    /// # Errors
    /// When the node is not connected, is too old, does not answer, or refuses.
    pub async fn open_stream(
        &self,
        node: &NodeName,
        open: StreamOpen,
    ) -> Result<NodeStream, OpenStreamError> {
        let protocol = self.inner.links.protocol(node).map(Protocol::of);
        if protocol.is_some_and(|protocol| !protocol.sends(open.kind())) {
            return Err(OpenStreamError::Unsupported(node.clone()));
        }
        let (reply, answer) = oneshot::channel();
        if !self.wish(node, Wish::Stream(OpenStream { open, reply })).await {
            return Err(OpenStreamError::NotConnected(node.clone()));
        }
        answer.await.unwrap_or_else(|_| Err(OpenStreamError::Failed(node.clone())))
    }

    /// Hands a wish to a node's connection; whether there is one.
    async fn wish(&self, node: &NodeName, wish: Wish) -> bool {
        let wishes = self.state().slots.get(node).map(|slot| slot.wishes.clone());
        match wishes {
            Some(wishes) => wishes.send(Box::new(wish)).await.is_ok(),
            None => false,
        }
    }
}

impl StreamOpen {
    /// The kind of the frame that asks for it.
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::Exec(_) => ExecOpen::KIND,
            Self::Attach(_) => AttachOpen::KIND,
            Self::Connect { .. } => ConnectOpen::KIND,
            Self::Forward { .. } => ForwardOpen::KIND,
            Self::Usage => UsageOpen::KIND,
            Self::CoreDump { .. } => CoreDumpOpen::KIND,
        }
    }

    /// The frame that asks for it.
    pub(crate) fn encode(self) -> Vec<u8> {
        match self {
            Self::Exec(request) => encode(&ExecOpen { request }),
            Self::Attach(request) => encode(&AttachOpen { request }),
            Self::Connect { uid, port } => encode(&ConnectOpen { uid, port }),
            Self::Forward { uid, port } => encode(&ForwardOpen { uid, port }),
            Self::Usage => encode(&UsageOpen),
            Self::CoreDump { uid, container } => encode(&CoreDumpOpen { uid, container }),
        }
    }
}

impl LogReader {
    pub(crate) fn new(reader: impl AsyncRead + Send + Unpin + 'static) -> Self {
        Self(Box::new(reader))
    }
}

impl fmt::Debug for LogReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogReader")
    }
}

impl AsyncRead for LogReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl NodeStream {
    pub(crate) fn new(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        Self(Box::pin(stream))
    }
}

impl fmt::Debug for NodeStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeStream")
    }
}

impl AsyncRead for NodeStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_read(context, buffer)
    }
}

impl AsyncWrite for NodeStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_shutdown(context)
    }
}

/// Most streams that wait to be opened on one node.
pub(crate) const WISHES_MAX: usize = 16;
