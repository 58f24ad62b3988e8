//! The contract between coordinator, nodes and command line: ids, lowered pods, status, frames and the session machines.
//!
//! This crate decides and encodes; it never opens a socket, reads a clock or draws randomness of its own. It is the only crate
//! that names postcard, and it owns the id types that every other crate shares.

#![forbid(unsafe_code)]

pub mod assignment;
pub mod backoff;
pub mod bandwidth;
pub mod care;
mod causes;
pub mod codec;
pub mod compiled;
pub mod container_support;
pub mod digest;
pub mod egress;
pub mod ephemeral;
pub mod exec;
pub mod frame;
pub mod guest;
pub mod health;
pub mod held;
pub mod huge_pages;
pub mod ids;
pub mod join;
pub mod labels;
pub mod limits;
pub mod linux;
pub mod logs;
pub mod message;
pub mod moment;
pub mod namespaces;
pub mod node_network;
pub mod node_state;
pub mod pod;
pub mod reference;
pub mod resources;
pub mod restore;
pub mod rpc;
pub mod sealed;
pub mod session;
pub mod statics;
pub mod status;
pub mod stream;
pub mod tokens;
pub mod usage;
pub mod volume_images;
pub mod volumes;

pub use causes::with_causes;
pub use digest::Digest;
pub use ids::{BootId, Bytes, ContainerId, MilliCpu, NodeName, PodUid, Revision, UnixMillis};
