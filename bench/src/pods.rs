//! Many pods on one node: how fast they start, and what each costs while it is idle.

use std::{
    collections::HashSet,
    fmt::Write as _,
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    cluster::{Cluster, ClusterArgs, name_and_status, next_line},
    figures,
    machine::Machine,
    process::Usage,
    report::{Figure, Report},
};

/// Options of `pods`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// How many pods; each number is reached from the one before
    #[arg(long, value_delimiter = ',', default_values_t = [1000, 5000])]
    counts: Vec<usize>,
    /// How long to leave them alone before their memory is measured
    #[arg(long, default_value_t = 10)]
    settle_seconds: u64,
}

/// Starts `ticker` pods on one node and weighs them.
///
/// # Errors
/// When they do not all run.
pub(crate) fn run(args: &Args) -> Result<Report> {
    let mut cluster = Cluster::machines(&args.cluster)?;
    cluster.push("ticker")?;
    // The first pod starts the runner and compiles the module, which no further pod pays for.
    let mut running = start(&mut cluster, "first", 1)?.0;
    let settle = Duration::from_secs(args.settle_seconds);
    thread::sleep(settle);
    let base = cluster.usage(NODE)?;
    let mut figures = Vec::new();
    for &count in &args.counts {
        let more = count.saturating_sub(running);
        let (started, time) = start(&mut cluster, &format!("upto-{count}"), more)?;
        running += started;
        figures.push(Figure::new(
            format!("pods started, {more} at once"),
            figures::rate(started, time),
            "1/s",
        ));
        thread::sleep(settle);
        let now = cluster.usage(NODE)?;
        let kibibytes = kibibytes_per_pod(base, now, running - 1);
        figures.push(
            Figure::new(format!("memory per idle pod, page tables included, {count} pods"), kibibytes, "KiB")
                .expect_at_most(64.0, "an instance is 13 KiB; the rest is its stack, names, status and log"),
        );
    }
    Ok(Report::new("pods", Machine::here(), figures))
}

/// Applies `count` pods that run the `ticker`.
///
/// # Errors
/// When they are refused.
pub(crate) fn apply(cluster: &Cluster, prefix: &str, count: usize) -> Result<()> {
    let mut manifest = String::new();
    for number in 0..count {
        pod(&mut manifest, &format!("{prefix}-{number}"))?;
    }
    let path = cluster.path(&format!("{prefix}.yaml"));
    fs::write(&path, manifest)?;
    cluster.run(&["apply", "-f", &path]).map(drop)
}

/// A document with one pod.
pub(crate) fn pod(manifest: &mut String, name: &str) -> Result<()> {
    writeln!(
        manifest,
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 0\n  containers:\n  \
         - {{name: main, image: dunlin.local/ticker, imagePullPolicy: IfNotPresent}}"
    )?;
    Ok(())
}

/// Applies pods; answers how many run and how long it took from the start of `apply` until the last was seen Running.
fn start(cluster: &mut Cluster, prefix: &str, count: usize) -> Result<(usize, Duration)> {
    let seen = cluster.watch_pods()?;
    let before = Instant::now();
    apply(cluster, prefix, count)?;
    let mut running = HashSet::new();
    let mut last = before;
    while running.len() < count {
        let is_ours =
            |line: &str| matches!(name_and_status(line), Some((name, "Running")) if name.starts_with(prefix));
        let next = next_line(&seen, is_ours)?;
        if let Some((name, _)) = name_and_status(&next.line)
            && running.insert(name.to_owned())
        {
            last = next.at;
        }
    }
    Ok((running.len(), last.duration_since(before)))
}

fn kibibytes_per_pod(base: Usage, now: Usage, pods: usize) -> f64 {
    let bytes = |usage: Usage| (usage.pss_bytes + usage.page_table_bytes) as f64;
    (bytes(now) - bytes(base)) / pods.max(1) as f64 / 1024.0
}

const NODE: &[&str] = &["edge-node", "runner"];
