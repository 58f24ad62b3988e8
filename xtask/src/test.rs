//! `test`: the README's test command. Builds the guest programs and installs the clients that tests run, then runs cargo's tests and the short network scenarios.

use anyhow::Result;

use crate::{build_workloads, network, packages, step};

/// Runs `cargo test` over the whole workspace, or with the given arguments instead.
///
/// # Errors
/// When a guest program does not build or a test fails.
pub(crate) fn run(cargo_args: &[String]) -> Result<()> {
    build_workloads::run(step::root(), &step::target_dir())?;
    packages::install()?;
    let mut command = step::cargo(["test", "--no-fail-fast"]);
    if cargo_args.is_empty() {
        command.arg("--workspace");
    } else {
        command.args(cargo_args);
    }
    step::run(&mut command)?;
    if cargo_args.is_empty() { network::run_short() } else { Ok(()) }
}
