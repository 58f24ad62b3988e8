//! Pods from their creation to the word that they run: how many a second, how long each waits, and what each costs the coordinator.
//!
//! Pods are created by many clients through the API, bound by the scheduler, sent to hollow nodes over QUIC, and reported back. A
//! watch tells what a client sees of it.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use dunlin_link::{Digest, rpc::Method};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Bench, client::Client, idle, per, rest};
use crate::{
    cluster::ClusterArgs,
    figures::{Times, rate},
    https::client::Connector,
    machine::Machine,
    pod_watch::PodWatch,
    process::Usage,
    report::{Figure, Report},
};

/// Options of `placing`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// How many hollow nodes; a cluster of its own for each number
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1000])]
    nodes: Vec<usize>,
    /// Pods that are created at once
    #[arg(long, default_value_t = 5000)]
    pods: usize,
    /// Pods that are created one after the other, each when the one before runs
    #[arg(long, default_value_t = 200)]
    singles: usize,
    /// Deployments at rest, on the first number of nodes; 0 leaves them out
    #[arg(long, default_value_t = 1000)]
    deployments: usize,
    /// Pods of each Deployment
    #[arg(long, default_value_t = 2)]
    replicas: usize,
    /// How long to look at what is at rest
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How long to leave it alone before
    #[arg(long, default_value_t = 10)]
    settle_seconds: u64,
    /// Folder for the identities of hollow nodes, best in memory: machines of their own would not share a disk
    #[arg(long, default_value = "/dev/shm")]
    identities: PathBuf,
}

/// Measures each size of the fleet.
///
/// # Errors
/// When pods do not all come to run, or to be gone.
pub(crate) fn run(args: &Args) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut figures = Vec::new();
        for (round, &nodes) in args.nodes.iter().enumerate() {
            let mut bench = Bench::start(&args.cluster, &args.identities, nodes).await?;
            bench.fleet.grow(nodes).await?;
            let round_figures = measure(&bench, args, nodes).await;
            figures.extend(round_figures?);
            if round == 0 && args.deployments > 0 {
                let at_rest = rest::Load {
                    deployments: args.deployments,
                    replicas: args.replicas,
                    seconds: args.seconds,
                };
                figures.extend(rest::measure(&bench, &at_rest, args.settle_seconds).await?);
            }
            bench.fleet.stop().await;
        }
        Ok(Report::new("placing", Machine::here(), figures))
    })
}

async fn measure(bench: &Bench, args: &Args, nodes: usize) -> Result<Vec<Figure>> {
    let settle = Duration::from_secs(args.settle_seconds);
    tokio::time::sleep(settle).await;
    let before = bench.usage()?;
    let mut figures = idle::memory(bench.empty, before, nodes, "without pods");
    let access = Connector::of(&bench.cluster)?;
    figures.extend(singles(bench, &access, args.singles, nodes).await?);
    let name = |what: &str| format!("{} pods on {nodes} nodes, {what}", args.pods);

    let mut watch = PodWatch::open(&access, NAMESPACE).await?;
    let idle = bench.usage()?;
    let start = Instant::now();
    let created = create(&bench.client, args.pods).await?;
    let answered = start.elapsed();
    let bound = watch.wait("every pod is bound", |seen| seen.bound == args.pods).await? - start;
    let running = watch.wait("every pod is Running", |seen| seen.running == args.pods).await? - start;
    let recorded = |told: super::host::Told| told.running == args.pods && told.unacked == 0;
    bench.fleet.wait_told("every report is acknowledged", recorded).await?;
    let up = bench.usage()?;
    tokio::time::sleep(settle).await;
    let full = bench.usage()?;

    let end = Instant::now();
    bench.client.request(Method::Delete, PODS, None).await?;
    let gone = watch.wait("every pod is gone", |seen| seen.gone == args.pods).await? - end;
    let after = bench.usage()?;
    let sights = watch.sights().await?;
    let (mut to_bound, mut to_running) = (Times::default(), Times::default());
    for (name, at) in created {
        let sight = sights.get(&name).context("a pod was not seen")?;
        to_bound.push(sight.bound.context("a pod was not bound")?.duration_since(at));
        to_running.push(sight.running.context("a pod did not run")?.duration_since(at));
    }
    let (bound_expected, theirs) = expected_bound(nodes);
    figures.extend([
        Figure::new(name("creates answered"), rate(args.pods, answered), "1/s"),
        Figure::new(name("bound"), rate(args.pods, bound), "1/s").expect_at_least(bound_expected, theirs),
        Figure::new(name("Running"), rate(args.pods, running), "1/s").expect_at_least(
            bound_expected * 0.8,
            "four writes instead of two, of which the node makes a part",
        ),
        Figure::new(name("create sent until seen bound, p50"), to_bound.percentile_ms(50), "ms"),
        Figure::new(name("create sent until seen bound, p99"), to_bound.percentile_ms(99), "ms"),
        Figure::new(name("create sent until seen Running, p50"), to_running.percentile_ms(50), "ms"),
        Figure::new(name("create sent until seen Running, p99"), to_running.percentile_ms(99), "ms")
            .expect_at_most(1000.0, "a fifth of what Kubernetes promises for pods that start"),
        Figure::new(name("gone after the deletion of all"), rate(args.pods, gone), "1/s"),
    ]);
    figures.extend(costs(args.pods, name, [idle, up, full, after]));
    Ok(figures)
}

/// What a pod costs the coordinator.
fn costs(pods: usize, name: impl Fn(&str) -> String, [idle, up, full, after]: [Usage; 4]) -> [Figure; 5] {
    let cpu_ms = |from: Usage, to: Usage| (to.cpu_seconds - from.cpu_seconds) * 1000.0 / per(pods);
    let memory = |of: fn(Usage) -> u64| of(full).saturating_sub(of(idle)) as f64 / 1024.0 / per(pods);
    [
        Figure::new(name("CPU of the coordinator per pod, created until Running"), cpu_ms(idle, up), "ms"),
        Figure::new(
            name("CPU of the coordinator per pod's life"),
            cpu_ms(idle, up) + cpu_ms(full, after),
            "ms",
        )
        .expect_at_most(2.0, "a fifth of Kubernetes' 10 to 11 ms"),
        Figure::new(name("memory of the coordinator per pod (PSS)"), memory(|usage| usage.pss_bytes), "KiB")
            .expect_at_most(
                16.0,
                "stored twice, in cache and newest changes, and known to four who look at it",
            ),
        Figure::new(
            name("memory of the coordinator per pod (anonymous)"),
            memory(|usage| usage.anonymous_bytes),
            "KiB",
        )
        .expect_at_most(16.0, "as above"),
        Figure::new(
            name("written to disk per pod, created until Running"),
            (up.written_bytes - idle.written_bytes) as f64 / per(pods),
            "B",
        ),
    ]
}

/// One pod at a time, so that nothing waits for anything but its own way.
async fn singles(bench: &Bench, access: &Connector, count: usize, nodes: usize) -> Result<Vec<Figure>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut watch = PodWatch::open(access, NAMESPACE).await?;
    let (mut to_bound, mut to_running) = (Times::default(), Times::default());
    let mut created = Vec::new();
    for number in 0..count {
        let name = format!("single-{number}");
        let at = Instant::now();
        bench.client.request(Method::Post, PODS, Some(&pod(&name))).await?;
        watch.wait("the pod is Running", |seen| seen.running == number + 1).await?;
        created.push((name, at));
    }
    bench.client.request(Method::Delete, PODS, None).await?;
    watch.wait("every pod is gone", |seen| seen.gone == count).await?;
    let sights = watch.sights().await?;
    for (name, at) in created {
        let sight = sights.get(&name).context("a pod was not seen")?;
        to_bound.push(sight.bound.context("a pod was not bound")?.duration_since(at));
        to_running.push(sight.running.context("a pod did not run")?.duration_since(at));
    }
    let name = |what: &str| format!("one pod at a time on {nodes} nodes, {what}");
    Ok(vec![
        Figure::new(name("create sent until seen bound, p50"), to_bound.percentile_ms(50), "ms"),
        Figure::new(name("create sent until seen bound, p99"), to_bound.percentile_ms(99), "ms"),
        Figure::new(name("create sent until seen Running, p50"), to_running.percentile_ms(50), "ms")
            .expect_at_most(21.0, "a tenth of Kubernetes' 209 to 236 ms"),
        Figure::new(name("create sent until seen Running, p99"), to_running.percentile_ms(99), "ms")
            .expect_at_most(52.0, "a tenth of Kubernetes' 516 to 527 ms"),
    ])
}

/// Creates pods, many at a time; answers when each was sent.
async fn create(client: &Client, pods: usize) -> Result<Vec<(String, Instant)>> {
    let mut creating = JoinSet::new();
    let mut created = Vec::with_capacity(pods);
    for number in 0..pods {
        if creating.len() >= WRITERS
            && let Some(one) = creating.join_next().await
        {
            created.push(one??);
        }
        let client = client.clone();
        creating.spawn(async move {
            let name = format!("pod-{number}");
            let at = Instant::now();
            client.request(Method::Post, PODS, Some(&pod(&name))).await?;
            anyhow::Ok((name, at))
        });
    }
    while let Some(one) = creating.join_next().await {
        created.push(one??);
    }
    ensure!(created.len() == pods, "not every pod was created");
    Ok(created)
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": "bench" } },
        "spec": spec(),
    })
}

/// One small container. A hollow node ends it as soon as it is told to.
pub(super) fn spec() -> Value {
    json!({
        "containers": [{
            "name": "main",
            "image": format!("dunlin.local/hollow@{}", Digest::of(b"nothing")),
            "resources": { "requests": { "cpu": "10m", "memory": "4Mi" } },
        }],
    })
}

/// Five times as many a second as Kubernetes binds on such a machine.
fn expected_bound(nodes: usize) -> (f64, &'static str) {
    if nodes < 1000 {
        (5.0 * 302.0, "five times Kubernetes' 302 on 100 nodes")
    } else {
        (5.0 * 246.0, "five times Kubernetes' 246 on 1,000 nodes")
    }
}

const NAMESPACE: &str = "default";
pub(super) const PODS: &str = "/api/v1/namespaces/default/pods";
/// Creates under way at a time.
const WRITERS: usize = 64;
