//! Kinds of the group `policy`.

mod eviction;
mod pod_disruption_budget;

pub use self::eviction::EVICTION;
use super::Kind;

/// Kinds of this group, in the order of discovery.
pub(super) static KINDS: &[&Kind] = &[&pod_disruption_budget::KIND];
