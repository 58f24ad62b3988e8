//! Kinds of the group `coordination.k8s.io`.

mod lease;

use super::Kind;

/// Kinds of this group, in the order of discovery.
pub(super) static KINDS: &[&Kind] = &[&lease::KIND];
