//! Kinds of the group `scheduling.k8s.io`.

mod priority_class;

pub use self::priority_class::SYSTEM_PRIORITY_CLASSES;

use super::Kind;

/// Kinds of this group, in the order of discovery.
pub(super) static KINDS: &[&Kind] = &[&priority_class::KIND];
