//! Kinds of the group `events.k8s.io`.

mod event;

use super::Kind;

/// Kinds of this group, in the order of discovery.
pub(super) static KINDS: &[&Kind] = &[&event::KIND];
