//! `emulated-node`: a node for ARM64 that tests run under user-mode emulation, in `target/emulated/dunlin`.
//!
//! It is built as cheaply as serves: without the compiler, which no such node needs, not optimised, and with the profile of tests, so that
//! what runs at build time is shared with them.

use std::fs;

use anyhow::{Context as _, Result};

use crate::{machine::ARM64, packages, step};

/// Builds it; says so when this machine cannot.
///
/// # Errors
/// When it does not compile.
pub(crate) fn build() -> Result<()> {
    if ARM64.is_here() {
        println!("no node is emulated: this machine is of the kind itself");
        return Ok(());
    }
    let cargo = packages::require("qemu-user-static", "/usr/bin/qemu-aarch64-static")
        .and_then(|()| ARM64.cargo(&ARM64.toolchain()?));
    let mut cargo = match cargo {
        Ok(cargo) => cargo,
        Err(error) => {
            println!("the node for ARM64 is not built; tests that need it skip: {error:#}");
            return Ok(());
        }
    };
    cargo.args(["build", "--package", "dunlin", "--no-default-features", "--locked"]);
    cargo.args(["--target", ARM64.triple]);
    // Of the node alone: with a target named, what runs at build time is built without these flags, as it is for everything else.
    cargo.env("RUSTFLAGS", "-Copt-level=0 -Cdebuginfo=0");
    step::run(&mut cargo)?;
    let folder = step::target_dir().join("emulated");
    fs::create_dir_all(&folder)?;
    let built = step::target_dir().join(ARM64.triple).join("debug/dunlin");
    fs::copy(&built, folder.join("dunlin"))
        .map(drop)
        .with_context(|| format!("failed to copy {}", built.display()))
}
