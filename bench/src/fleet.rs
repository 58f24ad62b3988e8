//! A coordinator with thousands of hollow nodes: what each costs while nothing happens, how changes reach them, and how they come
//! back when the coordinator was gone.

mod change;
mod client;
mod hollow;
mod host;
mod idle;
pub(crate) mod placing;
mod rest;
mod restart;

use std::{
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustix::process::Signal;

use self::{client::Client, hollow::Fleet, restart::Statuses};
use crate::{
    access::Access,
    cluster::{Cluster, ClusterArgs},
    machine::Machine,
    process::Usage,
    report::Report,
};

/// Options of `fleet`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// How many hollow nodes; each number is reached from the one before
    #[arg(long, value_delimiter = ',', default_values_t = [1000, 5000])]
    nodes: Vec<usize>,
    /// How long to look at idle nodes: a whole number of keep-alives of 25 s, or some count more of them than a day has
    #[arg(long, default_value_t = 100)]
    seconds: u32,
    /// How long to leave them alone before
    #[arg(long, default_value_t = 30)]
    settle_seconds: u64,
    /// How many nodes one change reaches
    #[arg(long, default_value_t = 1000)]
    changed: usize,
    /// Folder for the identities of hollow nodes, best in memory: machines of their own would not share a disk
    #[arg(long, default_value = "/dev/shm")]
    identities: PathBuf,
}

/// Measures idle nodes, then changes, then restarts.
///
/// # Errors
/// When nodes cannot join, or do not come back.
pub(crate) fn run(args: &Args) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut bench = Bench::start(&args.cluster, &args.identities, args.uses()).await?;
        let mut figures = Vec::new();
        for &count in &args.nodes {
            bench.fleet.grow(count).await?;
            figures.extend(idle::measure(&bench, args).await?);
        }
        figures.extend(change::measure(&mut bench, args).await?);
        figures.extend(restart::measure_agents(&mut bench, args).await?);
        figures.extend(restart::measure(&mut bench, args, Signal::KILL, Statuses::Moved).await?);
        figures.extend(restart::measure(&mut bench, args, Signal::TERM, Statuses::Unmoved).await?);
        bench.fleet.stop().await;
        Ok(Report::new("fleet", Machine::here(), figures))
    })
}

/// What runs.
#[derive(Debug)]
struct Bench {
    cluster: Cluster,
    address: SocketAddr,
    fleet: Fleet,
    client: Client,
    /// What the coordinator used before the first node.
    empty: Usage,
    /// Holds the identities.
    _identities: tempfile::TempDir,
}

impl Bench {
    /// A coordinator without nodes; `identities` is a folder for those of hollow nodes, and `uses` the most that will join.
    async fn start(cluster: &ClusterArgs, identities: &Path, uses: usize) -> Result<Self> {
        // The port must be known beforehand, because the nodes know it for ever.
        let address = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr())?;
        let cluster = Cluster::coordinator_on(cluster, &address.to_string())?;
        let client = connect(&cluster).await?;
        let token = cluster.run(&["node", "token", "create", "--uses", &uses.to_string()])?;
        let token = token.trim().parse().context("the token is malformed")?;
        let identities = tempfile::Builder::new().prefix("dunlin-bench-").tempdir_in(identities)?;
        tokio::time::sleep(Duration::from_secs(EMPTY_SETTLE_SECONDS)).await;
        let empty = cluster.usage(COORDINATOR)?;
        let fleet = Fleet::new(address, token, identities.path().to_owned());
        Ok(Self { cluster, address, fleet, client, empty, _identities: identities })
    }

    fn usage(&self) -> Result<Usage> {
        self.cluster.usage(COORDINATOR)
    }
}

impl Args {
    /// One use for every node.
    fn uses(&self) -> usize {
        self.nodes.iter().copied().max().unwrap_or(0).max(1)
    }
}

/// Waits until the coordinator answers.
async fn connect(cluster: &Cluster) -> Result<Client> {
    let deadline = tokio::time::Instant::now() + START_MAX;
    let path = cluster.path("coordinator/admin.config");
    while !Path::new(&path).exists() {
        anyhow::ensure!(tokio::time::Instant::now() < deadline, "the coordinator did not start");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Client::connect(&Access::read(Path::new(&path))?, START_MAX).await
}

/// `count` as a divisor, at least one.
fn per(count: usize) -> f64 {
    u32::try_from(count.max(1)).map_or(f64::INFINITY, f64::from)
}

const COORDINATOR: &[&str] = &["coordinator"];
const EMPTY_SETTLE_SECONDS: u64 = 5;
const START_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
