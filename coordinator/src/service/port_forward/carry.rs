//! One forwarded connection among others on a client's connection: what comes for it, and what is told of it.

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::mpsc,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::Forwarder;
use crate::service::spdy::PIECE_BYTES_MAX;

/// What comes from a client; its end is the end of that side.
#[derive(Debug)]
pub(super) struct Inlet {
    pub(super) bytes: mpsc::Receiver<Bytes>,
    /// Cancelled when the client gives the connection up.
    pub(super) left: CancellationToken,
}

/// What is told to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Bytes of the pod.
    Data(Bytes),
    /// The pod's side has ended.
    DataEnd,
    /// What went wrong.
    Error(String),
    /// The connection is over.
    Over,
}

/// How it is told.
pub(super) trait Outlet: Send + Sync {
    /// Waits until there is room for it.
    fn tell(&self, told: Told) -> impl Future<Output = Result<(), Gone>> + Send;
}

/// The client has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone;

/// Connects to a port, and passes bytes on until the connection is over.
pub(super) async fn carry(
    forwarder: &Forwarder,
    port: u16,
    inlet: Inlet,
    outlet: &impl Outlet,
) -> Result<(), Gone> {
    let Inlet { bytes, left } = inlet;
    let carried = async {
        match forwarder.open(port).await {
            Ok(node) => {
                let (from_node, to_node) = tokio::io::split(node);
                both_ways((bytes, to_node), (from_node, outlet)).await?;
            }
            Err(why) => {
                outlet.tell(Told::Error(forwarder.failed(port, &why))).await?;
                outlet.tell(Told::DataEnd).await?;
            }
        }
        Ok(())
    };
    tokio::select! {
        carried = carried => carried?,
        () = left.cancelled() => {}
    }
    outlet.tell(Told::Over).await
}

async fn both_ways(
    (mut bytes, mut to_node): (mpsc::Receiver<Bytes>, impl AsyncWrite + Unpin),
    (mut from_node, outlet): (impl AsyncRead + Unpin, &impl Outlet),
) -> Result<(), Gone> {
    let towards_node = async {
        while let Some(bytes) = bytes.recv().await {
            to_node.write_all(&bytes).await?;
        }
        to_node.shutdown().await
    };
    tokio::pin!(towards_node);
    let towards_client = towards_client(&mut from_node, outlet);
    tokio::pin!(towards_client);
    tokio::select! {
        told = &mut towards_client => {
            told?;
            // Clients wait for the end of all before they give their side up, so they cannot be waited for long.
            let _ = timeout(LINGER, towards_node).await;
            Ok(())
        }
        // A pod that takes no more may still have something to say.
        _ended = &mut towards_node => towards_client.await,
    }
}

/// Tells what the pod says to its end. One that breaks off just ends, as clients have no other word for it than an error, at which they end
/// all of their connections.
async fn towards_client(from_node: &mut (impl AsyncRead + Unpin), outlet: &impl Outlet) -> Result<(), Gone> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(PIECE_BYTES_MAX);
        let mut room = (&mut *from_node).take(PIECE_BYTES_MAX as u64);
        match room.read_buf(&mut buffer).await {
            Ok(0) => break,
            Ok(_) => outlet.tell(Told::Data(buffer.split().freeze())).await?,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
            Err(error) => {
                outlet.tell(Told::Error(format!("lost connection to pod: {error}"))).await?;
                break;
            }
        }
    }
    outlet.tell(Told::DataEnd).await
}

/// Pieces that wait for a pod that does not take them. A piece more, and the client is not read.
pub(super) const PIECES_MAX: usize = 8;

/// How long a client's side may go on after the pod's has ended, as with containerd.
const LINGER: Duration = Duration::from_secs(1);
