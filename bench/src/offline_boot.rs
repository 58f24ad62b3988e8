//! How long a node needs from its agent's start until all its pods run again, with nobody to ask: agent, runner and coordinator were
//! killed together, as a power cut does.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{
    cluster::{Cluster, ClusterArgs},
    machine::Machine,
    pods,
    report::{Figure, Report},
};

/// Options of `offline-boot`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// How many pods; each number is reached from the one before
    #[arg(long, value_delimiter = ',', default_values_t = [1, 20, 100, 500])]
    counts: Vec<usize>,
}

/// Starts pods, cuts the power, and starts the agent alone.
///
/// # Errors
/// When pods do not come back.
pub(crate) fn run(args: &Args) -> Result<Report> {
    let mut cluster = Cluster::machines(&args.cluster)?;
    cluster.push("ticker")?;
    let (mut figures, mut pods) = (Vec::new(), 0);
    for &count in &args.counts {
        pods::apply(&cluster, &format!("upto-{count}"), count.saturating_sub(pods))?;
        pods = pods.max(count);
        cluster.wait_for("running pods", |cluster| all_run(cluster, pods))?;
        // A node writes what it remembers of starts within a second.
        thread::sleep(REMEMBERED);
        cluster.cut_power()?;
        let start = Instant::now();
        cluster.start_node()?;
        cluster.wait_for("pods that are back", |cluster| all_run(cluster, pods))?;
        let seconds = start.elapsed().as_secs_f64();
        let figure =
            Figure::new(format!("agent's start until {pods} pods run again, no coordinator"), seconds, "s");
        figures.push(figure.expect_at_most(
            EXPECTED_BASE_S + pods as f64 * EXPECTED_POD_S,
            "three processes and one mapped module, then a few milliseconds of one core for each instance",
        ));
        cluster.resume_coordinator()?;
    }
    Ok(Report::new("offline-boot", Machine::here(), figures))
}

/// Whether the node's own agent says that all pods run.
fn all_run(cluster: &Cluster, pods: usize) -> Result<()> {
    let state = cluster.path("node");
    let rows = cluster.run(&["local", "pods", "--no-headers", "--state", &state])?;
    let running = rows.lines().filter(|row| row.split_whitespace().nth(3) == Some("Running")).count();
    ensure!(running == pods, "{running} of {pods} pods run");
    Ok(())
}

/// See [`run`].
const REMEMBERED: Duration = Duration::from_millis(1_500);

/// Expected whatever the number of pods: agent, runner, state and module; asking takes a process too.
const EXPECTED_BASE_S: f64 = 0.5;

/// Expected for each pod on top: half of what a start with a coordinator takes.
const EXPECTED_POD_S: f64 = 0.005;
