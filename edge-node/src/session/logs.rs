//! Streams that the coordinator opens: logs.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use dunlin_link::stream::{LogAnswer, LogOpen};
use quinn::{Connection, RecvStream, SendStream};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    task::JoinSet,
};
use tracing::{debug, error};

use super::{
    SessionHost, Shared,
    stream::{read_head, write_head},
};

/// Answers streams until the connection ends; then streams under way end with it.
pub(super) async fn serve<H: SessionHost>(host: &Arc<H>, connection: &Connection, shared: &Arc<Shared>) {
    let mut streams = JoinSet::new();
    loop {
        shared.reverse_streams.store(streams.len(), Ordering::Relaxed);
        tokio::select! {
            stream = connection.accept_bi() => {
                let Ok((output, input)) = stream else { return };
                let (host, shared) = (Arc::clone(host), Arc::clone(shared));
                streams.spawn(async move {
                    if let Err(error) = send_log(host.as_ref(), &shared, output, input).await {
                        debug!(%error, "a log stream ended early");
                    }
                });
            }
            Some(done) = streams.join_next() => {
                if let Err(panic) = done {
                    error!(%panic, "a log stream failed by a defect");
                }
            }
        }
    }
}

async fn send_log<H: SessionHost>(
    host: &H,
    shared: &Shared,
    mut output: SendStream,
    mut input: RecvStream,
) -> io::Result<()> {
    // Below the control stream, so that a log that floods the link holds up no status.
    let _ = output.set_priority(LOG_PRIORITY);
    let LogOpen { request } = read_head(&mut input).await?;
    let mut log = match host.open_log(request).await {
        Ok(log) => log,
        Err(reason) => {
            write_head(&mut output, &LogAnswer::Refused(reason)).await?;
            return output.finish().map_err(io::Error::other);
        }
    };
    write_head(&mut output, &LogAnswer::Opened).await?;
    let stopped = output.stopped();
    tokio::select! {
        copied = copy(shared, &mut log, &mut output) => copied?,
        // A followed log may be silent for ever after its reader has left.
        _ = stopped => return Ok(()),
    }
    output.finish().map_err(io::Error::other)
}

/// Copies a log to its end, no faster than the link's cap lets it.
async fn copy(
    shared: &Shared,
    log: &mut (impl AsyncRead + Unpin),
    output: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let piece = shared.piece_bytes(CHUNK_BYTES);
        let count = log.read(&mut buffer[..piece]).await?;
        if count == 0 {
            return Ok(());
        }
        shared.pass(count).await;
        output.write_all(&buffer[..count]).await?;
    }
}

/// Read and sent at a time.
const CHUNK_BYTES: usize = 8 << 10;

/// Below the control stream's.
const LOG_PRIORITY: i32 = -1;
