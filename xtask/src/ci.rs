//! `ci`: the steps that every change must pass, each timed, with a summary at the end.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::{build_workloads, demo, emulated, foreign, packages, sim, step, test, tidy};

/// Runs all steps in order and stops at the first that fails.
///
/// # Errors
/// When a step failed; the summary names it.
pub(crate) fn run() -> Result<()> {
    let start = Instant::now();
    let mut timings = Vec::new();
    let failed = STEPS.iter().find_map(|(name, action)| {
        println!("==> {name}");
        let start = Instant::now();
        let outcome = action();
        timings.push((*name, start.elapsed()));
        println!("==> {name}: {:.1} s", start.elapsed().as_secs_f64());
        outcome.err().map(|error| (*name, error))
    });
    print_summary(&timings, start.elapsed());
    match failed {
        Some((name, error)) => bail!(error.context(format!("ci step `{name}` failed"))),
        None => Ok(()),
    }
}

/// What a step does.
type Action = fn() -> Result<()>;

/// Cheap steps first, so that a slip is told within seconds.
const STEPS: &[(&str, Action)] = &[
    ("format", || step::run(&mut step::cargo(["fmt", "--all", "--check"]))),
    ("tidy", tidy::run),
    ("frames", frames),
    ("clippy", || {
        step::run(&mut step::cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
    }),
    ("build", || step::run(&mut step::cargo(["build", "--workspace"]))),
    ("guests", || build_workloads::run(step::root(), &step::target_dir()).map(drop)),
    ("packages", packages::install),
    ("foreign", foreign::build),
    ("arm64", emulated::build),
    ("test", || test::run(&[])),
    ("sim", || sim::run_built(SIM_SECONDS)),
    ("docs", docs),
    ("demo", || demo::run(&demo::Args { exit: true })),
];

/// How long worlds are simulated in every run; longer runs are made by hand.
const SIM_SECONDS: u64 = 30;

/// The link's document must be enough to decode its golden frames.
fn frames() -> Result<()> {
    if Command::new("python3").arg("--version").output().is_err() {
        println!("SKIPPED: link.md is not held against the golden frames, because there is no python3");
        return Ok(());
    }
    let mut command = Command::new("python3");
    step::run(command.arg("docs/design/link-decode.py").current_dir(step::root()))
}

fn docs() -> Result<()> {
    let mut command = step::cargo(["doc", "--workspace", "--no-deps"]);
    step::run(command.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links"))
}

fn print_summary(timings: &[(&str, Duration)], total: Duration) {
    println!("\nci summary");
    for (name, time) in timings {
        println!("  {name:<8} {:>7.1} s", time.as_secs_f64());
    }
    println!("  {:<8} {:>7.1} s", "total", total.as_secs_f64());
}
