//! `torture`: the tests that kill coordinator and nodes, or what runs containers, at random moments, for as long as somebody likes.

use anyhow::Result;

use crate::{build_workloads, step};

/// What is killed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Of {
    /// Coordinator, agents and runners.
    Cluster,
    /// What is behind Linux pods.
    Containers,
}

/// Runs the test with so many kills.
///
/// # Errors
/// When it cannot be built, or something was lost or leaked.
pub(crate) fn run(of: Of, kills: u32, seed: Option<u64>) -> Result<()> {
    build_workloads::run(step::root(), &step::target_dir())?;
    let tests = match of {
        Of::Cluster => "torture::",
        Of::Containers => "containers::chaos::",
    };
    let mut command = step::cargo(["test", "-p", "dunlin", "--test", "it", "--", tests, "--nocapture"]);
    command.env("DUNLIN_TORTURE_KILLS", kills.to_string());
    if let Some(seed) = seed {
        command.env("DUNLIN_TORTURE_SEED", seed.to_string());
    }
    step::run(&mut command)
}
