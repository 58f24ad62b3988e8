//! Logs, read to their end or as they come, and core dumps.

use std::io;

use dunlin_link::{
    logs::{LogRequest, LogStreams},
    stream::LogAnswer,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{SessionHost, Shared, Stream, write_head};

impl Stream<'_> {
    pub(super) async fn send_log<H: SessionHost>(
        mut self,
        host: &H,
        request: LogRequest,
        streams: LogStreams,
    ) -> io::Result<()> {
        let output = &mut self.output;
        let log = match host.open_log(request, streams).await {
            Ok(log) => log,
            Err(reason) => {
                write_head(output, &LogAnswer::Refused(reason)).await?;
                return output.finish().map_err(io::Error::other);
            }
        };
        write_head(output, &LogAnswer::Opened).await?;
        self.send_bytes(log).await
    }

    /// Sends all of it, for as long as somebody reads.
    pub(super) async fn send_bytes(mut self, mut from: impl AsyncRead + Unpin) -> io::Result<()> {
        let output = &mut self.output;
        // Below the control stream, so that what floods the link holds up no status.
        let _ = output.set_priority(LOG_PRIORITY);
        let stopped = output.stopped();
        let copied = tokio::select! {
            copied = copy(self.shared, &mut from, output) => copied,
            // A followed log may be silent for ever after its reader has left.
            _ = stopped => return Ok(()),
        };
        self.end(copied)
    }
}

/// Copies to the end, no faster than the link's cap lets it.
async fn copy(
    shared: &Shared,
    from: &mut (impl AsyncRead + Unpin),
    output: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let piece = shared.piece_bytes(CHUNK_BYTES);
        let count = from.read(&mut buffer[..piece]).await?;
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
