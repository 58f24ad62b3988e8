//! The process that runs the Linux containers of one pod: `dunlin shim`..

pub use dunlin_oci_shim::main;
