//! One forwarded connection.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tracing::debug;

use crate::client::Conversation;

/// Passes bytes on until both sides have ended; one side's end is not the other's.
pub(super) async fn carry(stream: TcpStream, pod: Conversation) {
    // What is typed is waited for; one that cannot be told so is served all the same.
    let _ = stream.set_nodelay(true);
    let (mut from_here, mut to_here) = stream.into_split();
    let (mut to_pod, mut from_pod) = pod.split();
    let towards_pod = async move {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            match from_here.read(&mut buffer).await? {
                // With what says it goes the end.
                0 => return anyhow::Ok(()),
                count => to_pod.pass(&buffer[..count]).await?,
            }
        }
    };
    let towards_here = async move {
        while let Some(chunk) = from_pod.chunk().await? {
            to_here.write_all(&chunk).await?;
        }
        to_here.shutdown().await?;
        anyhow::Ok(())
    };
    tokio::pin!(towards_here);
    let carried = tokio::select! {
        carried = &mut towards_here => carried.map(|()| None),
        // A pod that takes no more may still have something to say.
        passed = towards_pod => Ok(Some(passed)),
    };
    let ended = match carried {
        Ok(Some(_)) => towards_here.await,
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        debug!(%error, "a forwarded connection broke off");
    }
}

/// Read and sent at a time.
const CHUNK_BYTES: usize = 16 << 10;
