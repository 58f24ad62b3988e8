//! One tool for all chores of the repository.
#![forbid(unsafe_code)]
#![expect(clippy::print_stderr, reason = "a tool for a person at a terminal")]

use std::{env, path::PathBuf};

mod build_workloads;

fn main() -> anyhow::Result<()> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().map(PathBuf::from).unwrap_or_default();
    let target_dir = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    match env::args().nth(1).as_deref() {
        Some("build-workloads") => {
            for file in build_workloads::run(&root, &target_dir)? {
                eprintln!("{}", file.display());
            }
            Ok(())
        }
        _ => anyhow::bail!("usage: cargo xtask build-workloads"),
    }
}
