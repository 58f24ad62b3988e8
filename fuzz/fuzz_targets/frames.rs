//! Any bytes, cut into frames and decoded as their kinds say. What decodes must encode to something that decodes to the same bytes.

#![no_main]

use dunlin_link::{frame::Decoder, limits::REPORT_FRAME_BYTES_MAX};
use libfuzzer_sys::fuzz_target;

#[path = "../../link/tests/it/every_kind.rs"]
mod every_kind;

fuzz_target!(|bytes: &[u8]| {
    let mut input = bytes;
    let mut decoder = Decoder::new(REPORT_FRAME_BYTES_MAX);
    while !input.is_empty() {
        match decoder.feed(&mut input) {
            Ok(Some(frame)) => check(&frame),
            Ok(None) => {}
            Err(_) => return,
        }
    }
});

/// Encoding is canonical: what a decoded frame encodes to is a fixed point.
fn check(frame: &dunlin_link::frame::Frame) {
    let Some(Ok(encoded)) = every_kind::reencode(frame) else { return };
    let again =
        Decoder::new(usize::MAX).feed(&mut encoded.as_slice()).expect("our own frame").expect("whole");
    let again = every_kind::reencode(&again).expect("our own kind").expect("our own body");
    assert_eq!(encoded, again);
}
