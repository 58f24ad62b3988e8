//! The node's shell: session with the coordinator, local state, pod workers, modules, logs, and the runner process.
//!
//! Decisions are in `edge-node-core` and `link`; wasmtime is known only to `wasm-host`.
#![forbid(unsafe_code)]

mod agent;
mod app_armor;
mod buckets;
mod compiled;
pub mod config;
pub mod console;
mod containers;
pub mod doctor;
mod edge_node;
mod facts;
mod folders;
mod frames;
mod health;
mod images;
mod local;
mod logs;
mod lookout;
mod modules;
mod pod_network;
mod preload;
mod prober;
pub mod runner;
#[cfg(test)]
mod sample;
mod sandbox;
pub mod server_time;
pub mod session;
pub mod shim;
mod sockets;
mod statics;
mod usage;
mod volumes;

pub use self::{
    compiled::CompileMode,
    edge_node::{EdgeNode, Guests, StartError},
    images::ImageBounds,
    local::{
        MalformedRecord, OpenError,
        reset::{self, ResetError},
    },
    pod_network::{BlockClaim, gateway},
    statics::{ManifestParser, ParsedManifest, RejectedManifest, ResolveImage},
};
