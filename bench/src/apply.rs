//! How long after `apply` printed its answer a watch sees the pod Running, its module being on the node already.
//!
//! Not after the process has ended: by then the pod runs already.

use std::{fs, time::Instant};

use anyhow::Result;

use crate::{
    cluster::{Cluster, ClusterArgs, name_and_status, next_line},
    disk,
    figures::Times,
    machine::Machine,
    pods,
    report::{Figure, Report},
};

/// Options of `apply`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// How many pods, one after the other
    #[arg(long, default_value_t = 200)]
    pods: usize,
}

/// Applies pods one by one beside a watch.
///
/// # Errors
/// When one does not run.
pub(crate) fn run(args: &Args) -> Result<Report> {
    let mut cluster = Cluster::machines(&args.cluster)?;
    cluster.push("ticker")?;
    let seen = cluster.watch_pods()?;
    let (mut after_apply, mut whole) = (Times::default(), Times::default());
    for number in 0..=args.pods {
        let name = format!("pod-{number}");
        let path = cluster.path("pod.yaml");
        let mut manifest = String::new();
        pods::pod(&mut manifest, &name)?;
        fs::write(&path, manifest)?;
        let start = Instant::now();
        let answered = cluster.answered_at(&["apply", "-f", &path])?;
        let running = next_line(&seen, |line| name_and_status(line) == Some((name.as_str(), "Running")))?;
        cluster.run(&["delete", "pod", &name])?;
        // The first brings the module to the node.
        if number > 0 {
            after_apply.push(running.at.saturating_duration_since(answered));
            whole.push(running.at.duration_since(start));
        }
    }
    let (mut flush, _) = disk::in_place(&args.cluster.dir, FLUSH_TIME)?;
    let flush = flush.percentile_ms(50);
    let figures = vec![
        Figure::new("flush of the disk, p50", flush, "ms"),
        Figure::new("apply answered to seen Running, p50", after_apply.percentile_ms(50), "ms")
            .expect_at_most(10.0 + 8.0 * flush, "10 ms and eight flushes, one after the other"),
        Figure::new("apply answered to seen Running, p99", after_apply.percentile_ms(99), "ms")
            .expect_at_most(50.0, "Kubernetes needs 516 to 527 ms from create to Running"),
        Figure::new("start of apply to seen Running, p50", whole.percentile_ms(50), "ms"),
        Figure::new("start of apply to seen Running, p99", whole.percentile_ms(99), "ms"),
    ];
    Ok(Report::new("apply", Machine::here(), figures))
}

const FLUSH_TIME: std::time::Duration = std::time::Duration::from_secs(2);
