//! Frames at the start of a stream.

use std::io;

use dunlin_link::{
    frame::{self, Frame, Message},
    limits::HEAD_FRAME_BYTES_MAX,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::frames;

/// Reads the head frame of a stream, whatever its kind.
pub(super) async fn read_frame(input: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let frame = frames::read_frame(input, HEAD_FRAME_BYTES_MAX).await?;
    frame.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
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
