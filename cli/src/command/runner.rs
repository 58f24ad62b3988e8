//! `runner` and `compile`: processes that nodes start for guests; not meant for people.

use std::{path::PathBuf, process::ExitCode};

use dunlin_edge_node::{
    CompileMode,
    runner::{self, CompileArgs, LogBounds, OwnCode, RunnerArgs},
};

use crate::terminal;

/// Options of `runner`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Socket to serve agents on.
    #[arg(long, value_name = "FILE")]
    socket: PathBuf,
    /// Whether modules without code are compiled here.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    compile: CompileMode,
    /// What guests of a namespace may keep together.
    #[arg(long, value_name = "MIB")]
    keyvalue_quota_mib: Option<u64>,
}

/// Options of `compile`.
#[derive(Debug, clap::Args)]
pub(crate) struct CompilerArgs {
    /// Print the keys of all targets.
    #[arg(long, conflicts_with = "input")]
    targets: bool,
    /// The module.
    #[arg(required_unless_present = "targets", requires = "output")]
    input: Option<PathBuf>,
    /// The artifact to write.
    output: Option<PathBuf>,
    /// Key of the machines to compile for, in place of this one.
    target: Option<String>,
}

/// The whole life of a runner.
pub(crate) fn run(args: Args, verbosity: u8) -> ExitCode {
    terminal::start_logging(verbosity.max(1));
    let own = match args.compile {
        CompileMode::Auto => OwnCode::of_this_program(),
        CompileMode::Never => OwnCode::None,
    };
    let keyvalue_quota_bytes = args.keyvalue_quota_mib.map(|mib| mib.saturating_mul(1 << 20));
    let (socket, log_bounds) = (args.socket, LogBounds::DEFAULT);
    runner::main(RunnerArgs { socket, log_bounds, own, keyvalue_quota_bytes })
}

/// The whole life of a compiling process.
pub(crate) fn compile(args: CompilerArgs) -> ExitCode {
    let CompilerArgs { targets: _, input, output, target } = args;
    runner::compile_main(&match (input, output) {
        (Some(input), Some(output)) => CompileArgs::Module { input, output, target },
        _ => CompileArgs::ListTargets,
    })
}
