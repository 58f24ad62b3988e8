//! Connections to a pod's port: bytes both ways, and their ends.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{ByteStream, Shared, Stream, idle::Idle};

impl Stream<'_> {
    /// Passes bytes on until both sides have ended, or the caller has left.
    pub(super) async fn relay_bytes(mut self, pod: ByteStream) -> io::Result<()> {
        let (mut from_pod, mut to_pod) = tokio::io::split(pod);
        let idle = Idle::new();
        let stopped = self.output.stopped();
        let relayed = tokio::select! {
            relayed = async {
                tokio::try_join!(
                    pass(&mut self.input, &mut to_pod, None, &idle),
                    pass(&mut from_pod, &mut self.output, Some(self.shared), &idle),
                )
            } => relayed.map(drop),
            _ = stopped => Ok(()),
            () = idle.over() => Err(io::ErrorKind::TimedOut.into()),
        };
        if relayed.is_err() {
            self.break_off();
        }
        relayed
    }
}

/// Passes bytes on in one direction, and their end; with `shared`, no faster than the link's cap lets it.
async fn pass(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    shared: Option<&Shared>,
    idle: &Idle,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let piece = shared.map_or(CHUNK_BYTES, |shared| shared.piece_bytes(CHUNK_BYTES));
        let count = from.read(&mut buffer[..piece]).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        idle.used();
        if let Some(shared) = shared {
            shared.pass(count).await;
        }
        to.write_all(&buffer[..count]).await?;
    }
}

/// Read and sent at a time.
const CHUNK_BYTES: usize = 16 << 10;
