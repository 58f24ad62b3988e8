//! Which large pages a node's machine keeps. Told in an extension of `Hello`, which older coordinators skip.

use crate::{Bytes, codec, message::Extension};

/// As it travels: bytes of a page, bytes of all pages of that size.
pub fn to_extension(pages: &[(Bytes, Bytes)]) -> Extension {
    Extension { tag: HUGE_PAGES_TAG, bytes: codec::encode(&pages) }
}

/// Finds it among extensions. What cannot be read, or has more sizes than any processor, is as good as not told.
pub fn find(extensions: &[Extension]) -> Vec<(Bytes, Bytes)> {
    let extension = extensions.iter().find(|extension| extension.tag == HUGE_PAGES_TAG);
    let bytes = extension.map(|extension| &extension.bytes).filter(|bytes| bytes.len() <= TOLD_BYTES_MAX);
    bytes.and_then(|bytes| codec::decode(bytes).ok()).unwrap_or_default()
}

/// Tag of the extension of `Hello`.
pub const HUGE_PAGES_TAG: u16 = 4;

/// Encoded bytes that are believed: room for a dozen sizes.
const TOLD_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_found_and_what_is_too_long_is_not() {
        let pages = [(Bytes(2 << 20), Bytes(64 << 20)), (Bytes(1 << 30), Bytes(0))];
        assert_eq!(find(&[to_extension(&pages)]), pages);
        assert_eq!(find(&[to_extension(&[pages[0]; 100])]), []);
        assert_eq!(find(&[Extension { tag: HUGE_PAGES_TAG, bytes: vec![9] }]), []);
        assert_eq!(find(&[]), []);
    }
}
