//! Thousands of watches beside many writers: whether each watch tells every change of its scope once and in order, what that costs,
//! and what becomes of watches that are not read.
//!
//! Writers note what they wrote. One watch of everything is compared with their notes and fills in the revisions of deletions, which
//! no answer tells; then every other watch must have told exactly what the notes say of its scope, changes of labels included.

mod connection;
mod observer;
mod record;
mod scope;
mod slow;
mod tenants;
mod verdict;
mod writers;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use self::{
    connection::{Identity, Opened},
    observer::Seen,
    scope::Scope,
    slow::Slow,
    tenants::Tenants,
};
use crate::{
    access::Access,
    cluster::{Cluster, ClusterArgs},
    figures::{Times, rate},
    machine::Machine,
    process::Usage,
    report::{Figure, Report, mebibytes},
};

/// Options of `watches`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    plan: Plan,
}

/// How much of everything there is.
#[derive(Clone, Debug, clap::Args)]
struct Plan {
    /// Watches over HTTP/2, 200 on a connection
    #[arg(long, default_value_t = 9480)]
    https: usize,
    /// Watches over QUIC, 100 on a connection
    #[arg(long, default_value_t = 500)]
    quic: usize,
    /// Clients that write, each on a connection of its own
    #[arg(long, default_value_t = 64)]
    writers: usize,
    /// ConfigMaps of each writer, which it makes, changes and deletes again and again
    #[arg(long, default_value_t = 40)]
    objects: usize,
    /// Namespaces that the ConfigMaps lie in
    #[arg(long, default_value_t = 250)]
    namespaces: usize,
    /// Content of a ConfigMap
    #[arg(long, default_value_t = 1024)]
    bytes: usize,
    /// How long to write
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Writes per second of all writers; 0 is as many as they can
    #[arg(long, default_value_t = 0)]
    rate: u32,
    /// Watches of everything that are never read, open from half of the time on
    #[arg(long, default_value_t = 10)]
    silent: usize,
    /// Watches of everything of which a little is read each second, open from half of the time on
    #[arg(long, default_value_t = 10)]
    slow: usize,
    /// How long to leave it alone before looking at its memory
    #[arg(long, default_value_t = 3)]
    settle_seconds: u64,
}

/// Measures a coordinator alone.
///
/// # Errors
/// When it does not come up, refuses what it should not, or a watch tells what was not written.
pub(crate) fn run(args: &Args) -> Result<Report> {
    let cluster = Cluster::coordinator(&args.cluster)?;
    let access = Access::read(&cluster.access())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let figures = runtime.block_on(measure(&access, &args.plan, &|| cluster.usage(&["coordinator"])))?;
    Ok(Report::new("watches", Machine::here(), figures))
}

/// Opens the watches, writes, and compares.
async fn measure(access: &Access, plan: &Plan, usage: &Meter<'_>) -> Result<Vec<Figure>> {
    let tenants = Tenants::make(access, plan).await?;
    let settle = Duration::from_secs(plan.settle_seconds);
    tokio::time::sleep(settle).await;
    let empty = usage()?;
    let epoch = Instant::now();
    let watches = open(&tenants, plan, epoch).await?;
    let opened_in = epoch.elapsed();
    tokio::time::sleep(settle).await;
    let idle = usage()?;

    let half = Duration::from_secs(plan.seconds) / 2;
    let start = Instant::now();
    let writing = tokio::spawn(writers::write(tenants.clone(), plan.clone(), epoch));
    let mut peak = watch_memory(usage, start, half).await?;
    let slow_from = epoch.elapsed();
    let slow = Slow::open(&tenants, plan, epoch).await?;
    peak = peak.max(watch_memory(usage, start, half * 2).await?);
    let written = writing.await??;
    let took = start.elapsed();

    let changes = verdict::changes(&watches, &written).await?;
    let faults = verdict::faults(&tenants, &watches, &changes).await;
    let used = usage()?;
    let fates = slow.end(&tenants, &changes).await?;
    peak = peak.max(usage()?.pss_bytes);

    let events: usize = watches.iter().map(|watch| watch.seen.with(|seen| seen.told)).sum();
    let cpu = (used.cpu_seconds - idle.cpu_seconds) * 1e6;
    let count = watches.len();
    let mut figures = vec![
        Figure::new("watches", number(count), ""),
        Figure::new("watches opened per second", rate(count, opened_in), "1/s"),
        Figure::new("writes per second", rate(changes.len(), took), "1/s"),
        Figure::new("events told per second", rate(events, took), "1/s"),
        Figure::new("watches that lost, doubled or reordered something", number(faults.len()), "")
            .expect_at_most(0.0, "a watch tells every change of its scope once, in order"),
        Figure::new("CPU of the coordinator per event told", cpu / number(events), "us"),
        Figure::new("CPU of the coordinator while written", cpu / 1e6 / took.as_secs_f64(), "cores"),
    ];
    figures.extend(memory(&empty, &idle, peak, count));
    figures.extend(delays(&watches, slow_from));
    figures.extend(fates.figures());
    let shown = &faults[..faults.len().min(FAULTS_SHOWN)];
    ensure!(faults.is_empty(), "{} watches told something else: {}", faults.len(), shown.join("; "));
    Ok(figures)
}

/// All watches, told apart by who asks and over what.
async fn open(tenants: &Tenants, plan: &Plan, epoch: Instant) -> Result<Vec<Opened>> {
    let mut scopes = scope::choices(plan);
    let mut watches = Vec::with_capacity(plan.https + plan.quic);
    // The first sees everything: it is the reference.
    watches.extend(tenants.http2(Identity::Administrator).await?.watch(tenants, [Scope::All], epoch).await?);
    let mut left = plan.https.saturating_sub(1);
    while left > 0 {
        let identity = tenants.identity(watches.len() / HTTP2_WATCHES);
        let taken: Vec<Scope> = scopes.by_ref().take(left.min(HTTP2_WATCHES)).collect();
        left -= taken.len();
        watches.extend(tenants.http2(identity).await?.watch(tenants, taken, epoch).await?);
    }
    let mut left = plan.quic;
    while left > 0 {
        let taken: Vec<Scope> = scopes.by_ref().take(left.min(QUIC_WATCHES)).collect();
        left -= taken.len();
        watches.extend(tenants.quic().await?.watch(tenants, taken, epoch).await?);
    }
    Ok(watches)
}

/// The most memory that was seen until `end` after `start`.
async fn watch_memory(usage: &Meter<'_>, start: Instant, end: Duration) -> Result<u64> {
    let mut peak = 0;
    while start.elapsed() < end {
        tokio::time::sleep(MEMORY_INTERVAL.min(end.saturating_sub(start.elapsed()))).await;
        peak = peak.max(usage()?.pss_bytes);
    }
    Ok(peak)
}

fn memory(empty: &Usage, idle: &Usage, peak: u64, count: usize) -> Vec<Figure> {
    let each = idle.pss_bytes.saturating_sub(empty.pss_bytes) as f64 / 1024.0 / number(count);
    let growth = mebibytes(peak.saturating_sub(idle.pss_bytes));
    vec![
        Figure::new("memory without watches (PSS)", mebibytes(empty.pss_bytes), "MiB"),
        Figure::new("memory with idle watches (PSS)", mebibytes(idle.pss_bytes), "MiB"),
        Figure::new("memory per idle watch", each, "KiB")
            .expect_at_most(16.0, "a stream, a task and a place in the history"),
        Figure::new("most memory while written, above idle", growth, "MiB")
            .expect_at_most(64.0, "what is held of an answer is bounded, and history is on disk"),
    ]
}

/// Delays of each transport, before and after the watches that are not read came.
fn delays(watches: &[Opened], slow_from: Duration) -> Vec<Figure> {
    let mut groups: BTreeMap<(bool, &str), Times> = BTreeMap::new();
    for watch in watches {
        watch.seen.with(|seen| {
            for (sent, delay) in &seen.delays {
                groups.entry((*sent >= slow_from, watch.transport)).or_default().push(*delay);
            }
        });
    }
    let mut figures = Vec::new();
    for ((beside_slow, transport), mut times) in groups {
        let when = if beside_slow { ", beside slow ones" } else { "" };
        for (percent, bound) in [(50, 0.1), (99, 1.0)] {
            let name = format!("write sent until a watch over {transport} told it{when}, p{percent}");
            let because = "Kubernetes' own objective for a write alone is 1 s at p99";
            figures.push(
                Figure::new(name, times.percentile_ms(percent), "ms").expect_at_most(bound * 1000.0, because),
            );
        }
    }
    figures
}

fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

/// What the coordinator uses.
type Meter<'a> = dyn Fn() -> Result<Usage> + Sync + 'a;

/// What a watch told, shared with the task that reads it.
type SharedSeen = Arc<Seen>;

/// Watches of one connection: fewer than the 250 streams it may have.
const HTTP2_WATCHES: usize = 200;
/// The same of one connection of QUIC, which may have 128.
const QUIC_WATCHES: usize = 100;
const MEMORY_INTERVAL: Duration = Duration::from_secs(1);
const FAULTS_SHOWN: usize = 10;

#[cfg(test)]
mod tests;
