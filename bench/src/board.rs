//! As many pods of several kinds as fit a small board: one node whose processes may have no more memory than it has.

use std::{
    collections::HashSet,
    fmt::Write as _,
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    cluster::{Cluster, ClusterArgs, name_and_status, next_line},
    machine::Machine,
    report::{Figure, Report, mebibytes},
};

/// Options of `board`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// How many pods
    #[arg(long, default_value_t = 200)]
    pods: usize,
    /// Memory of the board
    #[arg(long, default_value_t = 1024)]
    mebibytes: u64,
}

/// Starts the pods on one node and weighs it.
///
/// # Errors
/// When they do not all run.
pub(crate) fn run(args: &Args) -> Result<Report> {
    let board = args.mebibytes << 20;
    // What a process may write to of its own: it is handed down to every process of the cluster.
    let limit = Rlimit { current: Some(board), maximum: getrlimit(Resource::Data).maximum };
    setrlimit(Resource::Data, limit).context("cannot limit the memory of processes")?;
    let mut cluster = Cluster::machines(&args.cluster)?;
    for kind in KINDS {
        cluster.push(kind.image)?;
    }
    let seen = cluster.watch_pods()?;
    let start = Instant::now();
    let mut manifest = String::new();
    for (number, kind) in KINDS.iter().cycle().take(args.pods).enumerate() {
        pod(&mut manifest, number, kind)?;
    }
    let path = cluster.path("pods.yaml");
    fs::write(&path, manifest)?;
    cluster.run(&["apply", "-f", &path])?;
    let mut running = HashSet::new();
    while running.len() < args.pods {
        let is_new =
            |line: &str| matches!(name_and_status(line), Some((name, "Running")) if !running.contains(name));
        let next = next_line(&seen, is_new)?;
        if let Some((name, _)) = name_and_status(&next.line) {
            running.insert(name.to_owned());
        }
    }
    let elapsed = start.elapsed();
    thread::sleep(SETTLE);
    let usage = cluster.usage(&["edge-node", "runner"])?;
    let weight = usage.pss_bytes + usage.page_table_bytes;
    let figures = vec![
        Figure::new("pods that run on the node", running.len() as f64, ""),
        Figure::new("applied until the last was seen Running", elapsed.as_secs_f64(), "s"),
        Figure::new("memory of agent and runner, page tables included", mebibytes(weight), "MiB")
            .expect_at_most(
                args.mebibytes as f64 / 4.0,
                "a quarter of the board: the rest is for guests and others",
            ),
        Figure::new("the same, of it anonymous", mebibytes(usage.anonymous_bytes), "MiB"),
    ];
    Ok(Report::new("board", Machine::here(), figures))
}

/// A kind of pod.
struct Kind {
    image: &'static str,
    args: &'static str,
    port: bool,
}

fn pod(manifest: &mut String, number: usize, kind: &Kind) -> Result<()> {
    let Kind { image, args, .. } = kind;
    write!(
        manifest,
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: pod-{number}}}\nspec:\n  terminationGracePeriodSeconds: 0\n  containers:\n  \
         - name: main\n    image: dunlin.local/{image}\n    imagePullPolicy: IfNotPresent\n    args: {args}\n    \
         resources: {{limits: {{memory: 16Mi}}}}\n"
    )?;
    if kind.port {
        writeln!(manifest, "    ports: [{{name: http, containerPort: 8080}}]")?;
    }
    Ok(())
}

/// A component that prints now and then, a handler, and a component that holds some memory.
const KINDS: &[Kind] = &[
    Kind { image: "ticker", args: "[]", port: false },
    Kind { image: "http-hello", args: "[]", port: true },
    Kind { image: "hog", args: "[memory, \"1\"]", port: false },
];

/// How long they are left alone before they are weighed.
const SETTLE: Duration = Duration::from_secs(5);
