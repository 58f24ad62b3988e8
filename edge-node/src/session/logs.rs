//! Streams that the coordinator opens: logs.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use dunlin_link::stream::{LogAnswer, LogOpen};
use quinn::{Connection, RecvStream, SendStream};
use tokio::task::JoinSet;
use tracing::{debug, error};

use super::{
    SessionHost,
    stream::{read_head, write_head},
};

/// Answers streams until the connection ends; then streams under way end with it. `open` tells others how many there are.
pub(super) async fn serve<H: SessionHost>(host: &Arc<H>, connection: &Connection, open: &AtomicUsize) {
    let mut streams = JoinSet::new();
    loop {
        open.store(streams.len(), Ordering::Relaxed);
        tokio::select! {
            stream = connection.accept_bi() => {
                let Ok((output, input)) = stream else { return };
                let host = Arc::clone(host);
                streams.spawn(async move {
                    if let Err(error) = send_log(host.as_ref(), output, input).await {
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

async fn send_log<H: SessionHost>(host: &H, mut output: SendStream, mut input: RecvStream) -> io::Result<()> {
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
        copied = tokio::io::copy(&mut log, &mut output) => copied.map(drop)?,
        // A followed log may be silent for ever after its reader has left.
        _ = stopped => return Ok(()),
    }
    output.finish().map_err(io::Error::other)
}

/// Below the control stream's.
const LOG_PRIORITY: i32 = -1;
