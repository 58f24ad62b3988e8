//! How long a store with many objects takes to answer again after its process was killed while writing.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use dunlin_coordinator::store::{ListOptions, Store, StoreOptions};

use crate::{
    report::{Figure, mebibytes},
    store::create,
};

/// Options of the child process.
#[derive(Debug, clap::Args)]
pub(crate) struct FillArgs {
    /// The store's folder
    #[arg(long)]
    dir: PathBuf,
    /// How many objects to write before saying so
    #[arg(long)]
    objects: u64,
}

/// Fills a store in a child process, kills it in the middle of further writes, and opens what is left.
///
/// # Errors
/// When the child or the store fails, or objects are missing.
pub(super) async fn measure(dir: &Path, objects: u64) -> Result<Vec<Figure>> {
    let folder = tempfile::Builder::new().prefix(".dunlin-bench-").tempdir_in(dir)?;
    let path = folder.path().to_owned();
    tokio::task::spawn_blocking(move || fill_and_kill(&path, objects)).await??;

    let start = Instant::now();
    let store = Store::open(&StoreOptions::new(folder.path()))?;
    let found = store.get(&key(objects - 1)).await?;
    let time = start.elapsed();
    ensure!(found.is_some(), "the last object acknowledged before the kill is missing");
    let counted = count(&store).await?;
    ensure!(counted >= objects, "{counted} of {objects} objects are left");
    store.close().await;

    let bytes = fs::metadata(folder.path().join("store.redb"))?.len();
    let name = format!("open to first answer after a kill, {objects} objects");
    Ok(vec![
        Figure::new(name, time.as_secs_f64() * 1000.0, "ms")
            .expect_at_most(2000.0, "what a crash left is in a log of bounded size; the rest is not read"),
        Figure::new("database file", mebibytes(bytes), "MiB"),
    ])
}

/// The child: fills, says so, and writes on until it is killed.
///
/// # Errors
/// When the store fails.
pub(crate) fn fill(args: &FillArgs) -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let store = Store::open(&StoreOptions::new(&args.dir))?;
        let mut next = 0;
        while next < args.objects {
            let end = args.objects.min(next + OBJECTS_PER_TXN);
            create(&store, (next..end).map(key).collect()).await?;
            next = end;
        }
        println!("{FILLED}");
        loop {
            create(&store, vec![key(next)]).await?;
            next += 1;
        }
    })
}

fn fill_and_kill(folder: &Path, objects: u64) -> Result<()> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["store-fill", "--objects", &objects.to_string(), "--dir"])
        .arg(folder)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the process that fills the store")?;
    let output = child.stdout.take().context("the child's output is a pipe")?;
    let is_filled = BufReader::new(output).lines().map_while(Result::ok).any(|line| line == FILLED);
    // The log then holds a few hundred commits that the database does not.
    std::thread::sleep(Duration::from_secs(1));
    child.kill()?;
    child.wait()?;
    ensure!(is_filled, "the process that fills the store ended early");
    Ok(())
}

async fn count(store: &Store) -> Result<u64> {
    let mut options = ListOptions { prefix: PREFIX.to_owned(), after: None, limit: Some(500), at: None };
    let mut counted = 0;
    loop {
        let page = store.list(options.clone()).await?;
        counted += page.items.len() as u64;
        if !page.more {
            return Ok(counted);
        }
        options.at = Some(page.revision);
        options.after = page.items.into_iter().last().map(|item| item.key);
    }
}

fn key(number: u64) -> String {
    format!("{PREFIX}namespace-{}/object-{number:08}", number % 50)
}

const PREFIX: &str = "/registry/configmaps/";
const OBJECTS_PER_TXN: u64 = 200;
const FILLED: &str = "filled";
