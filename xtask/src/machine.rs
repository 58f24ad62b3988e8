//! The kinds of machines that a binary is built for, and how cargo builds for another kind than this machine's: with a standard library
//! for it and Debian's cross compiler.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{
    packages, step,
    toolchain::{self, Toolchain},
};

/// A kind of machine.
#[derive(Debug)]
pub(crate) struct Machine {
    /// As Kubernetes calls it, in `kubernetes.io/arch`.
    pub(crate) name: &'static str,
    /// As Rust calls it.
    pub(crate) triple: &'static str,
    /// Compiles C and links for it from other kinds of machines.
    compiler: &'static str,
    /// Debian's packages for that, and a file by which each is known.
    packages: [(&'static str, &'static str); 2],
}

/// AMD and Intel, 64 bits.
pub(crate) const AMD64: Machine = Machine {
    name: "amd64",
    triple: "x86_64-unknown-linux-gnu",
    compiler: "x86_64-linux-gnu-gcc",
    packages: [
        ("gcc-x86-64-linux-gnu", "/usr/bin/x86_64-linux-gnu-gcc"),
        ("libc6-dev-amd64-cross", "/usr/x86_64-linux-gnu/include/stdio.h"),
    ],
};

/// ARM, 64 bits.
pub(crate) const ARM64: Machine = Machine {
    name: "arm64",
    triple: "aarch64-unknown-linux-gnu",
    compiler: "aarch64-linux-gnu-gcc",
    packages: [
        ("gcc-aarch64-linux-gnu", "/usr/bin/aarch64-linux-gnu-gcc"),
        ("libc6-dev-arm64-cross", "/usr/aarch64-linux-gnu/include/stdio.h"),
    ],
};

impl Machine {
    /// Whether this machine is one.
    pub(crate) fn is_here(&self) -> bool {
        self.triple.starts_with(std::env::consts::ARCH)
    }

    /// The toolchain that builds for it.
    ///
    /// # Errors
    /// When it has no standard library for it and none can be had.
    pub(crate) fn toolchain(&self) -> Result<Toolchain> {
        toolchain::for_targets(&[self.triple], &step::target_dir())
    }

    /// The program that takes from binaries for it what they do not need to run.
    pub(crate) fn strip(&self) -> String {
        if self.is_here() { "strip".to_owned() } else { self.compiler.replace("-gcc", "-strip") }
    }

    /// A cargo that builds for it, after installing what that takes; the target is named by its arguments.
    ///
    /// # Errors
    /// When something is not there and cannot be installed.
    pub(crate) fn cargo(&self, toolchain: &Toolchain) -> Result<Command> {
        let mut cargo = toolchain.cargo();
        cargo.current_dir(step::root());
        if !self.is_here() {
            for (package, file) in self.packages {
                packages::require(package, file)
                    .with_context(|| format!("cannot build for {} here", self.name))?;
            }
            let name = self.triple.replace('-', "_");
            cargo.env(format!("CARGO_TARGET_{}_LINKER", name.to_uppercase()), self.compiler);
            cargo.env(format!("CC_{name}"), self.compiler);
        }
        Ok(cargo)
    }
}
