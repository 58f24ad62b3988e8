//! The coordinator's shell: store, API service, QUIC endpoint, node sessions, and the driver of controllers and scheduler.
//!
//! Decisions are in `coordinator-core`, `api` and `link`; this crate does what they decide.

#![forbid(unsafe_code)]

pub mod account_keys;
pub mod artifacts;
pub mod authn;
pub mod backup;
pub mod compiling;
pub mod config;
pub mod coordinator;
pub mod dispatch;
pub mod driver;
pub mod events;
mod folders;
pub mod founding;
pub mod front;
pub mod https;
pub mod intake;
pub mod members;
mod metrics;
pub mod mirrors;
pub mod pki;
pub mod quic;
pub mod server_time;
pub mod service;
pub mod sessions;
pub mod store;
pub mod tokens;

pub use dunlin_compiler::Compiler;

pub use config::{CoordinatorArgs, CoordinatorConfig};
/// For lists of rules, which the command line shows as Kubernetes' tools do.
pub use dunlin_coordinator_core::authorizer;
/// For static pods, which are lowered without a coordinator.
pub use dunlin_coordinator_core::lower;

pub use coordinator::{ClientAccess, Coordinator, StartError};
