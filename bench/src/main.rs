//! Macro benches: each prints one JSON document with the machine, the commit, what was measured and what was expected.
//!
//! `fsync`, `store` and `scheduler` drive parts of the coordinator in this process; all others start the built binary and look at it from outside.
//! `fleet` and `placing` also are thousands of nodes themselves.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the report is this program's output")]

mod access;
mod apply;
mod board;
mod cluster;
mod containers;
mod dev_start;
mod disk;
mod figures;
mod fleet;
mod guests;
mod https;
mod idle;
mod machine;
mod offline_boot;
mod pod_watch;
mod pods;
mod process;
mod report;
mod scheduler;
mod size;
mod store;
mod watches;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Measures Dunlin; bench/README.md says what each bench means and what is expected of it.
#[derive(Debug, Parser)]
#[command(name = "dunlin-bench")]
struct Cli {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// How often the disk itself can make a small write durable
    Fsync(disk::Args),
    /// Acknowledged writes per second with 1, 16 and 64 clients, and the restart after a kill with many objects
    Store(store::Args),
    /// Time from the answer of `apply` until a watch sees the pod Running
    Apply(apply::Args),
    /// Pods started per second on one node, and memory per idle pod
    Pods(pods::Args),
    /// Memory, CPU time and disk writes of a coordinator and a node while nothing happens
    Idle(idle::Args),
    /// The Kubernetes API over HTTPS: writes, reads, lists, watches, and memory with many pods
    Https(https::Args),
    /// Thousands of watches beside many writers: whether each tells every change once, in order; memory, delay, slow clients
    Watches(watches::Args),
    /// Thousands of hollow nodes: memory, CPU and bytes of each while idle, changes that reach many, restarts of the coordinator
    Fleet(fleet::Args),
    /// Pods created through the API until they are bound and run on hollow nodes; then Deployments at rest
    Placing(fleet::placing::Args),
    /// Time from the agent's start until all pods run again, after a power cut and without a coordinator
    OfflineBoot(offline_boot::Args),
    /// Time from the start of `dunlin dev` until the API answers
    DevStart(dev_start::Args),
    /// Placements per second of the scheduler alone, for the shapes of Kubernetes' scheduler_perf, on fleets of several sizes
    Scheduler(scheduler::Args),
    /// Whether limits on processor time hold, for one guest, several, and several instances of one
    GuestCpu(guests::cpu::Args),
    /// Answers of a handler beside guests that compute without end, against alone
    GuestNeighbours(guests::neighbours::Args),
    /// Requests per second of a handler against `wasmtime serve`, and the first one after a rest
    GuestHttp(guests::http::Args),
    /// A large module: compiling it, and starting it with code made ahead
    GuestModule(guests::module::Args),
    /// Two hundred pods of several kinds on one node that may have 1 GiB of memory
    Board(board::Args),
    /// Linux containers beside containerd: pods started, memory of each, pulls, commands
    Containers(containers::Args),
    /// Size of the binary
    Size(cluster::ClusterArgs),
    /// Fills a store, then writes until it is killed; started by `store`
    #[command(hide = true)]
    StoreFill(store::restart::FillArgs),
    /// One step of a bench of guests in a process of its own
    #[command(hide = true)]
    GuestStep(guests::step::Args),
}

fn main() -> Result<()> {
    let report = match Cli::parse().bench {
        Bench::Fsync(args) => disk::run(&args)?,
        Bench::Store(args) => store::run(&args)?,
        Bench::Apply(args) => apply::run(&args)?,
        Bench::Pods(args) => pods::run(&args)?,
        Bench::Idle(args) => idle::run(&args)?,
        Bench::Https(args) => https::run(&args)?,
        Bench::Watches(args) => watches::run(&args)?,
        Bench::Fleet(args) => fleet::run(&args)?,
        Bench::Placing(args) => fleet::placing::run(&args)?,
        Bench::OfflineBoot(args) => offline_boot::run(&args)?,
        Bench::DevStart(args) => dev_start::run(&args)?,
        Bench::Scheduler(args) => scheduler::run(&args)?,
        Bench::Size(args) => size::run(&args)?,
        Bench::Board(args) => board::run(&args)?,
        Bench::Containers(args) => containers::run(&args)?,
        Bench::GuestCpu(args) => guests::cpu::run(&args)?,
        Bench::GuestNeighbours(args) => guests::neighbours::run(&args)?,
        Bench::GuestHttp(args) => guests::http::run(&args)?,
        Bench::GuestModule(args) => guests::module::run(&args)?,
        Bench::StoreFill(args) => return store::restart::fill(&args),
        Bench::GuestStep(args) => {
            if let Some(taken) = guests::step::run(&args)? {
                println!("{}", serde_json::to_string(&taken)?);
            }
            return Ok(());
        }
    };
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}
