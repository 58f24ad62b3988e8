//! Frames on a stream of bytes: read to a bound, and written whole.

use std::io;

use dunlin_link::frame::{Frame, HEADER_BYTES, Header};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Reads a frame with a body of at most `body_bytes_max`; `None` when the stream ends before one begins.
pub(crate) async fn read_frame(
    input: &mut (impl AsyncRead + Unpin),
    body_bytes_max: usize,
) -> io::Result<Option<Frame>> {
    let mut header = [0; HEADER_BYTES];
    let first = input.read(&mut header).await?;
    if first == 0 {
        return Ok(None);
    }
    input.read_exact(&mut header[first..]).await?;
    let Header { kind, body_bytes } = Header::decode(header, body_bytes_max).map_err(io::Error::other)?;
    let mut body = vec![0; body_bytes];
    input.read_exact(&mut body).await?;
    Ok(Some(Frame { kind, body }))
}
