//! Connections and forwards to a pod's port: bytes both ways, and their ends.

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
                let towards_pod = async {
                    match pass(&mut self.input, &mut to_pod, None, &idle).await {
                        // A pod that takes no more may still have something to say.
                        Ok(()) | Err(Broken::Sink(_)) => Ok(()),
                        Err(Broken::Source(error)) => Err(error),
                    }
                };
                let from_pod = async {
                    let passed = pass(&mut from_pod, &mut self.output, Some(self.shared), &idle).await;
                    passed.map_err(|(Broken::Source(error) | Broken::Sink(error))| error)
                };
                tokio::try_join!(towards_pod, from_pod)
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

/// Which side of a direction broke.
enum Broken {
    Source(io::Error),
    Sink(io::Error),
}

/// Passes bytes on in one direction, and their end; with `shared`, no faster than the link's cap lets it.
async fn pass(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    shared: Option<&Shared>,
    idle: &Idle,
) -> Result<(), Broken> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let piece = shared.map_or(CHUNK_BYTES, |shared| shared.piece_bytes(CHUNK_BYTES));
        let count = from.read(&mut buffer[..piece]).await.map_err(Broken::Source)?;
        if count == 0 {
            return to.shutdown().await.map_err(Broken::Sink);
        }
        idle.used();
        if let Some(shared) = shared {
            shared.pass(count).await;
        }
        to.write_all(&buffer[..count]).await.map_err(Broken::Sink)?;
    }
}

/// Read and sent at a time.
const CHUNK_BYTES: usize = 16 << 10;
