//! Kinds of the group `node.k8s.io`.

use super::Kind;

/// Kinds of this group, in the order of discovery.
pub(super) static KINDS: &[&Kind] = &[];
