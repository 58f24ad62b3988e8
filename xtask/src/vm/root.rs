//! What the machine is made of: Debian's packages with all that they depend on, unpacked into a folder. Their scripts are not run; what
//! these would have done and is needed, the machine's first program does.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{machine::Machine, step::output};

/// The root folder, from an earlier run if that was for the same packages.
pub(super) fn fetch(machine: &Machine, folder: &Path) -> Result<PathBuf> {
    let (root, mark) = (folder.join("base"), folder.join("base.complete"));
    let kernel = format!("linux-image-cloud-{}", machine.name);
    let wanted: Vec<&str> = std::iter::once(kernel.as_str()).chain(PACKAGES.iter().copied()).collect();
    let words = wanted.join(" ");
    if fs::read_to_string(&mark).is_ok_and(|found| found == words) {
        return Ok(root);
    }
    let apt = folder.join("apt");
    for old in [&root, &apt] {
        if old.exists() {
            fs::remove_dir_all(old)?;
        }
    }
    download(machine, &wanted, &apt)?;
    fs::create_dir_all(&root)?;
    let archives = fs::read_dir(apt.join("cache/archives"))?.flatten().map(|entry| entry.path());
    for archive in archives.filter(|path| path.extension().is_some_and(|end| end == "deb")) {
        output(Command::new("dpkg-deb").arg("-x").arg(archive).arg(&root))
            .context("failed to unpack a package")?;
    }
    fs::remove_dir_all(&apt)?;
    merge_usr(&root)?;
    fs::write(mark, words)?;
    Ok(root)
}

/// With lists, cache and knowledge of their own, so that this machine's packages stay as they are and nothing counts as installed.
fn download(machine: &Machine, packages: &[&str], folder: &Path) -> Result<()> {
    for part in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(folder.join(part))?;
    }
    let status = folder.join("status");
    fs::write(&status, "")?;
    let apt_get = || {
        let mut command = Command::new("apt-get");
        let place = |name: &str, path: &Path| format!("{name}={}", path.display());
        for setting in [
            place("Dir::State::status", &status),
            place("Dir::State::lists", &folder.join("lists")),
            place("Dir::Cache", &folder.join("cache")),
            format!("APT::Architecture={}", machine.name),
            format!("APT::Architectures={}", machine.name),
            "APT::Install-Recommends=false".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
            "Debug::NoLocking=true".to_owned(),
            "Acquire::Languages=none".to_owned(),
        ] {
            command.args(["-o", &setting]);
        }
        command.arg("-qq");
        command
    };
    output(apt_get().arg("update")).context("failed to fetch package lists")?;
    output(apt_get().args(["--yes", "--download-only", "install"]).args(packages))
        .context("failed to download the machine's packages")?;
    Ok(())
}

/// Packages still have files in both places, of which Debian's machines know one.
fn merge_usr(root: &Path) -> Result<()> {
    for name in ["bin", "sbin", "lib", "lib64"] {
        let (old, new) = (root.join(name), root.join("usr").join(name));
        if old.is_symlink() || !old.exists() {
            continue;
        }
        fs::create_dir_all(&new)?;
        output(Command::new("cp").arg("-a").arg(old.join(".")).arg(&new))?;
        fs::remove_dir_all(&old)?;
        symlink(Path::new("usr").join(name), &old)?;
    }
    ensure!(root.join("bin/busybox").is_file(), "the packages hold no /bin/busybox");
    Ok(())
}

/// What tests want, and what brings a machine up.
const PACKAGES: &[&str] = &[
    "apparmor",
    "bash",
    "busybox-static",
    "containernetworking-plugins",
    "coreutils",
    "crun",
    "iproute2",
    "kmod",
    "libgcc-s1",
    "mount",
    "nftables",
    "procps",
    "runc",
    "umoci",
    "util-linux",
];
