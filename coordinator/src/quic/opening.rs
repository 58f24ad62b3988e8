//! Opens streams on a node's connection for those who want them.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use dunlin_link::{
    NodeName,
    frame::{Kind, Message},
    logs::{LogRequest, LogStreams},
    message::Unsupported,
    stream::{LogAnswer, LogOpen, LogStreamsOpen, StreamAnswer},
};
use quinn::{Connection, VarInt};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, join},
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};
use tracing::error;

use super::{
    STREAM_RECEIVE_WINDOW,
    gate::{Gate, Waiting},
    link::RECEIVE_WINDOW,
    stream::{read_frame, write_head},
};
use crate::sessions::{
    LogReader, NodeStream, OpenLog, OpenLogError, OpenStream, OpenStreamError, SessionEnd, StreamOpen, Wish,
};

/// Opens what is wished for, for as long as it is polled.
pub(super) async fn serve(
    connection: &Connection,
    node: &NodeName,
    gate: &Arc<Gate>,
    mut wishes: mpsc::Receiver<Box<Wish>>,
) -> SessionEnd {
    let room = Arc::new(Room { connection: connection.clone(), streams: Mutex::new(0) });
    let mut opening = JoinSet::new();
    loop {
        tokio::select! {
            Some(wish) = wishes.recv() => {
                let (room, node, gate) = (Arc::clone(&room), node.clone(), Arc::clone(gate));
                opening.spawn(async move {
                    match *wish {
                        Wish::Log(OpenLog { request, streams, reply }) => {
                            let opened = timeout(OPEN_TIMEOUT, open_log(&room.connection, request, streams));
                            let opened = match opened.await {
                                Ok(Ok(opened)) => opened.map_err(|refused| refused.unwrap_or(OpenLogError::Unsupported(node))),
                                _ => Err(OpenLogError::Failed(node)),
                            };
                            // Whoever asked may have left; the stream then ends with the reader.
                            let _ = reply.send(opened);
                        }
                        Wish::Stream(OpenStream { open, reply }) => {
                            let opened = timeout(OPEN_TIMEOUT, open_stream(&room, &gate, open));
                            let opened = match opened.await {
                                Ok(Ok(opened)) => opened.map_err(|refused| refused.of(node)),
                                _ => Err(OpenStreamError::Failed(node)),
                            };
                            let _ = reply.send(opened);
                        }
                    }
                });
            }
            Some(done) = opening.join_next() => {
                if let Err(panic) = done {
                    error!(%panic, "opening a stream failed by a defect");
                }
            }
            else => return std::future::pending().await,
        }
    }
}

/// `None` where the node does not know what it is asked.
async fn open_log(
    connection: &Connection,
    request: LogRequest,
    streams: LogStreams,
) -> io::Result<Result<LogReader, Option<OpenLogError>>> {
    let (mut output, mut input) = connection.open_bi().await?;
    let _ = output.set_priority(LOG_PRIORITY);
    match streams {
        // Which every version knows.
        LogStreams::All => write_head(&mut output, &LogOpen { request }).await?,
        LogStreams::Stdout | LogStreams::Stderr => {
            write_head(&mut output, &LogStreamsOpen { request, streams }).await?;
        }
    }
    output.finish().map_err(io::Error::other)?;
    let answer = read_frame(&mut input).await.map_err(io::Error::other)?;
    if answer.kind == Unsupported::KIND {
        return Ok(Err(None));
    }
    Ok(match answer.decode().map_err(io::Error::other)? {
        LogAnswer::Opened => Ok(LogReader::new(input)),
        LogAnswer::Refused(reason) => Err(Some(OpenLogError::Refused(reason))),
    })
}

async fn open_stream(
    room: &Arc<Room>,
    gate: &Arc<Gate>,
    open: StreamOpen,
) -> io::Result<Result<NodeStream, Refused>> {
    // Before the node can send anything.
    let place = room.take();
    let (mut output, mut input) = room.connection.open_bi().await?;
    let _ = output.set_priority(STREAM_PRIORITY);
    output.write_all(&open.encode()).await?;
    let answer = read_frame(&mut input).await.map_err(io::Error::other)?;
    Ok(match answer.kind {
        StreamAnswer::KIND => match answer.decode().map_err(io::Error::other)? {
            StreamAnswer::Opened => {
                let stream = join(input, Waiting::new(output, Arc::clone(gate)));
                Ok(NodeStream::new(Placed { stream, _place: place }))
            }
            StreamAnswer::Refused { reason, message } => {
                Err(Refused::Node(OpenStreamError::Refused { reason, message }))
            }
        },
        Unsupported::KIND => Err(Refused::Unsupported),
        Kind(kind) => return Err(io::Error::other(format!("a frame of kind {kind:#06x} is no answer"))),
    })
}

/// A node's answer that is no stream.
enum Refused {
    Unsupported,
    Node(OpenStreamError),
}

impl Refused {
    fn of(self, node: NodeName) -> OpenStreamError {
        match self {
            Self::Unsupported => OpenStreamError::Unsupported(node),
            Self::Node(error) => error,
        }
    }
}

/// Makes the connection's window larger by what a stream may hold, so that one that nobody reads holds up no other.
#[derive(Debug)]
struct Room {
    connection: Connection,
    /// A lock, so that the window is set in the order in which streams come and go.
    streams: Mutex<u32>,
}

/// One stream's room.
#[derive(Debug)]
struct Place(Arc<Room>);

impl Room {
    fn take(self: &Arc<Self>) -> Place {
        self.resize(|streams| streams.saturating_add(1));
        Place(Arc::clone(self))
    }

    fn resize(&self, change: impl FnOnce(u32) -> u32) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        *streams = change(*streams);
        let window = RECEIVE_WINDOW.saturating_add(streams.saturating_mul(STREAM_RECEIVE_WINDOW));
        self.connection.set_receive_window(VarInt::from_u32(window));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.resize(|streams| streams.saturating_sub(1));
    }
}

/// A stream with its room.
struct Placed<S> {
    stream: S,
    _place: Place,
}

impl<S: AsyncRead + Unpin> AsyncRead for Placed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Placed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Below the control stream's and above artifacts'.
const LOG_PRIORITY: i32 = 0;

/// Of commands, attachments and connections: above logs.
const STREAM_PRIORITY: i32 = 5;

/// From a wish to the node's answer.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
