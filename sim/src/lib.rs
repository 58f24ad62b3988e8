//! A deterministic simulator: one coordinator and many nodes in one thread, on virtual time, with faults drawn from a seed.
//!
//! The parts under test are the real ones: desired sets, reconciler, controllers, scheduler, merges, both sessions of the link with
//! its frames, and the node's core. Disks, network, runners, clocks and clients are models. See `docs/design/sim.md`.
#![forbid(unsafe_code)]

mod agenda;
mod context;
mod coordinator;
mod keys;
mod network;
mod node;
mod oracle;
mod plant;
mod shape;
mod store;
mod trace;
mod world;

pub use plant::Plant;
pub use world::{Options, Report, Violation, run};
