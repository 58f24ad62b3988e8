//! A connection to a sandbox in a process of its own: frames of a length and postcard over a unix socket.

use std::io;

use dunlin_edge_node_core::sandbox::{Event, MESSAGE_BYTES_MAX, Request};
use dunlin_link::codec;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
};

/// Both directions of one connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) events: mpsc::Receiver<Event>,
}

impl Connection {
    /// Turns a stream into both directions of a connection, which ends when either side drops its half; `at_end` is called then.
    pub(super) fn over(stream: UnixStream, at_end: impl FnOnce() + Send + 'static) -> Self {
        let (reader, writer) = stream.into_split();
        let (requests, outgoing) = mpsc::channel(QUEUE_MAX);
        let (incoming, events) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(async move {
            if let Err(error) = read_events(reader, incoming).await {
                tracing::debug!(%error, "a sandbox's connection ended");
            }
            at_end();
        });
        tokio::spawn(async move {
            if let Err(error) = write_requests(writer, outgoing).await {
                tracing::debug!(%error, "a sandbox's connection ended");
            }
        });
        Self { requests, events }
    }
}

async fn read_events(reader: OwnedReadHalf, incoming: mpsc::Sender<Event>) -> io::Result<()> {
    let mut reader = BufReader::new(reader);
    let mut frame = Vec::new();
    loop {
        let length = match reader.read_u32_le().await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            length => usize::try_from(length?).unwrap_or(usize::MAX),
        };
        if length > MESSAGE_BYTES_MAX {
            return Err(io::Error::other("the sandbox sent a message beyond the limit"));
        }
        frame.resize(length, 0);
        reader.read_exact(&mut frame).await?;
        let event = codec::decode(&frame).map_err(io::Error::other)?;
        if incoming.send(event).await.is_err() {
            return Ok(());
        }
        frame.shrink_to(FRAME_BYTES_KEPT);
    }
}

async fn write_requests(writer: OwnedWriteHalf, mut outgoing: mpsc::Receiver<Request>) -> io::Result<()> {
    let mut writer = BufWriter::new(writer);
    while let Some(request) = outgoing.recv().await {
        write_request(&mut writer, &request).await?;
        while let Ok(request) = outgoing.try_recv() {
            write_request(&mut writer, &request).await?;
        }
        writer.flush().await?;
    }
    Ok(())
}

async fn write_request(writer: &mut BufWriter<OwnedWriteHalf>, request: &Request) -> io::Result<()> {
    let frame = codec::encode(request);
    let length = u32::try_from(frame.len()).ok().filter(|_| frame.len() <= MESSAGE_BYTES_MAX);
    let Some(length) = length else {
        // Cannot happen with what the API accepts; losing one container is better than losing the sandbox.
        tracing::error!(bytes = frame.len(), "a request to a sandbox is beyond the limit and was not sent");
        return Ok(());
    };
    writer.write_u32_le(length).await?;
    writer.write_all(&frame).await
}

/// Messages that wait in either direction.
const QUEUE_MAX: usize = 256;

/// Buffer kept between messages.
const FRAME_BYTES_KEPT: usize = 16 << 10;
