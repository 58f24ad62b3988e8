//! The coordinator's store, as its clients see it: acknowledged writes beside the disk's own rate, and restarts.

pub(crate) mod restart;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use dunlin_coordinator::store::{Compare, Store, StoreOptions, Txn, TxnOutcome, Write, value::StoredObject};
use tokio::task::JoinSet;

use crate::{
    disk,
    figures::Times,
    machine::Machine,
    report::{Figure, Report},
};

/// Options of `store`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder on the disk to measure; stores are made and removed in it
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// How long to measure each number of clients
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Objects in the store that is killed and opened again; 0 leaves that out
    #[arg(long, default_value_t = 150_000)]
    objects: u64,
}

/// Measures writers, then restarts.
///
/// # Errors
/// When the store or the disk fails.
pub(crate) fn run(args: &Args) -> Result<Report> {
    let runtime = tokio::runtime::Runtime::new()?;
    let mut figures = runtime.block_on(opening(&args.dir))?;
    figures.extend(runtime.block_on(writers(args))?);
    if args.objects > 0 {
        figures.extend(runtime.block_on(restart::measure(&args.dir, args.objects))?);
    }
    Ok(Report::new("store", Machine::here(), figures))
}

/// What a first start and every later one wait for.
async fn opening(dir: &Path) -> Result<Vec<Figure>> {
    let folder = tempfile::Builder::new().prefix(".dunlin-bench-").tempdir_in(dir)?;
    let mut figures = Vec::new();
    for name in ["make a new store", "open it again"] {
        let start = Instant::now();
        let store = Store::open(&StoreOptions::new(folder.path()))?;
        figures.push(Figure::new(name, start.elapsed().as_secs_f64() * 1000.0, "ms"));
        store.close().await;
    }
    Ok(figures)
}

async fn writers(args: &Args) -> Result<Vec<Figure>> {
    let time = Duration::from_secs(args.seconds);
    let mut figures = Vec::new();
    let mut rate_of_one = 0.0;
    for clients in [1, 16, 64] {
        // Before and after, because disks of shared machines change their mind.
        let (_, before) = disk::in_place(&args.dir, time / 4)?;
        let (mut times, rate) = write_for(&args.dir, clients, time).await?;
        let (_, after) = disk::in_place(&args.dir, time / 4)?;
        let disk_rate = f64::midpoint(before, after);

        let name = format!("acknowledged writes, {clients} clients");
        let written = Figure::new(&name, rate, "1/s");
        figures.push(Figure::new(
            format!("disk's own durable writes, beside {clients} clients"),
            disk_rate,
            "1/s",
        ));
        figures.push(if clients == 1 {
            rate_of_one = rate;
            written.expect_at_least(
                0.8 * disk_rate,
                "80 % of the disk's own rate: one flush per commit and little else",
            )
        } else if clients == 64 {
            written.expect_at_least(10.0 * rate_of_one, "ten times one client: writers share flushes")
        } else {
            written
        });
        figures.push(Figure::new(format!("{name}, p50"), times.percentile_ms(50), "ms"));
        figures.push(Figure::new(format!("{name}, p99"), times.percentile_ms(99), "ms"));
    }
    Ok(figures)
}

/// `clients` create objects one after the other in a new store.
async fn write_for(dir: &Path, clients: usize, time: Duration) -> Result<(Times, f64)> {
    let folder = tempfile::Builder::new().prefix(".dunlin-bench-").tempdir_in(dir)?;
    let store = Store::open(&StoreOptions::new(folder.path()))?;
    let start = Instant::now();
    let mut writers = JoinSet::new();
    for client in 0..clients {
        let store = store.clone();
        writers.spawn(async move {
            let mut times = Times::default();
            while start.elapsed() < time {
                let key = format!("/registry/configmaps/client-{client}/object-{:08}", times.len());
                let before = Instant::now();
                create(&store, vec![key]).await?;
                times.push(before.elapsed());
            }
            Ok::<_, anyhow::Error>(times)
        });
    }
    let mut times = Times::default();
    for writer in writers.join_all().await {
        times.extend(writer?);
    }
    let rate = times.rate(start.elapsed());
    store.close().await;
    Ok((times, rate))
}

/// Creates an object of about a kibibyte under each key, as the API service would.
async fn create(store: &Store, keys: Vec<String>) -> Result<()> {
    let writes = keys.iter().map(|key| Ok(Write::Put(key.clone(), object(key)?))).collect::<Result<_>>()?;
    let compares = keys.into_iter().map(Compare::Absent).collect();
    match store.txn(Txn { compares, writes }).await? {
        TxnOutcome::Committed(_) => Ok(()),
        TxnOutcome::Conflict(..) => bail!("a key exists already"),
    }
}

fn object(key: &str) -> Result<Bytes> {
    let data = "0123456789abcdef".repeat(OBJECT_BYTES / 16);
    let json = format!(
        r#"{{"apiVersion":"v1","data":{{"content":"{data}"}},"kind":"ConfigMap","metadata":{{"name":"{key}"}}}}"#
    );
    let stored = StoredObject::from_json(json.as_bytes()).context("the object has metadata")?;
    Ok(stored.to_value())
}

/// The size of a ConfigMap in the measurements of Kubernetes that `because` texts name.
const OBJECT_BYTES: usize = 1024;
