//! From bytes to frames.

use bytes::{Buf as _, Bytes, BytesMut};

use super::{
    CONTROL, CONTROL_BYTES_MAX, FLAG_FIN, Fault, GOAWAY, HEAD_BYTES, HEADERS, LENGTH_MASK, PING, RST_STREAM,
    STREAM_MASK, SYN_STREAM, VERSION, compression::Inflater, headers::Headers,
};

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::service) enum Frame {
    /// A stream begins.
    Open { stream: u32, headers: Headers, side: Side },
    /// Bytes of a stream, a piece of a frame.
    Data { stream: u32, bytes: Bytes, side: Side },
    /// More headers, of which nothing but the end counts.
    Headers { stream: u32, side: Side },
    /// A stream is given up.
    Reset { stream: u32 },
    /// Wants an answer, or is one.
    Ping { id: u32 },
    /// There will be no more streams.
    GoAway,
    /// Something else.
    Other,
}

/// Whether more comes from the client's side of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::service) enum Side {
    /// Yes.
    Open,
    /// No.
    Ended,
}

/// Reads frames; one for each connection, because headers are compressed one after the other.
#[derive(Debug, Default)]
pub(in crate::service) struct Decoder {
    inflater: Inflater,
    /// A frame of data of which not all is there yet.
    data: Option<Data>,
}

#[derive(Debug)]
struct Data {
    stream: u32,
    left: usize,
    side: Side,
}

impl Side {
    const fn of(flags: u8) -> Self {
        if flags & FLAG_FIN == 0 { Self::Open } else { Self::Ended }
    }
}

impl Decoder {
    /// Takes the next frame from what was read; `None` when more has to be read. What waits then is less than a control frame.
    ///
    /// # Errors
    /// When it is no SPDY, after which nothing more can be read.
    pub(in crate::service) fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, Fault> {
        if self.data.is_some() {
            return Ok(self.piece(buffer));
        }
        let Some((first, second)) = words(buffer) else { return Ok(None) };
        let length = usize::try_from(second & LENGTH_MASK).map_err(|_| Fault::ControlBytes)?;
        let [flags, ..] = second.to_be_bytes();
        if first & CONTROL == 0 {
            buffer.advance(HEAD_BYTES);
            self.data = Some(Data { stream: first, left: length, side: Side::of(flags) });
            return Ok(self.piece(buffer));
        }
        let [_, _, kind @ ..] = first.to_be_bytes();
        if (first & STREAM_MASK) >> 16 != u32::from(VERSION) {
            return Err(Fault::Version);
        }
        if length > CONTROL_BYTES_MAX {
            return Err(Fault::ControlBytes);
        }
        if buffer.len() < HEAD_BYTES + length {
            return Ok(None);
        }
        buffer.advance(HEAD_BYTES);
        let body = buffer.split_to(length);
        self.control(u16::from_be_bytes(kind), Side::of(flags), &body).map(Some)
    }

    fn control(&mut self, kind: u16, side: Side, mut body: &[u8]) -> Result<Frame, Fault> {
        Ok(match kind {
            SYN_STREAM => {
                let stream = word(&mut body)? & STREAM_MASK;
                // Of another stream that it belongs to, its priority and its slot.
                let (_rest, block) = body.split_first_chunk::<6>().ok_or(Fault::Short)?;
                Frame::Open { stream, headers: Headers::read(&self.inflater.block(block)?)?, side }
            }
            HEADERS => {
                let stream = word(&mut body)? & STREAM_MASK;
                // Those after it cannot be read without.
                self.inflater.block(body)?;
                Frame::Headers { stream, side }
            }
            RST_STREAM => Frame::Reset { stream: word(&mut body)? & STREAM_MASK },
            PING => Frame::Ping { id: word(&mut body)? },
            GOAWAY => Frame::GoAway,
            _ => Frame::Other,
        })
    }

    /// The next piece of a frame of data.
    fn piece(&mut self, buffer: &mut BytesMut) -> Option<Frame> {
        let data = self.data.as_mut()?;
        let count = data.left.min(buffer.len()).min(PIECE_BYTES_MAX);
        if count == 0 && data.left > 0 {
            return None;
        }
        data.left -= count;
        let (stream, is_whole) = (data.stream, data.left == 0);
        let side = if is_whole { data.side } else { Side::Open };
        if is_whole {
            self.data = None;
        }
        Some(Frame::Data { stream, bytes: Bytes::copy_from_slice(&buffer.split_to(count)), side })
    }
}

/// The head of a frame, which is left where it is.
fn words(buffer: &BytesMut) -> Option<(u32, u32)> {
    let (first, rest) = buffer.split_first_chunk()?;
    let second = rest.first_chunk()?;
    Some((u32::from_be_bytes(*first), u32::from_be_bytes(*second)))
}

fn word(body: &mut &[u8]) -> Result<u32, Fault> {
    let (bytes, rest) = body.split_first_chunk().ok_or(Fault::Short)?;
    *body = rest;
    Ok(u32::from_be_bytes(*bytes))
}

/// Frames of data may be of any length; they are taken in pieces.
pub(in crate::service) const PIECE_BYTES_MAX: usize = 16 << 10;
