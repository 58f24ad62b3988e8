//! How long `dunlin dev` takes until the API answers.

use std::time::Instant;

use anyhow::Result;

use crate::{
    cluster::{Cluster, ClusterArgs},
    figures::Times,
    machine::Machine,
    report::{Figure, Report},
};

/// Options of `dev-start`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// How many times to start
    #[arg(long, default_value_t = 10)]
    runs: usize,
}

/// Starts clusters of three nodes in empty folders.
///
/// # Errors
/// When one does not come up.
pub(crate) fn run(args: &Args) -> Result<Report> {
    let (mut answering, mut ready) = (Times::default(), Times::default());
    for _ in 0..args.runs {
        let start = Instant::now();
        let mut cluster = Cluster::dev(&args.cluster, NODES)?;
        cluster.wait_for("an answer", |cluster| cluster.run(&["get", "namespaces"]).map(drop))?;
        answering.push(start.elapsed());
        cluster.wait_for("Ready nodes", |cluster| {
            let nodes = cluster.run(&["get", "nodes", "--no-headers"])?;
            let count = nodes.lines().filter(|line| line.split_whitespace().nth(1) == Some("Ready")).count();
            anyhow::ensure!(count == NODES, "{count} of {NODES} nodes are Ready");
            Ok(())
        })?;
        ready.push(start.elapsed());
    }
    let figures = vec![
        Figure::new("start of dev to the first answer, p50", answering.percentile_ms(50), "ms")
            .expect_at_most(
                300.0,
                "a person does not wait; the client that asks is started anew for each try",
            ),
        Figure::new("start of dev to the first answer, worst", answering.percentile_ms(100), "ms"),
        Figure::new("start of dev to three Ready nodes, p50", ready.percentile_ms(50), "ms"),
    ];
    Ok(Report::new("dev-start", Machine::here(), figures))
}

const NODES: usize = 3;
