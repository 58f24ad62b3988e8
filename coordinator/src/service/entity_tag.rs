//! Entity tags: what a client shows to learn whether an answer that it has is still the one it would get.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha512};

/// The tag of an answer: a hash of its bytes, as Kubernetes makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntityTag(String);

/// The tag of an answer made of these parts.
pub(super) fn entity_tag<P: AsRef<[u8]>>(parts: impl IntoIterator<Item = P>) -> EntityTag {
    let mut hash = Sha512::new();
    for part in parts {
        hash.update(part);
    }
    let mut tag = String::with_capacity(2 * <Sha512 as sha2::Digest>::output_size());
    for byte in hash.finalize() {
        // Writing to a string cannot fail.
        let _ = write!(tag, "{byte:02X}");
    }
    EntityTag(tag)
}

impl EntityTag {
    /// Without quotes, as links carry it.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// As the header holds it.
    pub(super) fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }
}
