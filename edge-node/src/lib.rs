//! The node's shell: session with the coordinator, local state, pod workers, modules, logs, and the runner process.
//!
//! Decisions are in `edge-node-core` and `link`; wasmtime is known only to `wasm-host`.

pub mod agent;
pub mod runner;
pub mod session;
