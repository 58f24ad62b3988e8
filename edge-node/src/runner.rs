//! The runner: hosts all WASM containers of a node, outlives the agent, and speaks sandbox messages over a unix socket.
//!
//! [`main`] is the process, [`InProcess`] the same table of containers driven through channels where agent and guests may share a
//! process, and [`compile_main`] the short-lived process that compiles one module. An agent that connects is told every container
//! that exists; one agent at a time, the newest wins. Pods, restarts and images are the agent's business.

mod compile;
mod container;
mod containers;
mod core_file;
mod files;
mod in_process;
mod log;
mod modules;
mod process;
mod settings;
mod socket;
mod streams;
mod tap;
mod tee;

#[cfg(test)]
mod tests;

use dunlin_wasm_host::{HAS_COMPILER, Target, WASMTIME_VERSION};

pub use dunlin_compiler::Compiler;

pub use self::{
    compile::{CompileArgs, compile_main},
    in_process::{InProcess, SharedHost, StartError},
    log::LogBounds,
    modules::OwnCode,
    process::{RunnerArgs, main},
};

/// Key of the target that this machine runs code of, if any is compiled for machines like this one.
pub(crate) fn target() -> Option<String> {
    Target::of_this_machine().ok().map(Target::key)
}

/// This very program as a compiler, unless it was built without.
pub fn own_compiler() -> Option<Compiler> {
    HAS_COMPILER.then(Compiler::this_program)
}

/// What containers run in, as `status.nodeInfo.containerRuntimeVersion` names it.
pub fn runtime_version() -> String {
    format!("wasmtime://{WASMTIME_VERSION}")
}
