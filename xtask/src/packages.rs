//! Packages of the system that tests make use of, installed by name where that is possible. A test that misses one says that it skips.

use std::{path::Path, process::Command};

use anyhow::Result;

/// Installs what is missing.
///
/// # Errors
/// Never: without packages there are fewer tests, and the output says so.
#[expect(clippy::unnecessary_wraps, reason = "all steps have one shape")]
pub(crate) fn install() -> Result<()> {
    for (package, file) in PACKAGES {
        if is_there(file) {
            continue;
        }
        let mut command = Command::new("apt-get");
        command.args(["install", "--yes", "--no-install-recommends", package]);
        let installed = command.env("DEBIAN_FRONTEND", "noninteractive").status();
        if !installed.is_ok_and(|status| status.success()) {
            println!("package {package} is not there and cannot be installed; tests that need it skip");
        }
    }
    Ok(())
}

/// Whether a file is below the library folder of any architecture.
fn is_there(file: &str) -> bool {
    let folders = Path::new("/usr/lib").read_dir().into_iter().flatten().flatten();
    folders.into_iter().any(|folder| folder.path().join(file).exists())
}

/// Packages of Debian, and a file below `/usr/lib/ARCHITECTURE` by which each is known.
const PACKAGES: &[(&str, &str)] = &[("faketime", "faketime/libfaketimeMT.so.1")];
