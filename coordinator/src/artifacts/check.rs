//! Validation of a received module by the rules of WebAssembly, so that nothing truncated or malformed is ever stored.
//!
//! Whether a node can run it depends on the node's runtime and is said there; what no runtime can run is refused here.

use std::io::{self, Read};

use wasmparser::{BinaryReaderError, Chunk, FuncValidatorAllocations, Parser, ValidPayload, Validator};

/// Why a module is not valid.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckError {
    /// It breaks a rule of the format.
    #[error("{0}")]
    Invalid(#[from] BinaryReaderError),
    /// It could not be read back.
    #[error("failed to read the module back")]
    Read(#[source] io::Error),
}

/// Reads a whole module or component and checks it. Keeps one section in memory at a time, function bodies apart.
pub(super) fn check(mut content: impl Read) -> Result<(), CheckError> {
    let mut validator = Validator::new();
    let mut allocations = FuncValidatorAllocations::default();
    let mut parser = Parser::new(0);
    let mut parents = Vec::new();
    let mut window = Window::default();
    loop {
        let (payload, consumed) = match parser.parse(window.unread(), window.at_end)? {
            Chunk::NeedMoreData(_) => {
                window.fill(&mut content).map_err(CheckError::Read)?;
                continue;
            }
            Chunk::Parsed { consumed, payload } => (payload, consumed),
        };
        match validator.payload(&payload)? {
            ValidPayload::Func(function, body) => {
                let mut function = function.into_validator(allocations);
                function.validate(&body)?;
                allocations = function.into_allocations();
            }
            ValidPayload::Parser(inner) => parents.push(std::mem::replace(&mut parser, inner)),
            ValidPayload::End(_) => match parents.pop() {
                Some(parent) => parser = parent,
                None => return Ok(()),
            },
            ValidPayload::Ok => {}
        }
        window.consume(consumed);
    }
}

/// The bytes that were read and not yet parsed.
#[derive(Default)]
struct Window {
    bytes: Vec<u8>,
    start: usize,
    at_end: bool,
}

impl Window {
    fn unread(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
    }

    fn fill(&mut self, content: &mut impl Read) -> io::Result<()> {
        self.bytes.drain(..self.start);
        self.start = 0;
        // Twice as much each time, so that a large section is not copied again for every chunk of it.
        let wanted = self.bytes.len().max(CHUNK_BYTES);
        let read = content.take(wanted as u64).read_to_end(&mut self.bytes)?;
        self.at_end = read < wanted;
        Ok(())
    }
}

/// What is read at a time, at least.
const CHUNK_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// A core module with one function `() -> i32`, and its code section of one body.
    const MODULE: &[u8] =
        b"\0asm\x01\0\0\0\x01\x05\x01\x60\0\x01\x7f\x03\x02\x01\0\x0a\x06\x01\x04\0\x41\x2a\x0b";

    #[test]
    fn whole_modules_pass_and_every_truncation_is_refused() {
        check(MODULE).unwrap();
        for length in 9..MODULE.len() {
            // A cut between two sections may leave a whole, smaller module: only without its code is this one inconsistent.
            let is_whole = length == 8 + 7;
            assert_eq!(check(&MODULE[..length]).is_ok(), is_whole, "{length}");
        }
    }

    #[test]
    fn bodies_and_nested_modules_are_validated() {
        let mut ill_typed = MODULE.to_vec();
        // `f32.const` needs four bytes and has another type than the function.
        let at = ill_typed.len() - 3;
        ill_typed[at] = 0x43;
        assert!(matches!(check(ill_typed.as_slice()), Err(CheckError::Invalid(_))));

        let component = |inner: &[u8]| {
            let mut bytes = b"\0asm\x0d\0\x01\0\x01".to_vec();
            bytes.push(u8::try_from(inner.len()).unwrap());
            bytes.extend_from_slice(inner);
            bytes
        };
        check(component(MODULE).as_slice()).unwrap();
        assert!(check(component(&ill_typed).as_slice()).is_err());
    }
}
