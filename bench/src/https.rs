//! The API over HTTPS, as clients of Kubernetes see it: writes with every flush, reads, lists of ten thousand pods, watches, and
//! the memory of many stored pods. Other systems' figures of such a machine are beside ours as expectations.

pub(crate) mod client;
mod lists;
mod memory;
mod watches;
mod writes;

use anyhow::Result;

use self::client::Connector;
use crate::{
    cluster::{Cluster, ClusterArgs},
    machine::Machine,
    report::{Figure, Report},
};

/// Options of `https`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// How long to measure each number of clients
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Pods in the lists
    #[arg(long, default_value_t = 10_000)]
    pods: usize,
    /// Pods stored for the second measurement of memory; 0 leaves it out
    #[arg(long, default_value_t = 150_000)]
    many_pods: usize,
}

/// Measures a coordinator alone.
///
/// # Errors
/// When it does not come up, or refuses what it should not.
pub(crate) fn run(args: &Args) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut figures = Vec::new();
    {
        let cluster = Cluster::coordinator(&args.cluster)?;
        let access = Connector::of(&cluster)?;
        figures.extend(runtime.block_on(writes::measure(&cluster, &access, args.seconds))?);
        figures.extend(runtime.block_on(watches::measure(&access))?);
    }
    let cluster = Cluster::coordinator(&args.cluster)?;
    let access = Connector::of(&cluster)?;
    figures.extend(runtime.block_on(memory::fill(&cluster, &access, 0, args.pods))?);
    figures.extend(runtime.block_on(lists::measure(&cluster, &access, args.pods))?);
    if args.many_pods > args.pods {
        figures.extend(runtime.block_on(memory::fill(&cluster, &access, args.pods, args.many_pods))?);
    }
    Ok(Report::new("https", Machine::here(), figures))
}

/// CPU seconds that the coordinator has used.
fn cpu_seconds(cluster: &Cluster) -> Result<f64> {
    Ok(cluster.usage(&["coordinator"])?.cpu_seconds)
}

/// A pod of one container, of about 1.8 kB with its defaults and managed fields, as those are that Kubernetes' figures are of.
fn pod(name: &str) -> serde_json::Value {
    serde_json::json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "bench"}},
        "spec": {
            "containers": [{"name": "main", "image": "registry.example/app:1"}],
            "nodeSelector": {"no-such-node": "here"},
        },
    })
}

/// A ratio to a figure of Kubernetes, with what is expected of it.
fn times_kubernetes(figure: Figure, theirs: f64, factor: f64) -> Figure {
    let because = format!("{factor} times kube-apiserver and etcd on such a machine, {theirs}");
    figure.expect_at_least(theirs * factor, because)
}
