//! Kinds of the group `node.k8s.io`.

mod runtime_class;

use super::Kind;

/// Kinds of this group, in the order of discovery.
pub(super) static KINDS: &[&Kind] = &[&runtime_class::KIND];
