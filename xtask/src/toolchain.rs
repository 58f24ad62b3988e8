//! A Rust toolchain that compiles for targets the active one may lack: the active one itself, with the targets added by rustup,
//! or a copy of it with the standard library built from Debian's sources where only package registries can be reached.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{debian::Packages, step::output};

/// A toolchain by its root folder.
pub(crate) struct Toolchain {
    root: PathBuf,
}

impl Toolchain {
    /// Its cargo, set to use its own compiler and nothing of the environment that the running build came with.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(self.root.join("bin/cargo"));
        command.env("RUSTC", self.root.join("bin/rustc"));
        // Flags are meant for the host, and the library path of `cargo run` would make the copy load the original compiler.
        for name in
            ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "LD_LIBRARY_PATH", "RUSTC_WRAPPER"]
        {
            command.env_remove(name);
        }
        command
    }

    /// Where the compiler drivers of C find the linker that comes with Rust, if it does.
    pub(crate) fn linkers(&self) -> Option<PathBuf> {
        let host = format!("lib/rustlib/{}-unknown-linux-gnu/bin/gcc-ld", std::env::consts::ARCH);
        Some(self.root.join(host)).filter(|folder| folder.join("ld.lld").exists())
    }

    fn has(&self, target: &str) -> bool {
        let Ok(entries) = fs::read_dir(self.target_lib(target)) else { return false };
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
    }

    fn has_all(&self, targets: &[&str]) -> bool {
        targets.iter().all(|target| self.has(target))
    }

    fn target_lib(&self, target: &str) -> PathBuf {
        self.root.join("lib/rustlib").join(target).join("lib")
    }
}

/// The toolchain for `targets`: the active one if it has them or rustup can add them, otherwise a copy under `target_dir`, kept
/// by version.
///
/// # Errors
/// When none of the ways works; the message says what to do by hand.
pub(crate) fn for_targets(targets: &[&str], target_dir: &Path) -> Result<Toolchain> {
    let active =
        Toolchain { root: PathBuf::from(output(Command::new("rustc").args(["--print", "sysroot"]))?) };
    if active.has_all(targets) {
        return Ok(active);
    }
    let version = release(&active)?;
    let cache = target_dir.join("toolchain").join(&version);
    let copy = Toolchain { root: cache.join("toolchain") };
    if targets.iter().all(|target| complete_mark(&copy, target).is_file()) {
        return Ok(copy);
    }
    // The copy is made by one at a time.
    fs::create_dir_all(target_dir)?;
    let lock =
        File::create(target_dir.join("toolchain.lock")).context("failed to create the toolchain's lock")?;
    lock.lock().context("failed to take the toolchain's lock")?;
    if rustup_adds(targets) && active.has_all(targets) {
        return Ok(active);
    }
    extend_copy(&active, &copy, targets, &version, &cache).with_context(|| {
        format!(
            "no Rust standard library for {0}; rustup could not add it, nor could it be built from Debian's packages.\n\
             Run `rustup target add {0}` where the network allows it, or use a machine with apt and the Debian archive",
            targets.join(" ")
        )
    })?;
    Ok(copy)
}

/// Whether `rustup target add` worked; without rustup or its server it does not, and another way is tried.
fn rustup_adds(targets: &[&str]) -> bool {
    let added = Command::new("rustup").args(["--quiet", "target", "add"]).args(targets).output();
    added.is_ok_and(|output| output.status.success())
}

fn extend_copy(
    active: &Toolchain,
    copy: &Toolchain,
    targets: &[&str],
    version: &str,
    cache: &Path,
) -> Result<()> {
    eprintln!("preparing a toolchain for {} in {} (once, a few minutes)", targets.join(" "), cache.display());
    let sources = copy.root.join("lib/rustlib/src/rust");
    let unpacked = cache.join("packages");
    let marker = cache.join("sources-complete");
    if !marker.is_file() {
        // What an interrupted run left is not trusted.
        remove_if_there(cache)?;
        fs::create_dir_all(cache)?;
        let packages = Packages::new(&cache.join("apt"))?;
        // The sources of exactly this compiler.
        let source_version = packages.version("rust-src", &format!("{version}+"))?;
        packages.unpack(&[&format!("rust-src={source_version}"), "wasi-libc"], &unpacked)?;
        link_tree(&active.root, &copy.root)?;
        fs::create_dir_all(&sources)?;
        let library = unpacked.join(format!("usr/src/rustc-{version}/library"));
        fs::rename(&library, sources.join("library")).context("rust-src has no library folder")?;
        only_static(&sources.join("library/std/Cargo.toml"))?;
        fs::write(&marker, "")?;
    }
    for target in targets {
        if !complete_mark(copy, target).is_file() {
            build_std(copy, target, &sources.join("library"), &unpacked, cache)?;
        }
    }
    Ok(())
}

/// Builds the standard library for one target and puts it where the compiler looks for it.
fn build_std(copy: &Toolchain, target: &str, library: &Path, unpacked: &Path, cache: &Path) -> Result<()> {
    eprintln!("building the standard library for {target}");
    let lib = copy.target_lib(target);
    if let Some(libc) = wasi_libc(target) {
        let self_contained = lib.join("self-contained");
        fs::create_dir_all(&self_contained)?;
        for file in ["crt1-command.o", "crt1-reactor.o", "libc.a"] {
            let from = unpacked.join("usr/lib").join(libc).join(file);
            fs::copy(&from, self_contained.join(file)).with_context(|| format!("wasi-libc has no {file}"))?;
        }
    }
    let features = if target.starts_with("wasm32-") { "backtrace" } else { "panic-unwind,backtrace" };
    let build_dir = cache.join("std");
    let status = copy
        .cargo()
        .args(["build", "--quiet", "--release", "--features", features, "--target", target])
        .arg("--manifest-path")
        .arg(library.join("sysroot/Cargo.toml"))
        .env("CARGO_TARGET_DIR", &build_dir)
        // The standard library may use unstable features with a stable compiler; nothing else is built this way.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zforce-unstable-if-unmarked -Cembed-bitcode=yes")
        .env("__CARGO_DEFAULT_LIB_METADATA", "dunlin")
        .status()
        .context("failed to start cargo")?;
    ensure!(status.success(), "the standard library for {target} does not compile");
    fs::create_dir_all(&lib)?;
    for entry in fs::read_dir(build_dir.join(target).join("release/deps"))? {
        let file = entry?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".rlib") && !name.starts_with("libsysroot") {
            fs::copy(&file, lib.join(name))?;
        }
    }
    remove_if_there(&build_dir)?;
    fs::write(complete_mark(copy, target), "")?;
    Ok(())
}

/// Exists once all of a target is in place.
fn complete_mark(copy: &Toolchain, target: &str) -> PathBuf {
    copy.root.join("lib/rustlib").join(target).join("complete")
}

/// Folder of Debian's wasi-libc for a WASI target.
fn wasi_libc(target: &str) -> Option<&'static str> {
    match target {
        "wasm32-wasip1" => Some("wasm32-wasi"),
        "wasm32-wasip2" => Some("wasm32-wasip2"),
        _ => None,
    }
}

/// A dynamic std would need a linker for the target; nothing here links it dynamically.
fn only_static(manifest: &Path) -> Result<()> {
    let text = fs::read_to_string(manifest)?;
    let text = text.replace(r#"crate-type = ["dylib", "rlib"]"#, r#"crate-type = ["rlib"]"#);
    fs::write(manifest, text).context("failed to adapt std's manifest")
}

/// Clones a folder by hard links where the file system can, by copies where it cannot.
fn link_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, copy) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            // Documentation is large and of no use here; sources of its own would be changed through their links.
            if !matches!(entry.file_name().to_str(), Some("doc" | "man" | "src")) {
                link_tree(&source, &copy)?;
            }
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&source)?, &copy)?;
        } else if fs::hard_link(&source, &copy).is_err() {
            fs::copy(&source, &copy).with_context(|| format!("failed to copy `{}`", source.display()))?;
        }
    }
    Ok(())
}

fn release(toolchain: &Toolchain) -> Result<String> {
    let text =
        output(Command::new(toolchain.root.join("bin/rustc")).arg("-vV").env_remove("LD_LIBRARY_PATH"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("release: "));
    Ok(line.context("rustc did not tell its release")?.to_owned())
}

fn remove_if_there(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove `{}`", folder.display()))
        }
        _ => Ok(()),
    }
}
