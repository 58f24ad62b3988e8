//! The answer to one request: its head, then bytes as they come.

use anyhow::{Context as _, Result, bail};
use dunlin_link::{
    frame::{Frame, HEADER_BYTES, Header},
    limits::HEAD_FRAME_BYTES_MAX,
    rpc::ResponseHead,
};
use quinn::RecvStream;

/// An answer whose body may still be on its way.
#[derive(Debug)]
pub(crate) struct Response {
    /// Status, media type, warnings.
    pub(crate) head: ResponseHead,
    receive: RecvStream,
    /// Bytes received but not yet handed out as a line.
    pending: Vec<u8>,
}

impl Response {
    /// Reads the head frame.
    pub(super) async fn read_head(mut receive: RecvStream) -> Result<Self> {
        let mut header = [0; HEADER_BYTES];
        receive.read_exact(&mut header).await.context("the server gave no answer")?;
        let header =
            Header::decode(header, HEAD_FRAME_BYTES_MAX).context("the server's answer is malformed")?;
        let mut body = vec![0; header.body_bytes];
        receive.read_exact(&mut body).await.context("the server's answer broke off")?;
        let frame = Frame { kind: header.kind, body };
        let head = frame.decode::<ResponseHead>().context("the server's answer is malformed")?;
        Ok(Self { head, receive, pending: Vec::new() })
    }

    /// The next bytes of the body; `None` at its end.
    ///
    /// # Errors
    /// When the connection fails before the end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Vec<u8>>> {
        if !self.pending.is_empty() {
            return Ok(Some(std::mem::take(&mut self.pending)));
        }
        let chunk = self.receive.read_chunk(CHUNK_BYTES_MAX, true).await.context("the answer broke off")?;
        Ok(chunk.map(|chunk| chunk.bytes.to_vec()))
    }

    /// The next line of the body without its end; `None` at the end of the body.
    ///
    /// # Errors
    /// When the connection fails, or a line exceeds the largest answer.
    pub(crate) async fn line(&mut self) -> Result<Option<Vec<u8>>> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.pending[searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.pending.split_off(searched + end + 1);
                let mut line = std::mem::replace(&mut self.pending, rest);
                line.pop();
                return Ok(Some(line));
            }
            searched = self.pending.len();
            match self.receive.read_chunk(CHUNK_BYTES_MAX, true).await.context("the answer broke off")? {
                Some(chunk) => self.append(&chunk.bytes)?,
                None if self.pending.is_empty() => return Ok(None),
                None => return Ok(Some(std::mem::take(&mut self.pending))),
            }
        }
    }

    /// The whole body.
    ///
    /// # Errors
    /// When the connection fails, or the body exceeds the largest answer.
    pub(crate) async fn bytes(mut self) -> Result<Vec<u8>> {
        while let Some(chunk) =
            self.receive.read_chunk(CHUNK_BYTES_MAX, true).await.context("the answer broke off")?
        {
            self.append(&chunk.bytes)?;
        }
        Ok(self.pending)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if self.pending.len() + bytes.len() > BODY_BYTES_MAX {
            bail!("the server's answer exceeds {BODY_BYTES_MAX} bytes");
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }
}

const CHUNK_BYTES_MAX: usize = 64 << 10;

/// A page of 500 objects of the largest size, and then some.
const BODY_BYTES_MAX: usize = 1 << 30;
