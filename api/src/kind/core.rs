//! Kinds of the core group.

mod config_map;
mod event;
mod namespace;
mod node;
pub mod pod;
mod pod_template;
mod replication_controller;
mod secret;
mod service_account;

use super::Kind;

/// Kinds of this group, in the order of discovery.
pub(super) static KINDS: &[&Kind] = &[
    &config_map::KIND,
    &event::KIND,
    &namespace::KIND,
    &node::KIND,
    &pod::KIND,
    &pod_template::KIND,
    &replication_controller::KIND,
    &secret::KIND,
    &service_account::KIND,
];
