//! Kinds of the group `autoscaling`. What is stored is version 2; version 1 says the rest in annotations.

mod behavior;
mod horizontal_pod_autoscaler;
mod metrics;
mod version_one;

use super::Kind;

/// Kinds of this group, in the order of discovery.
pub(super) static KINDS: &[&Kind] = &[&horizontal_pod_autoscaler::KIND, &version_one::KIND];
