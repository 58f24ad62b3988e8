//! The kernel, and the first files that it gets: the modules by which it finds its disk, and a program that goes on from there.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{packages, step::output};

/// What a machine is booted with.
pub(super) struct Kernel {
    pub(super) version: String,
    pub(super) image: PathBuf,
    pub(super) first_files: PathBuf,
}

/// Finds the kernel in the root folder and packs its first files.
pub(super) fn prepare(root: &Path, folder: &Path) -> Result<Kernel> {
    packages::require("kmod", "/usr/sbin/depmod")?;
    packages::require("busybox-static", "/bin/busybox")?;
    let version = only_name(&root.join("lib/modules"))?;
    output(Command::new("/usr/sbin/depmod").arg("-b").arg(root).arg(&version))?;

    let (files, packed) = (folder.join("first"), folder.join("first.cpio"));
    if files.exists() {
        fs::remove_dir_all(&files)?;
    }
    for name in ["bin", "dev", "disk", "modules", "proc"] {
        fs::create_dir_all(files.join(name))?;
    }
    fs::copy(root.join("bin/busybox"), files.join("bin/busybox"))?;
    let modules = modules(root, &version)?;
    let names: Vec<String> = (1..=modules.len()).map(|number| format!("/modules/{number}.ko")).collect();
    for (module, name) in modules.iter().zip(&names) {
        fs::copy(module, files.join(&name[1..]))
            .with_context(|| format!("cannot copy {}", module.display()))?;
    }
    let init = files.join("init");
    fs::write(&init, INIT.replace("MODULES", &names.join(" ")))?;
    output(Command::new("chmod").arg("755").arg(&init))?;
    // The list of names goes in by a file: all of it is a few dozen.
    let script =
        format!("cd '{}' && find . | /bin/busybox cpio -o -H newc > '{}'", files.display(), packed.display());
    output(Command::new("/bin/busybox").args(["sh", "-c", &script]))?;
    Ok(Kernel { image: root.join(format!("boot/vmlinuz-{version}")), version, first_files: packed })
}

/// Files of the modules without which there is no disk, each after those that it needs.
fn modules(root: &Path, version: &str) -> Result<Vec<PathBuf>> {
    let folder = root.join("lib/modules").join(version);
    let needs = fs::read_to_string(folder.join("modules.dep"))?;
    let mut found: Vec<PathBuf> = Vec::new();
    for name in DISK {
        let line = needs.lines().find(|line| line.split(':').next().is_some_and(|path| path.contains(name)));
        // What is no module is in the kernel itself.
        for path in line.unwrap_or_default().split_whitespace().rev() {
            let path = folder.join(path.trim_end_matches(':'));
            if !found.contains(&path) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

fn only_name(folder: &Path) -> Result<String> {
    let first =
        fs::read_dir(folder)?.next().with_context(|| format!("nothing is in {}", folder.display()))??;
    Ok(first.file_name().to_string_lossy().into_owned())
}

const INIT: &str = include_str!("guest/init.sh");

const DISK: [&str; 3] = ["/virtio_pci.ko", "/virtio_blk.ko", "/ext4.ko"];
