//! The process that runs the Linux containers of one pod: `dunlin shim`. No agent starts one yet.

pub use dunlin_oci_shim::main;
