//! Frames: `u32` length of the body, `u16` kind, body; all numbers little-endian. Knows nothing of what a body means.
//!
//! A length is compared with the limit of its place before anything is allocated, and memory grows only as bytes arrive.

use std::fmt;

use serde::{Serialize, de::DeserializeOwned};

use crate::codec::{self, DecodeError};

/// Bytes before the body.
pub const HEADER_BYTES: usize = 6;

/// What a frame's body is. Numbers are never reused; see `docs/design/link.md`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u16);

/// A struct that is the body of exactly one kind of frame. Once released it never changes.
pub trait Message: Serialize + DeserializeOwned {
    /// Its kind.
    const KIND: Kind;
}

/// Encodes a whole frame.
pub fn encode<M: Message>(message: &M) -> Vec<u8> {
    let body = codec::encode(message);
    let length = u32::try_from(body.len()).expect("no message of ours comes near 4 GiB");
    let mut frame = Vec::with_capacity(HEADER_BYTES + body.len());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&M::KIND.0.to_le_bytes());
    frame.extend_from_slice(&body);
    frame
}

/// The start of a frame, for readers that fetch exactly as many bytes as they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the body is.
    pub kind: Kind,
    /// Length of the body, within the limit.
    pub body_bytes: usize,
}

impl Header {
    /// Reads a header.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] when the body would exceed `body_bytes_max`.
    pub fn decode(bytes: [u8; HEADER_BYTES], body_bytes_max: usize) -> Result<Self, FrameError> {
        let [a, b, c, d, e, f] = bytes;
        let kind = Kind(u16::from_le_bytes([e, f]));
        let length = u32::from_le_bytes([a, b, c, d]);
        match usize::try_from(length) {
            Ok(body_bytes) if body_bytes <= body_bytes_max => Ok(Self { kind, body_bytes }),
            _ => Err(FrameError::TooLong { kind, length, body_bytes_max }),
        }
    }
}

/// One complete frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What the body is.
    pub kind: Kind,
    /// The encoded struct.
    pub body: Vec<u8>,
}

impl Frame {
    /// The body as the struct that the caller expects here.
    ///
    /// # Errors
    /// When the frame is of another kind, or its body is malformed.
    pub fn decode<M: Message>(&self) -> Result<M, FrameError> {
        if self.kind != M::KIND {
            return Err(FrameError::Unexpected { kind: self.kind });
        }
        codec::decode(&self.body).map_err(|source| FrameError::Malformed { kind: self.kind, source })
    }
}

/// Cuts a stream of bytes into frames, however the bytes are divided.
#[derive(Clone, Debug)]
pub struct Decoder {
    body_bytes_max: usize,
    header: [u8; HEADER_BYTES],
    header_filled: usize,
    body: Vec<u8>,
}

impl Decoder {
    /// A decoder for a place whose frames have bodies of at most `body_bytes_max`.
    pub const fn new(body_bytes_max: usize) -> Self {
        Self { body_bytes_max, header: [0; HEADER_BYTES], header_filled: 0, body: Vec::new() }
    }

    /// Takes bytes off the front of `input` until a frame is complete or the input is used up.
    ///
    /// # Errors
    /// [`FrameError::TooLong`]; the stream is then useless.
    pub fn feed(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, FrameError> {
        let missing = HEADER_BYTES - self.header_filled;
        let taken = take(input, missing);
        self.header[self.header_filled..self.header_filled + taken.len()].copy_from_slice(taken);
        self.header_filled += taken.len();
        if self.header_filled < HEADER_BYTES {
            return Ok(None);
        }
        let header = Header::decode(self.header, self.body_bytes_max)?;
        self.body.extend_from_slice(take(input, header.body_bytes - self.body.len()));
        if self.body.len() < header.body_bytes {
            return Ok(None);
        }
        self.header_filled = 0;
        Ok(Some(Frame { kind: header.kind, body: std::mem::take(&mut self.body) }))
    }

    /// Whether the bytes so far end at a frame's end, so that the stream may end here.
    pub const fn is_at_boundary(&self) -> bool {
        self.header_filled == 0
    }
}

/// Cuts up to `count` bytes off the front of `input`.
fn take<'a>(input: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(count.min(input.len()));
    *input = rest;
    taken
}

/// Why bytes are not the frame that was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The body would exceed the limit of its place.
    #[error("a frame of kind {kind} claims {length} bytes where at most {body_bytes_max} are allowed")]
    TooLong {
        /// Its kind.
        kind: Kind,
        /// What it claims.
        length: u32,
        /// The limit.
        body_bytes_max: usize,
    },
    /// Another kind of frame was expected here.
    #[error("a frame of kind {kind} is not expected here")]
    Unexpected {
        /// What came.
        kind: Kind,
    },
    /// The body is not an encoding of its kind's struct.
    #[error("the body of a frame of kind {kind} is malformed")]
    Malformed {
        /// Its kind.
        kind: Kind,
        /// What is wrong.
        #[source]
        source: DecodeError,
    },
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Busy;

    #[test]
    fn frames_survive_any_division_of_their_bytes() {
        let bytes = [encode(&Busy { retry_after_ms: 5 }), encode(&Busy { retry_after_ms: 1 << 40 })].concat();
        for chunk in 1..=bytes.len() {
            let mut decoder = Decoder::new(64);
            let mut frames = Vec::new();
            for mut input in bytes.chunks(chunk) {
                while !input.is_empty() {
                    frames.extend(decoder.feed(&mut input).unwrap());
                }
            }
            let delays: Vec<u64> =
                frames.iter().map(|frame| frame.decode::<Busy>().unwrap().retry_after_ms).collect();
            assert_eq!(delays, [5, 1 << 40], "chunks of {chunk}");
            assert!(decoder.is_at_boundary());
        }
    }

    #[test]
    fn a_length_over_the_limit_is_refused_by_its_header_alone() {
        let mut decoder = Decoder::new(100);
        let error = decoder.feed(&mut [101, 0, 0, 0, 3, 1].as_slice()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a frame of kind 0x0103 claims 101 bytes where at most 100 are allowed"
        );
    }

    #[test]
    fn a_claimed_length_allocates_nothing_before_bytes_come() {
        let mut decoder = Decoder::new(usize::MAX);
        assert!(decoder.feed(&mut [255, 255, 255, 127, 3, 1, 7].as_slice()).unwrap().is_none());
        assert!(decoder.body.capacity() < 1024);
    }
}
