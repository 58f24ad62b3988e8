//! Role-based access control: who may do what, by the roles and bindings of the cluster.
//!
//! [`Index`] is fed with roles and bindings as they are stored and answers for any request; [`covers`] says whether who hands out rights
//! has them; [`policy`] is what a new cluster begins with. Nothing here knows requests, users' credentials or the store.

mod aggregate;
mod attributes;
pub mod covers;
mod index;
pub mod policy;
mod rules;

pub use self::{
    aggregate::aggregated_rules,
    attributes::{Attributes, Target, Who},
    index::{Granted, Index, RoleRef, Unresolved},
    rules::{PolicyRule, Rules},
};

/// The API group of roles and bindings.
pub const GROUP: &str = "rbac.authorization.k8s.io";
