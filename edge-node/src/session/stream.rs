//! Frames at the start of a stream.

use std::io;

use dunlin_link::{
    frame::{self, Frame, HEADER_BYTES, Header, Message},
    limits::HEAD_FRAME_BYTES_MAX,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Reads the head frame of a stream, whatever its kind.
pub(super) async fn read_frame(input: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let mut header = [0; HEADER_BYTES];
    input.read_exact(&mut header).await?;
    let Header { kind, body_bytes } =
        Header::decode(header, HEAD_FRAME_BYTES_MAX).map_err(io::Error::other)?;
    let mut body = vec![0; body_bytes];
    input.read_exact(&mut body).await?;
    Ok(Frame { kind, body })
}

/// Reads the head frame of a stream.
pub(super) async fn read_head<M: Message>(input: &mut (impl AsyncRead + Unpin)) -> io::Result<M> {
    read_frame(input).await?.decode().map_err(io::Error::other)
}

/// Writes the head frame of a stream.
pub(super) async fn write_head(
    output: &mut (impl AsyncWrite + Unpin),
    message: &impl Message,
) -> io::Result<()> {
    output.write_all(&frame::encode(message)).await
}
