//! A block of headers: their number, then names and values, each after its length.

use super::{Fault, HEADERS_MAX};

/// Headers of a stream, with names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::service) struct Headers(Vec<(String, String)>);

impl Headers {
    /// Reads a decompressed block.
    pub(super) fn read(mut block: &[u8]) -> Result<Self, Fault> {
        let count = number(&mut block)?;
        if count > HEADERS_MAX {
            return Err(Fault::HeaderCount);
        }
        let mut pairs = Vec::with_capacity(count);
        for _ in 0..count {
            let name = text(&mut block)?.to_ascii_lowercase();
            pairs.push((name, text(&mut block)?.to_owned()));
        }
        if block.is_empty() { Ok(Self(pairs)) } else { Err(Fault::Headers) }
    }

    /// The value of a header, empty when it is not there.
    pub(in crate::service) fn text(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }
}

fn number(block: &mut &[u8]) -> Result<usize, Fault> {
    let (bytes, rest) = block.split_first_chunk().ok_or(Fault::Headers)?;
    *block = rest;
    usize::try_from(u32::from_be_bytes(*bytes)).map_err(|_| Fault::Headers)
}

fn text<'b>(block: &mut &'b [u8]) -> Result<&'b str, Fault> {
    let length = number(block)?;
    let (bytes, rest) = block.split_at_checked(length).ok_or(Fault::Headers)?;
    *block = rest;
    std::str::from_utf8(bytes).map_err(|_| Fault::Headers)
}
