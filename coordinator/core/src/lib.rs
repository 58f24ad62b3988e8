//! What the coordinator decides: the cluster view, controllers, the scheduler, and how pods are lowered for nodes.
//!
//! No sockets, clocks, threads or disks: values in, values out.
#![forbid(unsafe_code)]

pub mod account;
pub mod amounts;
pub mod authorizer;
pub mod base64url;
pub mod blueprint;
pub mod budget;
pub mod controllers;
pub mod deletion;
pub mod dispatch;
pub mod eviction;
pub mod image;
pub mod lower;
pub mod mirror;
pub mod namespace_status;
pub mod node_identity;
pub mod node_lease;
pub mod node_status;
pub mod pod_status;
pub mod reconciler;
pub mod restore;
pub mod scheduler;
pub mod times;
pub mod usage;
pub mod view;
pub mod volume_claim;

pub use view::{ObjectKey, View};
