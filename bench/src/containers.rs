//! Linux containers beside containerd, in turns on one machine: the same images from the same registry, the same OCI runtime.
//!
//! Ours is asked as clients ask a cluster, from the creation through the API to the word of a watch. containerd is asked as a kubelet asks
//! it, with nothing in front of it: what a cluster adds there is in the constants, which were measured elsewhere.

mod containerd;
mod cri;
mod grpc;
mod images;
mod ours;
mod protobuf;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::{task::JoinSet, time::sleep};

use self::{
    containerd::Containerd,
    cri::{Cri, CriPod},
    images::{Registry, Size},
    ours::Ours,
};
use crate::{
    cluster::ClusterArgs,
    figures::Times,
    machine::Machine,
    report::{Figure, Report},
};

/// Options of `containers`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Folder of the programs of containerd 2
    #[arg(long)]
    containerd: PathBuf,
    /// The OCI runtime of both
    #[arg(long, default_value = "/usr/sbin/runc")]
    runtime: PathBuf,
    /// Pods that are started one after the other
    #[arg(long, default_value_t = 100)]
    singles: usize,
    /// Pods that are started at once
    #[arg(long, default_value_t = 50)]
    pods: usize,
    /// Commands that are run in a pod
    #[arg(long, default_value_t = 50)]
    commands: usize,
    /// How often the large image is pulled
    #[arg(long, default_value_t = 3)]
    pulls: usize,
    /// Size of each of its four layers, unpacked
    #[arg(long, default_value_t = 64)]
    layer_mebibytes: u64,
}

/// Measures both.
///
/// # Errors
/// When something that is compared is missing or fails.
pub(crate) fn run(args: &Args) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let folder = tempfile::Builder::new().prefix(".dunlin-bench-").tempdir_in(&args.cluster.dir)?;
    let registry = Registry::start(&folder.path().join("registry"))?;
    let busybox = registry.push_busybox()?;
    registry.push_pause()?;
    let containerd = folder.path().canonicalize()?.join("containerd");
    let containerd = Containerd::start(&args.containerd, &containerd, &args.runtime, &registry)?;
    let figures = runtime.block_on(async {
        let mut both = Both {
            ours: Ours::start(&args.cluster, &args.runtime, &registry, &busybox).await?,
            cri: containerd.client(&busybox).await?,
            containerd: &containerd,
        };
        both.ours.pull(&busybox)?;
        both.cri.pull(&busybox).await?;
        let mut figures = both.singles(args.singles).await?;
        figures.extend(both.many(args.pods, args.commands).await?);
        if args.pulls > 0 {
            let (image, size) = registry.push_large(LAYERS, args.layer_mebibytes << 20)?;
            figures.extend(both.pulls(args.pulls, &image, size).await?);
        }
        anyhow::Ok(figures)
    })?;
    Ok(Report::new("containers", Machine::here(), figures))
}

struct Both<'a> {
    ours: Ours,
    cri: Cri,
    containerd: &'a Containerd,
}

impl Both<'_> {
    /// Pods one after the other, in turns.
    async fn singles(&mut self, count: usize) -> Result<Vec<Figure>> {
        let (mut ours, mut theirs) = (Times::default(), Times::default());
        for number in 0..=count {
            let name = format!("single-{number}");
            let time = self.ours.pod(&name).await?;
            let start = Instant::now();
            let pod = self.cri.start(&name).await?;
            let their_time = start.elapsed();
            self.cri.end(&pod).await?;
            // The first of each makes bridges.
            if number > 0 {
                ours.push(time);
                theirs.push(their_time);
            }
        }
        let name = |what: &str| format!("pod started, image here, {what}");
        let mut figures = Vec::new();
        for (percent, most, because) in [
            (50, 59.0, "a quarter of Kubernetes' 209 to 236 ms, by a kubelet on such a machine"),
            (99, 130.0, "a quarter of Kubernetes' 520 ms"),
        ] {
            let (ours, theirs) = (ours.percentile_ms(percent), theirs.percentile_ms(percent));
            figures.push(
                Figure::new(name(&format!("created until seen Running, p{percent}")), ours, "ms")
                    .expect_at_most(most, because),
            );
            figures.push(Figure::new(name(&format!("containerd alone, p{percent}")), theirs, "ms"));
            figures.push(ratio(name(&format!("over containerd alone, p{percent}")), ours, theirs));
        }
        Ok(figures)
    }

    /// Pods at once; then what they take, and commands in them.
    async fn many(&mut self, count: usize, commands: usize) -> Result<Vec<Figure>> {
        let per = |bytes: u64| bytes as f64 / 1024.0 / count.max(1) as f64;
        let name = |what: &str| format!("{count} pods, {what}");
        let agent = self.ours.agent_bytes()?;
        let (watch, ours) = self.ours.pods(count).await?;
        sleep(SETTLE).await;
        let (shims, agent) = (self.ours.shims_bytes()?, self.ours.agent_bytes()?.saturating_sub(agent));
        let mut our_commands = Times::default();
        for number in 0..commands {
            let start = Instant::now();
            self.ours.exec(number % count, COMMAND)?;
            our_commands.push(start.elapsed());
        }
        let ended = self.ours.end(watch, count).await?;

        let daemon = self.containerd.daemon_bytes()?;
        let (pods, theirs) = start_all(&self.cri, count).await?;
        sleep(SETTLE).await;
        let (their_shims, pauses) = self.containerd.pods_bytes()?;
        let daemon = self.containerd.daemon_bytes()?.saturating_sub(daemon);
        let their_commands = self.their_commands(&pods, commands).await;
        let their_end = end_all(&self.cri, pods).await?;
        let (mut by_client, mut by_call) = their_commands?;
        let mut figures = vec![
            Figure::new(name("created until all are seen Running"), ours.as_secs_f64(), "s")
                .expect_at_most(1.64, "a fifth of Kubernetes' 8.2 s, by a kubelet on such a machine"),
            Figure::new(name("containerd alone"), theirs.as_secs_f64(), "s"),
            ratio(name("over containerd alone"), ours.as_secs_f64(), theirs.as_secs_f64()),
            Figure::new(name("deleted until all are gone"), ended.as_secs_f64(), "s"),
            Figure::new(name("containerd ends and forgets all"), their_end.as_secs_f64(), "s"),
            Figure::new(name("memory (PSS) of the shim, each"), per(shims), "KiB")
                .expect_at_most(1024.0, "a small program; containerd's shim and pause took 5.4 MB"),
            Figure::new(name("memory (PSS) that the agent grew by, each"), per(agent), "KiB"),
            Figure::new(name("memory (PSS) of containerd's shim, each"), per(their_shims), "KiB"),
            Figure::new(name("memory (PSS) of pause, each"), per(pauses), "KiB"),
            Figure::new(name("memory (PSS) that containerd grew by, each"), per(daemon), "KiB"),
            ratio(name("memory over that of shim and pause"), per(shims), per(their_shims) + per(pauses)),
        ];
        figures.extend([
            Figure::new("command in a pod, `dunlin exec`, p50", our_commands.percentile_ms(50), "ms")
                .expect_at_most(
                    by_client.percentile_ms(50),
                    "`ctr task exec` of this run, which speaks to containerd alone",
                ),
            Figure::new("command in a pod, `dunlin exec`, p99", our_commands.percentile_ms(99), "ms"),
            Figure::new("command in a pod, `ctr task exec`, p50", by_client.percentile_ms(50), "ms"),
            Figure::new("command in a pod, `ctr task exec`, p99", by_client.percentile_ms(99), "ms"),
            Figure::new("command in a pod, ExecSync of containerd, p50", by_call.percentile_ms(50), "ms"),
            Figure::new("command in a pod, ExecSync of containerd, p99", by_call.percentile_ms(99), "ms"),
        ]);
        Ok(figures)
    }

    async fn their_commands(&self, pods: &[CriPod], count: usize) -> Result<(Times, Times)> {
        let (mut by_client, mut by_call) = (Times::default(), Times::default());
        for (number, pod) in pods.iter().cycle().take(count).enumerate() {
            let start = Instant::now();
            self.containerd.exec(&pod.container, number, COMMAND)?;
            by_client.push(start.elapsed());
            let start = Instant::now();
            self.cri.exec(pod, COMMAND).await?;
            by_call.push(start.elapsed());
        }
        Ok((by_client, by_call))
    }

    /// A large image, in turns.
    async fn pulls(&mut self, count: usize, image: &str, size: Size) -> Result<Vec<Figure>> {
        let (mut ours, mut theirs) = (Times::default(), Times::default());
        for _ in 0..count {
            let start = Instant::now();
            self.ours.pull(image)?;
            ours.push(start.elapsed());
            self.ours.remove_image(image)?;
            let start = Instant::now();
            self.cri.pull(image).await?;
            theirs.push(start.elapsed());
            self.cri.remove_image(image).await?;
        }
        let rate = |times: &mut Times| megabytes(size.packed) * 1000.0 / times.percentile_ms(50);
        let (ours, theirs) = (rate(&mut ours), rate(&mut theirs));
        Ok(vec![
            Figure::new("large image, packed", megabytes(size.packed), "MB"),
            Figure::new("large image, files", megabytes(size.files), "MB"),
            Figure::new("pulled and unpacked, packed bytes, median", ours, "MB/s")
                .expect_at_least(theirs, "containerd of this run"),
            Figure::new("pulled and unpacked by containerd, median", theirs, "MB/s"),
        ])
    }
}

async fn start_all(cri: &Cri, count: usize) -> Result<(Vec<CriPod>, Duration)> {
    let start = Instant::now();
    let mut starting = JoinSet::new();
    for number in 0..count {
        let cri = cri.clone();
        starting.spawn(async move { cri.start(&format!("pod-{number}")).await });
    }
    let mut pods = Vec::new();
    while let Some(started) = starting.join_next().await {
        pods.push(started?.context("containerd did not start a pod")?);
    }
    Ok((pods, start.elapsed()))
}

async fn end_all(cri: &Cri, pods: Vec<CriPod>) -> Result<Duration> {
    let start = Instant::now();
    let mut ending = JoinSet::new();
    for pod in pods {
        let cri = cri.clone();
        ending.spawn(async move { cri.end(&pod).await });
    }
    while let Some(ended) = ending.join_next().await {
        ended??;
    }
    Ok(start.elapsed())
}

fn ratio(name: String, ours: f64, theirs: f64) -> Figure {
    Figure::new(name, ours / theirs, "")
        .expect_at_most(1.0, "though an API server, a store and a scheduler are before ours")
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

const COMMAND: &[&str] = &["/bin/true"];
const LAYERS: usize = 4;
/// How long pods are left alone before they are weighed.
const SETTLE: Duration = Duration::from_secs(3);
