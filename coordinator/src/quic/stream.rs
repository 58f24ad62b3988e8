//! Frames at the start of a stream.

use dunlin_link::{
    frame::{self, Frame, FrameError, HEADER_BYTES, Header, Message},
    limits::HEAD_FRAME_BYTES_MAX,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Why the first frame of a stream could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeadError {
    /// The stream ended or broke.
    #[error("the stream ended before its first frame")]
    Read(#[from] std::io::Error),
    /// Something else came.
    #[error("the stream starts with another frame than expected")]
    Frame(#[from] FrameError),
}

/// Reads the head frame of a stream.
pub(super) async fn read_head<M: Message>(input: &mut (impl AsyncRead + Unpin)) -> Result<M, HeadError> {
    Ok(read_frame(input).await?.decode()?)
}

/// Reads the head frame of a stream, whatever its kind.
pub(super) async fn read_frame(input: &mut (impl AsyncRead + Unpin)) -> Result<Frame, HeadError> {
    let mut header = [0; HEADER_BYTES];
    input.read_exact(&mut header).await?;
    let Header { kind, body_bytes } = Header::decode(header, HEAD_FRAME_BYTES_MAX)?;
    let mut body = vec![0; body_bytes];
    input.read_exact(&mut body).await?;
    Ok(Frame { kind, body })
}

/// Writes the head frame of a stream.
pub(super) async fn write_head(
    output: &mut (impl AsyncWrite + Unpin),
    message: &impl Message,
) -> std::io::Result<()> {
    output.write_all(&frame::encode(message)).await
}
