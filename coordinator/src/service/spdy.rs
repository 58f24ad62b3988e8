//! SPDY/3.1, as far as Kubernetes' clients speak it: streams both ways on one connection, opened by the client, each with headers.
//!
//! This is the framing alone, from bytes to frames and back, within bounds; what streams are for is said where they are served. Flow
//! control is left out: the one library that speaks SPDY to API servers keeps no windows and heeds none, so that what holds a sender back
//! is the connection. Frames about windows are read and passed over.

mod compression;
mod decoder;
mod dictionary;
mod headers;

pub(super) use self::{
    decoder::{Decoder, Frame, PIECE_BYTES_MAX, Side},
    headers::Headers,
};

use self::compression::Deflater;

/// Why bytes are no SPDY, or more than is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("a control frame of another version than 3")]
    Version,
    #[error("a control frame of more than {CONTROL_BYTES_MAX} bytes")]
    ControlBytes,
    #[error("a control frame that is cut short")]
    Short,
    #[error("headers that cannot be decompressed")]
    Compression,
    #[error("headers of more than {HEADERS_BYTES_MAX} bytes")]
    HeaderBytes,
    #[error("more than {HEADERS_MAX} headers")]
    HeaderCount,
    #[error("headers that are malformed")]
    Headers,
}

/// What a stream is refused or given up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Refusal {
    /// It breaks the rules.
    Protocol = 1,
    /// It is not wanted.
    Refused = 3,
}

/// Makes frames; one for each connection, because headers are compressed one after the other.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    deflater: Deflater,
}

impl Encoder {
    /// Accepts a stream, with no headers.
    pub(super) fn reply(&mut self, stream: u32) -> Vec<u8> {
        let mut body = stream.to_be_bytes().to_vec();
        let none = 0_u32.to_be_bytes();
        body.extend_from_slice(&self.deflater.block(&none));
        control(SYN_REPLY, &body)
    }
}

/// Bytes of a stream, at most [`PIECE_BYTES_MAX`].
pub(super) fn data(stream: u32, bytes: &[u8]) -> Vec<u8> {
    data_frame(stream, bytes, 0)
}

/// The end of one side of a stream.
pub(super) fn end(stream: u32) -> Vec<u8> {
    data_frame(stream, &[], FLAG_FIN)
}

/// Refuses or gives up a stream.
pub(super) fn reset(stream: u32, refusal: Refusal) -> Vec<u8> {
    control(RST_STREAM, &[stream.to_be_bytes(), (refusal as u32).to_be_bytes()].concat())
}

/// Asks for an answer, or is one. Odd numbers are the client's.
pub(super) fn ping(id: u32) -> Vec<u8> {
    control(PING, &id.to_be_bytes())
}

fn data_frame(stream: u32, bytes: &[u8], flags: u8) -> Vec<u8> {
    frame(stream & STREAM_MASK, bytes, flags)
}

fn control(kind: u16, body: &[u8]) -> Vec<u8> {
    frame(CONTROL | u32::from(VERSION) << 16 | u32::from(kind), body, 0)
}

fn frame(first: u32, body: &[u8], flags: u8) -> Vec<u8> {
    // None is longer than a piece.
    let length = u32::try_from(body.len()).unwrap_or(LENGTH_MASK) & LENGTH_MASK;
    let second = u32::from(flags) << 24 | length;
    let mut bytes = Vec::with_capacity(HEAD_BYTES + body.len());
    bytes.extend_from_slice(&first.to_be_bytes());
    bytes.extend_from_slice(&second.to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Of a frame, before its body.
const HEAD_BYTES: usize = 8;

/// Says that a frame is none of data.
const CONTROL: u32 = 1 << 31;

const STREAM_MASK: u32 = CONTROL - 1;

/// The length's part of the second word.
const LENGTH_MASK: u32 = 0xff_ffff;

const VERSION: u16 = 3;

/// Nothing more comes from this side.
const FLAG_FIN: u8 = 1;

/// Kinds of control frames.
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;

/// Largest body of a control frame: many times what clients send, which have three short headers.
const CONTROL_BYTES_MAX: usize = 16 << 10;

/// The headers of one frame, decompressed.
const HEADERS_BYTES_MAX: usize = 32 << 10;

/// The same in pairs.
const HEADERS_MAX: usize = 64;

#[cfg(test)]
pub(super) mod tests;
