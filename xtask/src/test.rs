//! `test`: the README's test command. Prepares what tests run (guest programs, clients, modules of others, a node for another
//! processor), then runs cargo's tests and the short network scenarios.

use anyhow::Result;

use crate::{build_workloads, emulated, foreign, network, packages, step};

/// Runs `cargo test` over the whole workspace, or with the given arguments instead; then with what is there of modules of others and of
/// a node for another processor, which take minutes.
///
/// # Errors
/// When a guest program does not build or a test fails.
pub(crate) fn run(cargo_args: &[String]) -> Result<()> {
    build_workloads::run(step::root(), &step::target_dir())?;
    packages::install()?;
    let mut command = step::cargo(["test", "--no-fail-fast"]);
    if !cargo_args.is_empty() {
        return step::run(command.args(cargo_args));
    }
    foreign::build()?;
    emulated::build()?;
    step::run(command.arg("--workspace"))?;
    network::run_short()
}
