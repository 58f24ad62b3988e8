//! Reads the frames of a stream, so that waiting for the next one can be given up at any time.

use std::io;

use dunlin_link::{
    frame::{Decoder, Frame},
    limits::EXEC_FRAME_BYTES_MAX,
};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// A reader of frames.
pub(super) struct FrameReader<R> {
    reader: R,
    decoder: Decoder,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are taken.
    taken: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(super) const fn new(reader: R) -> Self {
        Self { reader, decoder: Decoder::new(EXEC_FRAME_BYTES_MAX), buffer: Vec::new(), taken: 0 }
    }

    /// The next frame; `None` when the stream has ended. Nothing is lost when this is dropped before it is done.
    ///
    /// # Errors
    /// When the stream breaks, also within a frame, or a frame is too long.
    pub(super) async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            let mut rest = &self.buffer[self.taken..];
            let frame = self.decoder.feed(&mut rest).map_err(io::Error::other)?;
            self.taken = self.buffer.len() - rest.len();
            if frame.is_some() {
                return Ok(frame);
            }
            self.buffer.clear();
            self.taken = 0;
            self.buffer.reserve(READ_BYTES);
            if self.reader.read_buf(&mut self.buffer).await? == 0 {
                return match self.decoder.is_at_boundary() {
                    true => Ok(None),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
    }
}

/// Read at a time.
const READ_BYTES: usize = 16 << 10;
