//! Sandbox messages over a unix socket: a frame is a little-endian `u32` length and that many bytes.

use std::{io, path::Path, sync::Arc};

use dunlin_edge_node_core::sandbox::{Event, MESSAGE_BYTES_MAX, Request};
use dunlin_link::codec;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader, BufWriter},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Semaphore, mpsc},
};

use super::{
    containers::{Containers, Served},
    in_process::QUEUE_MAX,
    streams,
};
use crate::sockets;

/// Opens the socket at `path`, replacing one that nobody answers on.
///
/// # Errors
/// When another runner answers there, or the path cannot be used.
pub(crate) async fn listen(path: &Path) -> io::Result<UnixListener> {
    if sockets::connect(path).await.is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another runner answers on this socket"));
    }
    sockets::listen(path)
}

/// Serves agents until one asks to shut down.
pub(crate) async fn serve(listener: &UnixListener, containers: &Arc<Containers>) {
    let (shutdown, mut asked) = mpsc::channel(1);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = asked.recv() => return,
        };
        match accepted {
            Ok((stream, _address)) if is_same_user(&stream) => {
                let (containers, shutdown) = (Arc::clone(containers), shutdown.clone());
                tokio::spawn(async move {
                    if serve_agent(stream, &containers).await == Served::Shutdown {
                        // A second request while one is under way changes nothing.
                        let _ = shutdown.try_send(());
                    }
                });
            }
            Ok(_) => tracing::warn!("a connection of another user was refused"),
            Err(error) => {
                tracing::warn!(%error, "failed to accept an agent");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves streams for as long as it is polled.
pub(crate) async fn serve_streams(listener: &UnixListener, containers: &Arc<Containers>) {
    let places = Arc::new(Semaphore::new(STREAM_CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("never closed");
        match listener.accept().await {
            Ok((stream, _address)) if is_same_user(&stream) => {
                let containers = Arc::clone(containers);
                tokio::spawn(async move {
                    if let Err(error) = streams::serve(&containers, stream).await {
                        tracing::debug!(%error, "a stream ended early");
                    }
                    drop(place);
                });
            }
            Ok(_) => tracing::warn!("a connection of another user was refused"),
            Err(error) => {
                tracing::warn!(%error, "failed to accept a stream");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_same_user(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == rustix::process::geteuid().as_raw())
}

async fn serve_agent(stream: UnixStream, containers: &Arc<Containers>) -> Served {
    let (reader, writer) = stream.into_split();
    let (heard, requests) = mpsc::channel(QUEUE_MAX);
    let (events, told) = mpsc::channel(QUEUE_MAX);
    let read = tokio::spawn(async move {
        if let Err(error) = read_requests(reader, heard).await {
            tracing::warn!(%error, "an agent's connection failed");
        }
    });
    let write = tokio::spawn(write_events(writer, told));
    let served = containers.serve(requests, events).await;
    read.abort();
    // What was told before the end still goes out, unless nobody reads it.
    drop(tokio::time::timeout(WRITE_OUT_MAX, write).await);
    served
}

async fn read_requests(reader: OwnedReadHalf, heard: mpsc::Sender<Request>) -> io::Result<()> {
    let mut reader = BufReader::new(reader);
    loop {
        let length = match reader.read_u32_le().await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            length => length? as usize,
        };
        if length > MESSAGE_BYTES_MAX {
            return Err(io::Error::other("a message beyond the limit"));
        }
        // Not kept between messages: one large specification must not cost memory for ever.
        let mut frame = vec![0; length];
        reader.read_exact(&mut frame).await?;
        let request = codec::decode(&frame).map_err(io::Error::other)?;
        drop(frame);
        if heard.send(request).await.is_err() {
            return Ok(());
        }
    }
}

async fn write_events(writer: OwnedWriteHalf, mut told: mpsc::Receiver<Event>) {
    let mut writer = BufWriter::new(writer);
    while let Some(event) = told.recv().await {
        let mut next = Some(event);
        while let Some(event) = next {
            if write_event(&mut writer, &event).await.is_err() {
                return;
            }
            next = told.try_recv().ok();
        }
        if writer.flush().await.is_err() {
            return;
        }
    }
}

async fn write_event(writer: &mut BufWriter<OwnedWriteHalf>, event: &Event) -> io::Result<()> {
    let frame = codec::encode(event);
    let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
    writer.write_u32_le(length).await?;
    writer.write_all(&frame).await
}

/// Streams at once, those included that are refused; more wait in the kernel's backlog.
const STREAM_CONNECTIONS_MAX: usize = 128;

/// Keeps a failing accept from spinning.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// For an agent that reads slowly.
const WRITE_OUT_MAX: std::time::Duration = std::time::Duration::from_secs(2);
