//! The project's one tool: `cargo xtask COMMAND`. Each command is a module of the same name with a `run` function.

#![deny(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool for the terminal")]

use std::{path::Path, process::ExitCode};

use clap::{Parser, Subcommand};

mod build_workloads;
mod ci;
mod debian;
mod demo;
mod dist;
mod emulated;
mod foreign;
mod machine;
mod network;
mod packages;
mod policy;
mod schema;
mod sim;
mod step;
mod test;
mod tidy;
mod toolchain;
mod torture;
mod vm;

/// Chores of the Dunlin repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Everything that must hold before a change lands: format, tidy, clippy, build, tests, docs, demo.
    Ci,
    /// Build the guest programs when stale, then run every test. Arguments go to `cargo test`.
    Test {
        /// For instance `-p dunlin-link some_test`; default is the whole workspace.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        cargo_args: Vec<String>,
    },
    /// Kill coordinator, agents and runners of a real cluster at random moments under writes; nothing may be lost or leak.
    Torture {
        /// How many times; about a second each, with containers two or three.
        #[arg(long, default_value_t = 500)]
        kills: u32,
        /// Kill agent, shims, runners, the OCI runtime and containers of a node with Linux pods instead, so often with each runtime that
        /// is installed. Takes root.
        #[arg(long)]
        containers: bool,
        /// Repeats the choices of an earlier run.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Install what tests make use of: packages of the system, and clients of Kubernetes under target/clients.
    Packages,
    /// Compile the guest programs under workloads/ into target/workloads.
    BuildWorkloads,
    /// Fetch and make the modules of others that tests run, into target/foreign.
    Foreign,
    /// Build the node for ARM64 that tests run under emulation.
    EmulatedNode,
    /// Check what no compiler checks: crate arrows, headers, bans, duplicates, licences.
    Tidy,
    /// Build, start a dev cluster of three nodes, apply manifests/demo, wait until all runs, call the HTTP pod.
    Demo(demo::Args),
    /// Run coordinator and node with a bad line between them: delay, loss, no UDP, another address, flaps. Takes root.
    Network(network::Args),
    /// Run tests of containers in a machine under QEMU: cgroup v2, large pages, AppArmor, x86-64 or ARM64.
    Vm(vm::Args),
    #[command(hide = true)]
    VmPods(vm::pods::Args),
    /// Release archives into target/dist, for x86-64 and ARM64, with sizes and checksums.
    Dist(dist::Args),
    /// Run worlds of the deterministic simulator, by seed.
    Sim(sim::Args),
    /// Make the schema table of api/ from the facts beside the repository.
    Schema,
    /// Make the table of a new cluster's roles from the facts beside the repository.
    Policy,
}

fn main() -> ExitCode {
    let outcome = match Args::parse().chore {
        Chore::Ci => ci::run(),
        Chore::Test { cargo_args } => test::run(&cargo_args),
        Chore::Torture { kills, containers: false, seed } => torture::run(torture::Of::Cluster, kills, seed),
        Chore::Torture { kills, containers: true, seed } => {
            torture::run(torture::Of::Containers, kills, seed)
        }
        Chore::Packages => packages::install(),
        Chore::BuildWorkloads => build_workloads(),
        Chore::Foreign => foreign::build(),
        Chore::EmulatedNode => emulated::build(),
        Chore::Tidy => tidy::run(),
        Chore::Demo(args) => demo::run(&args),
        Chore::Network(args) => network::run(&args),
        Chore::Vm(args) => vm::run(&args),
        Chore::VmPods(args) => vm::pods::run(&args),
        Chore::Dist(args) => dist::run(&args),
        Chore::Sim(args) => sim::run(&args),
        Chore::Schema => schema::run(Path::new(schema::SOURCE), Path::new(schema::TABLE)),
        Chore::Policy => policy::run(Path::new(policy::SOURCE), Path::new(policy::TABLE)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn build_workloads() -> anyhow::Result<()> {
    for file in build_workloads::run(step::root(), &step::target_dir())? {
        println!("{}", file.display());
    }
    Ok(())
}
