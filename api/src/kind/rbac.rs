//! Kinds of the group `rbac.authorization.k8s.io`.

mod binding;
mod role;

use super::Kind;

/// Kinds of this group, in the order of discovery.
pub(super) static KINDS: &[&Kind] =
    &[&binding::CLUSTER_ROLE_BINDING, &role::CLUSTER_ROLE, &binding::ROLE_BINDING, &role::ROLE];

/// The group.
const GROUP: &str = "rbac.authorization.k8s.io";
