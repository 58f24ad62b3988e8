//! What tests make use of and no cargo package holds: packages of the system, and clients of Kubernetes. Everything is installed by
//! name, the clients under the target folder. A test that misses one says that it skips.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::{debian::Packages, step};

/// Installs what is missing.
///
/// # Errors
/// Never: without packages there are fewer tests, and the output says so.
#[expect(clippy::unnecessary_wraps, reason = "all steps have one shape")]
pub(crate) fn install() -> Result<()> {
    for (package, file) in SYSTEM {
        if require(package, file).is_err() {
            println!("package {package} is not there and cannot be installed; tests that need it skip");
        }
    }
    let folder = step::target_dir().join("clients");
    for (name, client) in CLIENTS {
        if let Err(error) = fetch(*client, &folder.join(name)) {
            println!(
                "client {name} is not there and cannot be installed; tests that need it skip: {error:#}"
            );
        }
    }
    Ok(())
}

/// Installs a package of the system unless a file of it is there.
///
/// # Errors
/// When it cannot be installed.
pub(crate) fn require(package: &str, file: &str) -> Result<()> {
    if is_there(file) {
        return Ok(());
    }
    let install = ["install", "--yes", "--no-install-recommends", package];
    if apt_get(&install).is_ok() {
        return Ok(());
    }
    // A machine that was just made knows of no package.
    apt_get(&["update"])?;
    apt_get(&install)
}

fn apt_get(words: &[&str]) -> Result<()> {
    step::run(Command::new("apt-get").args(words).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Where something comes from, and what it is called there, with its version.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    /// Of a newer Debian suite: package and how its version begins.
    Debian(&'static str, &'static str),
    /// Of the Python package index.
    Python(&'static str),
    /// Of the npm registry.
    Node(&'static str),
    /// A program with a library of crates.io, by its folder in the repository.
    Rust(&'static str),
}

/// Puts something into a folder of its own, anew where another version is there or an earlier attempt was cut off.
///
/// # Errors
/// When it cannot be had.
pub(crate) fn fetch(source: Source, place: &Path) -> Result<()> {
    let (mark, words) = (place.join(".complete"), format!("{source:?}"));
    // Cargo knows by itself what is old.
    if !matches!(source, Source::Rust(_)) {
        if fs::read_to_string(&mark).is_ok_and(|found| found == words) {
            return Ok(());
        }
        if place.exists() {
            fs::remove_dir_all(place)?;
        }
    }
    fs::create_dir_all(place)?;
    match source {
        Source::Rust(folder) => {
            let mut build = step::cargo(["build", "--quiet", "--locked", "--target-dir"]);
            build.arg(place).arg("--manifest-path").arg(step::root().join(folder).join("Cargo.toml"));
            step::run(&mut build)?;
        }
        Source::Debian(package, version) => {
            let packages = Packages::new(&place.join("apt"))?;
            let version = packages.version(package, version)?;
            packages.unpack(&[&format!("{package}={version}")], place)?;
            fs::remove_dir_all(place.join("apt"))?;
        }
        Source::Python(package) => {
            let mut pip = Command::new("python3");
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]);
            step::output(pip.arg("--target").arg(place).arg(package))?;
        }
        Source::Node(package) => {
            let mut npm = Command::new("npm");
            npm.args(["install", "--silent", "--no-audit", "--no-fund", "--no-save", package]);
            step::output(npm.current_dir(place))?;
        }
    }
    fs::write(mark, words).with_context(|| format!("failed to mark `{}` as complete", place.display()))
}

/// Whether a file is there, of a relative path below the library folder of any architecture.
fn is_there(file: &str) -> bool {
    if Path::new(file).is_absolute() {
        return Path::new(file).exists();
    }
    let folders = Path::new("/usr/lib").read_dir().into_iter().flatten().flatten();
    folders.into_iter().any(|folder| folder.path().join(file).exists())
}

/// Packages of Debian, and a file by which each is known, of a relative path below `/usr/lib/ARCHITECTURE`.
const SYSTEM: &[(&str, &str)] = &[
    ("faketime", "faketime/libfaketimeMT.so.1"),
    // A registry of somebody else's, and a tool that pushes to any.
    ("docker-registry", "/usr/bin/docker-registry"),
    ("skopeo", "/usr/bin/skopeo"),
    // Two OCI runtimes, what containers of tests are made of, and a tool that makes images.
    ("crun", "/usr/bin/crun"),
    ("runc", "/usr/sbin/runc"),
    ("busybox-static", "/bin/busybox"),
    ("umoci", "/usr/bin/umoci"),
    // What interfaces, rules and tracked connections are looked at with, and network plugins of somebody else's.
    ("iproute2", "/usr/sbin/ip"),
    ("nftables", "/usr/sbin/nft"),
    ("containernetworking-plugins", "/usr/lib/cni/bridge"),
];

/// Clients of Kubernetes, each of a version that was current when Kubernetes 1.36 was, and one of registries; tests find them by the
/// folder's name.
const CLIENTS: &[(&str, Source)] = &[
    ("kubectl", Source::Debian("kubectl", "1.36.")),
    ("python", Source::Python("kubernetes==36.0.3")),
    ("node", Source::Node("@kubernetes/client-node@1.4.0")),
    ("oras", Source::Python("oras==0.2.43")),
    ("kube-rs", Source::Rust("clients/kube-rs")),
];
