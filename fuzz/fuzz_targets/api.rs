//! Any bytes for every decoder of the API: the first byte chooses one.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../api/tests/it/decoders.rs"]
mod decoders;

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, rest)) = bytes.split_first() else { return };
    let (_, decode) = decoders::ALL[usize::from(first) % decoders::ALL.len()];
    decode(rest);
});
