//! `cargo xtask build-workloads`: compiles every guest program under `workloads/` to `<target folder>/workloads/NAME.wasm`.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::toolchain::{self, Toolchain};

/// Compiles all workloads of the repository at `root`; cargo's target folder is `target_dir`. Returns the built files.
///
/// # Errors
/// When a workload does not compile, or no toolchain can build for its target; the message says what to install.
pub(crate) fn run(root: &Path, target_dir: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(target_dir)?;
    // Two builds at once would take turns inside cargo anyway.
    let lock = File::create(target_dir.join("workloads.lock")).context("failed to create the build lock")?;
    lock.lock().context("failed to take the build lock")?;

    let workloads = find(&root.join("workloads"))?;
    let mut targets: Vec<&str> = workloads.iter().map(|workload| workload.target.as_str()).collect();
    targets.sort_unstable();
    targets.dedup();
    let toolchain = toolchain::for_targets(&targets, target_dir)?;
    let output = target_dir.join("workloads");
    fs::create_dir_all(&output)?;
    workloads.iter().map(|workload| build(workload, &toolchain, target_dir, &output)).collect()
}

/// One folder under `workloads/`.
struct Workload {
    name: String,
    folder: PathBuf,
    target: String,
}

fn find(folder: &Path) -> Result<Vec<Workload>> {
    let mut workloads = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("failed to list `{}`", folder.display()))? {
        let folder = entry?.path();
        if !folder.join("Cargo.toml").is_file() {
            continue;
        }
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let target = declared_target(&folder)?;
        workloads.push(Workload { name, folder, target });
    }
    ensure!(!workloads.is_empty(), "no workloads under `{}`", folder.display());
    workloads.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(workloads)
}

/// Reads `target = "..."` of `[package.metadata.dunlin]`.
fn declared_target(folder: &Path) -> Result<String> {
    let manifest = folder.join("Cargo.toml");
    let text = fs::read_to_string(&manifest)?;
    let section = text.split("[package.metadata.dunlin]").nth(1).unwrap_or_default();
    let line = section.lines().find_map(|line| line.strip_prefix("target = \"")?.strip_suffix('"'));
    match line {
        Some(target) => Ok(target.to_owned()),
        None => bail!("`{}` names no target under [package.metadata.dunlin]", manifest.display()),
    }
}

fn build(workload: &Workload, toolchain: &Toolchain, target_dir: &Path, output: &Path) -> Result<PathBuf> {
    let build_dir = target_dir.join("guests");
    let status = toolchain
        .cargo()
        .args(["build", "--quiet", "--release", "--locked", "--target", &workload.target])
        .env("CARGO_TARGET_DIR", &build_dir)
        .current_dir(&workload.folder)
        .status()
        .context("failed to start cargo")?;
    ensure!(status.success(), "workload `{}` does not compile", workload.name);
    let release = build_dir.join(&workload.target).join("release");
    // A library's file name has underscores where its package has hyphens.
    let names = [workload.name.clone(), workload.name.replace('-', "_")];
    let built = names.iter().map(|name| release.join(format!("{name}.wasm"))).find(|file| file.is_file());
    let built = built.with_context(|| format!("workload `{}` left no .wasm file", workload.name))?;
    let file = output.join(format!("{}.wasm", workload.name));
    install(&built, &file)?;
    Ok(file)
}

/// Replaces `file` by a copy of `built`, unless it already is one: a cluster that watches it sees no change then.
fn install(built: &Path, file: &Path) -> Result<()> {
    let content = fs::read(built)?;
    if fs::read(file).is_ok_and(|present| present == content) {
        return Ok(());
    }
    let partial = file.with_extension("partial");
    fs::write(&partial, content)?;
    fs::rename(&partial, file).with_context(|| format!("failed to install `{}`", file.display()))
}
