//! The machine's disk: packages, settings, and the binaries of tests where they look for themselves.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::suite::Built;
use crate::{machine::Machine, packages, step::output};

/// Makes the image anew.
pub(super) fn make(
    machine: &Machine,
    base: &Path,
    (built, words): (&[Built], &[String]),
    folder: &Path,
) -> Result<PathBuf> {
    packages::require("e2fsprogs", "/usr/sbin/mke2fs")?;
    let (root, disk) = (folder.join("root"), folder.join("disk.img"));
    for old in [&root, &disk] {
        if old.is_dir() {
            fs::remove_dir_all(old)?;
        } else if old.exists() {
            fs::remove_file(old)?;
        }
    }
    output(Command::new("cp").arg("-al").arg(base).arg(&root))?;
    for (name, text) in FILES {
        put(&root.join(name), text)?;
    }
    let lines: String = built.iter().map(|built| built.line(words)).collect();
    put(&root.join("etc/tests"), &TESTS.replace("SUITES", &lines))?;
    for file in built.iter().flat_map(|built| &built.files) {
        stage(file, &root, &machine.strip())?;
    }
    output(Command::new("/usr/sbin/mke2fs").args(["-q", "-t", "ext4", "-d"]).arg(&root).arg(&disk).arg(SIZE))
        .context("failed to make the machine's disk")?;
    fs::remove_dir_all(&root)?;
    Ok(disk)
}

/// A program or script of the machine; an older one is not written through, for packages have it, too.
fn put(file: &Path, text: &str) -> Result<()> {
    if file.exists() {
        fs::remove_file(file)?;
    }
    fs::create_dir_all(file.parent().unwrap_or(file))?;
    fs::write(file, text)?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Puts a file or folder of this machine at the same place of the other; of binaries what runs.
fn stage(file: &Path, root: &Path, strip: &str) -> Result<()> {
    let place = root.join(file.strip_prefix("/").unwrap_or(file));
    fs::create_dir_all(place.parent().unwrap_or(&place))?;
    if file.is_dir() {
        output(Command::new("cp").arg("-aLT").arg(file).arg(&place))?;
        return Ok(());
    }
    fs::copy(file, &place).with_context(|| format!("cannot copy {}", file.display()))?;
    // What cannot be made smaller stays large: scripts, and binaries for which the tool is missing.
    let _ = output(Command::new(strip).arg("--strip-all").arg(&place));
    Ok(())
}

const FILES: &[(&str, &str)] = &[
    ("etc/inittab", "::sysinit:/etc/setup\n::once:/etc/tests\n"),
    ("etc/setup", include_str!("guest/setup.sh")),
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("etc/hosts", "127.0.0.1 localhost\n"),
    ("etc/resolv.conf", "nameserver 10.0.2.3\n"),
];

const TESTS: &str = include_str!("guest/tests.sh");

/// Of the disk, most of which stays empty and takes no room here.
const SIZE: &str = "6G";
