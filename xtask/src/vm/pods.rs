//! `vm-pods`: what the suite `pods` runs inside the machine: a coordinator and a node as users start them, and pods of an ordinary
//! image, looked at from inside and from the machine. It says what became of each check in the words of Rust's tests.
//!
//! It takes root and a machine without a node, and leaves nothing.

mod checks;
mod cluster;

use std::path::PathBuf;

use anyhow::{Result, ensure};

use self::{checks::CHECKS, cluster::Cluster};

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The binary that is looked at.
    dunlin: PathBuf,
    /// An archive with the image `localhost/busybox:1`.
    image: PathBuf,
    /// Only checks whose names hold one of these words.
    words: Vec<String>,
}

/// Runs all checks on a node of each runtime that is here.
///
/// # Errors
/// When one failed.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut failed = 0;
    for runtime in ["crun", "runc"] {
        match Cluster::start(&args.dunlin, runtime, &args.image) {
            Ok(mut cluster) => failed += run_on(&mut cluster, runtime, &args.words),
            Err(error) => {
                println!("test {runtime}::a_node_starts ... FAILED\n{error:#}");
                failed += 1;
            }
        }
    }
    ensure!(failed == 0, "{failed} checks failed");
    Ok(())
}

fn run_on(cluster: &mut Cluster, runtime: &str, words: &[String]) -> usize {
    let mut failed = 0;
    for (name, check) in CHECKS {
        if !words.is_empty() && !words.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        match check(cluster) {
            Ok(()) => println!("test {runtime}::{name} ... ok"),
            Err(error) => {
                println!("test {runtime}::{name} ... FAILED\n{error:#}");
                failed += 1;
            }
        }
    }
    failed
}
