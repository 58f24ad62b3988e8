//! `torture`: the test that kills coordinator and nodes at random moments, for as long as somebody likes.

use anyhow::Result;

use crate::{build_workloads, step};

/// Runs the test with so many kills.
///
/// # Errors
/// When it cannot be built, or something was lost or leaked.
pub(crate) fn run(kills: u32, seed: Option<u64>) -> Result<()> {
    build_workloads::run(step::root(), &step::target_dir())?;
    let mut command = step::cargo(["test", "-p", "dunlin", "--test", "it", "--", "torture::", "--nocapture"]);
    command.env("DUNLIN_TORTURE_KILLS", kills.to_string());
    if let Some(seed) = seed {
        command.env("DUNLIN_TORTURE_SEED", seed.to_string());
    }
    step::run(&mut command)
}
