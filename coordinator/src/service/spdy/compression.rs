//! Headers are compressed as one zlib stream for each direction, flushed after each frame.
//!
//! `flate2` has dictionaries with zlib in C only, so reading uses the inflater beneath it, whose window is begun with the dictionary. Writing
//! stores: all that is written are the empty headers of replies.

use std::fmt;

use miniz_oxide::inflate::{
    TINFLStatus,
    core::{DecompressorOxide, decompress, inflate_flags::TINFL_FLAG_HAS_MORE_INPUT},
};

use super::{
    Fault, HEADERS_BYTES_MAX,
    dictionary::{DICTIONARY_ID, dictionary},
};

/// Reads one direction. Made with the first headers, since it holds a window.
#[derive(Default)]
pub(super) struct Inflater {
    begun: Option<Begun>,
}

struct Begun {
    state: Box<DecompressorOxide>,
    /// What was decompressed last, around and around.
    window: Vec<u8>,
    at: usize,
}

/// Writes one direction.
#[derive(Debug, Default)]
pub(super) struct Deflater {
    begun: bool,
}

impl Inflater {
    /// The next piece, whole.
    pub(super) fn block(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Fault> {
        match &mut self.begun {
            Some(begun) => begun.block(bytes),
            None => {
                let rest = after_head(bytes).ok_or(Fault::Compression)?;
                let mut window = dictionary();
                let at = window.len();
                window.resize(WINDOW_BYTES, 0);
                self.begun.insert(Begun { state: Box::default(), window, at }).block(rest)
            }
        }
    }
}

impl Begun {
    fn block(&mut self, mut bytes: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut headers = Vec::new();
        loop {
            let (status, read, written) =
                decompress(&mut self.state, bytes, &mut self.window, self.at, TINFL_FLAG_HAS_MORE_INPUT);
            bytes = bytes.get(read..).ok_or(Fault::Compression)?;
            let end = self.at + written;
            if headers.len() + written > HEADERS_BYTES_MAX {
                return Err(Fault::HeaderBytes);
            }
            headers.extend_from_slice(self.window.get(self.at..end).ok_or(Fault::Compression)?);
            self.at = end % WINDOW_BYTES;
            match status {
                TINFLStatus::NeedsMoreInput if bytes.is_empty() => return Ok(headers),
                TINFLStatus::HasMoreOutput => {}
                // Such a stream has no end of its own.
                _ => return Err(Fault::Compression),
            }
        }
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inflater")
    }
}

/// What follows the head of a zlib stream (RFC 1950), if it is one that uses the dictionary or none.
fn after_head(bytes: &[u8]) -> Option<&[u8]> {
    let (&[method, flags], rest) = bytes.split_first_chunk()?;
    if method & 0x0f != DEFLATE || u16::from_be_bytes([method, flags]) % 31 != 0 {
        return None;
    }
    if flags & HAS_DICTIONARY == 0 { Some(rest) } else { rest.strip_prefix(&DICTIONARY_ID) }
}

impl Deflater {
    /// The next piece, at most 65,535 bytes.
    pub(super) fn block(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut block = Vec::new();
        if !self.begun {
            self.begun = true;
            block.extend_from_slice(&HEAD);
            block.extend_from_slice(&DICTIONARY_ID);
        }
        store(bytes, &mut block);
        // At an empty one inflaters hand out what they have, and do not look for more.
        store(&[], &mut block);
        block
    }
}

fn store(bytes: &[u8], block: &mut Vec<u8>) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    block.push(STORED);
    block.extend_from_slice(&length.to_le_bytes());
    block.extend_from_slice(&(!length).to_le_bytes());
    block.extend_from_slice(bytes);
}

/// The method, in the low bits of the first byte.
const DEFLATE: u8 = 8;

/// In the second byte.
const HAS_DICTIONARY: u8 = 1 << 5;

/// Deflate with a window of 32 KiB, with a dictionary.
const HEAD: [u8; 2] = [0x78, 0xbb];

/// A block that is not the last, and not compressed.
const STORED: u8 = 0;

/// The largest distance that deflate knows, and a power of two, as the inflater wants it.
const WINDOW_BYTES: usize = 32 << 10;
