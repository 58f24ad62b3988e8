//! Kinds of the group `discovery.k8s.io`.

mod endpoint_slice;

use super::Kind;

/// Kinds of this group, in the order of discovery.
pub(super) static KINDS: &[&Kind] = &[&endpoint_slice::KIND];
