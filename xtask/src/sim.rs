//! `sim`: builds the simulator in its own profile and runs seeds. What fails prints the command that shows it again.

use anyhow::Result;
use clap::Args as ClapArgs;

use crate::step;

/// Options of the simulator; see `docs/design/sim.md`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many nodes a world has, as A..B; drawn from the seed (3 to 1,000) by default.
    #[arg(long)]
    nodes: Option<String>,
    /// Plant a bug, which has to be found.
    #[arg(long)]
    plant: Option<String>,
    /// How many of the last things that happened a violation shows.
    #[arg(long, default_value_t = 60)]
    trace: usize,
    /// End when this many seconds have passed, whatever is left.
    #[arg(long)]
    seconds: Option<u64>,
}

/// Runs the simulator.
///
/// # Errors
/// When it does not build, or a promise is broken.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut command = step::cargo(["run", "--quiet", "--profile", "sim", "-p", "dunlin-sim", "--"]);
    command.args(["--commit", &commit()]);
    command.args(["--seeds", &args.seeds.to_string(), "--from", &args.from.to_string()]);
    command.args(["--trace", &args.trace.to_string()]);
    if let Some(nodes) = &args.nodes {
        command.args(["--nodes", nodes]);
    }
    if let Some(plant) = &args.plant {
        command.args(["--plant", plant]);
    }
    if let Some(seconds) = args.seconds {
        command.args(["--seconds", &seconds.to_string()]);
    }
    step::run(&mut command)
}

/// Runs the first seeds for as long as that, in the simulator that a build of the workspace has left: its own profile is not worth
/// compiling for a few seeds.
pub(crate) fn run_built(seconds: u64) -> Result<()> {
    let mut command = std::process::Command::new(step::target_dir().join("debug/dunlin-sim"));
    command.args(["--commit", &commit(), "--seeds", "10000", "--seconds", &seconds.to_string()]);
    step::run(&mut command)
}

/// What is checked out, or that nobody knows.
fn commit() -> String {
    let mut git = std::process::Command::new("git");
    let described = git.args(["describe", "--always", "--dirty"]).current_dir(step::root());
    step::output(described).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}
