//! What a coordinator and a node use while nothing happens.

use std::{thread, time::Duration};

use anyhow::Result;

use crate::{
    cluster::{Cluster, ClusterArgs, name_and_status},
    machine::Machine,
    pods,
    report::{Figure, Report, mebibytes},
};

/// Options of `idle`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// How long to look at each state
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// How long to leave it alone before
    #[arg(long, default_value_t = 15)]
    settle_seconds: u64,
}

/// Looks at an empty cluster, then at one with a pod.
///
/// # Errors
/// When the cluster does not come up.
pub(crate) fn run(args: &Args) -> Result<Report> {
    let mut cluster = Cluster::machines(&args.cluster)?;
    let mut figures = look(&cluster, args, COORDINATOR, "coordinator", 15.0)?;
    figures.extend(look(&cluster, args, NODE, "node without pods", 8.0)?);

    cluster.push("ticker")?;
    pods::apply(&cluster, "idle", 1)?;
    cluster.wait_for("a Running pod", |cluster| {
        let pods = cluster.run(&["get", "pods", "--no-headers"])?;
        let status = pods.lines().next().and_then(name_and_status).map(|(_, status)| status.to_owned());
        anyhow::ensure!(status.as_deref() == Some("Running"), "the pod is not Running: {pods}");
        Ok(())
    })?;
    figures.extend(look(&cluster, args, COORDINATOR, "coordinator of a pod", 15.0)?);
    // The pod prints a line a second into a log, so here the disk is written.
    figures.extend(look(&cluster, args, NODE, "node with one WASM pod", 16.0)?.into_iter().take(2));
    Ok(Report::new("idle", Machine::here(), figures))
}

/// Memory, CPU time and bytes written of the processes of some roles.
fn look(
    cluster: &Cluster,
    args: &Args,
    roles: &[&str],
    name: &str,
    mebibytes_max: f64,
) -> Result<Vec<Figure>> {
    thread::sleep(Duration::from_secs(args.settle_seconds));
    let before = cluster.usage(roles)?;
    thread::sleep(Duration::from_secs(u64::from(args.seconds)));
    let after = cluster.usage(roles)?;
    let per_minute = 60.0 / f64::from(args.seconds);
    let cpu_seconds = (after.cpu_seconds - before.cpu_seconds) * per_minute;
    let written = (after.written_bytes - before.written_bytes) as f64 * per_minute;
    Ok(vec![
        Figure::new(format!("{name}, memory (PSS)"), mebibytes(after.pss_bytes), "MiB")
            .expect_at_most(mebibytes_max, "an agent's footprint; Kubernetes needs 643 MiB for the same"),
        Figure::new(format!("{name}, CPU per minute"), cpu_seconds, "s")
            .expect_at_most(0.1, "nothing polls; Kubernetes needs 2.4 to 2.8 s"),
        Figure::new(format!("{name}, written to disk per minute"), written, "B")
            .expect_at_most(0.0, "nothing is written when nothing changes"),
    ])
}

const COORDINATOR: &[&str] = &["coordinator"];
/// The pods of a node run in its runner.
const NODE: &[&str] = &["edge-node", "runner"];
