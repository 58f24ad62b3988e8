//! Commands and attachments: frames, passed on between the coordinator and the sandbox after a look at each.

use std::io;

use dunlin_link::{
    exec::{ExecEnd, Input, Output},
    limits::{EXEC_DATA_BYTES_MAX, EXEC_FRAME_BYTES_MAX},
};
use quinn::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::{
    ByteStream, Shared, Stream,
    idle::{IDLE_MAX, Idle},
};
use crate::frames::read_frame;

impl Stream<'_> {
    /// Passes frames on until the sandbox has told the end, or the caller has left. The sandbox learns of that by the end of its stream.
    pub(super) async fn relay_frames(mut self, sandbox: ByteStream) -> io::Result<()> {
        let (mut from_sandbox, mut to_sandbox) = tokio::io::split(sandbox);
        let idle = Idle::new();
        let stopped = self.output.stopped();
        tokio::select! {
            left = towards_sandbox(&mut self.input, &mut to_sandbox, &idle) => left,
            told = from(&mut from_sandbox, &mut self.output, (self.shared, &idle)) => told,
            _ = stopped => Ok(()),
            () = idle.over() => {
                let hours = IDLE_MAX.as_secs() / 3600;
                end(&mut self.output, ExecEnd::Failed(format!("nothing was sent for {hours} h"))).await
            }
        }
    }
}

/// Passes on what the caller sends. Ends only when the caller has left.
async fn towards_sandbox(
    input: &mut RecvStream,
    sandbox: &mut (impl AsyncWrite + Unpin),
    idle: &Idle,
) -> io::Result<()> {
    while let Some(frame) = read_frame(input, EXEC_FRAME_BYTES_MAX).await? {
        let Some(message) = Input::decode(&frame).map_err(io::Error::other)? else { continue };
        idle.used();
        write(sandbox, message).await;
    }
    // The end of the stream is the end of the input; that the caller leaves shows by its stopping to read.
    write(sandbox, Input::StdinEnd).await;
    std::future::pending().await
}

/// A sandbox that takes no more has told the end, or will be found gone by whoever reads from it.
async fn write(sandbox: &mut (impl AsyncWrite + Unpin), message: Input) {
    let _ = sandbox.write_all(&message.encode()).await;
}

/// Passes on what the sandbox tells, to its end, no faster than the link's cap lets it.
async fn from(
    sandbox: &mut (impl AsyncRead + Unpin),
    output: &mut SendStream,
    (shared, idle): (&Shared, &Idle),
) -> io::Result<()> {
    loop {
        let Ok(Some(frame)) = read_frame(sandbox, EXEC_FRAME_BYTES_MAX).await else {
            return end(output, ExecEnd::Failed("the sandbox ended the stream".to_owned())).await;
        };
        let Some(message) = Output::decode(&frame).map_err(io::Error::other)? else { continue };
        idle.used();
        let (bytes, again): (_, fn(Vec<u8>) -> Output) = match message {
            Output::Stdout(bytes) => (bytes, Output::Stdout),
            Output::Stderr(bytes) => (bytes, Output::Stderr),
            Output::End(told) => return end(output, told).await,
        };
        for piece in bytes.chunks(shared.piece_bytes(EXEC_DATA_BYTES_MAX)) {
            shared.pass(piece.len()).await;
            output.write_all(&again(piece.to_vec()).encode()).await?;
        }
    }
}

async fn end(output: &mut SendStream, end: ExecEnd) -> io::Result<()> {
    output.write_all(&Output::End(end).encode()).await?;
    output.finish().map_err(io::Error::other)
}
