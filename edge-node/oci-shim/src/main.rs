//! `dunlin shim` as a program of its own, which a release of `dunlin` has inside: a pod costs the memory of this one, not of the whole.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    // Called as the whole binary would be: `dunlin shim OPTIONS`.
    dunlin_oci_shim::main(std::env::args_os().skip(2))
}
