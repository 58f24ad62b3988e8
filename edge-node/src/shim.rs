//! The process that runs the Linux containers of one pod: `dunlin shim`, which in a release is a small program of its own inside the binary
//! (`build.rs`).

use dunlin_oci_shim::Program;

pub use dunlin_oci_shim::main;

/// What shims are started from.
pub(crate) fn program() -> Program {
    if EMBEDDED.is_empty() {
        return Program::of_this_process();
    }
    Program::in_memory(EMBEDDED).unwrap_or_else(|error| {
        tracing::warn!(%error, "this machine runs no programs from memory; shims are the whole binary, and take more of it");
        Program::of_this_process()
    })
}

/// The small program; empty where the build was given none.
const EMBEDDED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/shim"));
