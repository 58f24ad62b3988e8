//! Kinds of the group `scheduling.k8s.io`.

use super::Kind;

/// Kinds of this group, in the order of discovery.
pub(super) static KINDS: &[&Kind] = &[];
