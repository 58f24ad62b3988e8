//! `tidy`: what no compiler checks. Each check appends its findings, so that one run names them all.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::step;

mod arrows;
mod dependencies;
mod manifests;
mod sources;

/// Runs every check over the tracked files and the dependency graph.
///
/// # Errors
/// When anything is found, after printing all of it.
pub(crate) fn run() -> Result<()> {
    let files = tracked_files()?;
    let mut findings = Vec::new();
    arrows::check(&metadata(&["--no-deps"])?, &mut findings);
    manifests::check(&files, &mut findings);
    sources::check(&files, &mut findings);
    for target in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"] {
        dependencies::check(&metadata(&["--filter-platform", target])?, &mut findings);
    }
    findings.sort();
    findings.dedup();
    for finding in &findings {
        println!("tidy: {finding}");
    }
    match findings.len() {
        0 => Ok(()),
        count => bail!("tidy found {count} thing(s) to fix"),
    }
}

/// A text file under version control.
#[derive(Debug)]
struct File {
    /// Path from the root, with forward slashes.
    path: String,
    text: String,
}

fn tracked_files() -> Result<Vec<File>> {
    let mut command = std::process::Command::new("git");
    command.args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"]).current_dir(step::root());
    let list = step::output(&mut command)?;
    let mut files = Vec::new();
    for path in list.split('\0').filter(|path| !path.is_empty()) {
        let full = step::root().join(path);
        // A deleted file stays in the index until it is staged.
        if !full.is_file() {
            continue;
        }
        let bytes = std::fs::read(&full).with_context(|| format!("cannot read {path}"))?;
        // Golden frames and fuzz corpora are no text and have no style.
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(File { path: path.to_owned(), text });
        }
    }
    Ok(files)
}

fn metadata(options: &[&str]) -> Result<Value> {
    let mut command = step::cargo(["metadata", "--format-version", "1"]);
    let text = step::output(command.args(options))?;
    serde_json::from_str(&text).context("cargo metadata wrote something else than JSON")
}

/// The entries of a JSON list; none when it is something else.
fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

/// A JSON string; empty when it is something else.
fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}
