//! Kinds of the group `flowcontrol.apiserver.k8s.io`.

mod flow_schema;
mod priority_level_configuration;

use super::Kind;

/// Kinds of this group, in the order of discovery.
pub(super) static KINDS: &[&Kind] = &[&flow_schema::KIND, &priority_level_configuration::KIND];

/// Why these kinds do nothing yet.
const INERT: Option<&str> = Some("requests are not queued by it yet");
