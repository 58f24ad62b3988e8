//! A shim by itself, for tests: what `dunlin shim` is, without the rest of the binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    dunlin_oci_shim::main(std::env::args_os().skip(1))
}
