//! `runner` and `compile`: processes that nodes start for guests; not meant for people.

use std::{path::PathBuf, process::ExitCode};

use dunlin_edge_node::runner::{self, CompileArgs, Compiler, LogBounds, RunnerArgs};

use crate::terminal;

/// Options of `runner`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Socket to serve agents on.
    #[arg(long, value_name = "FILE")]
    socket: PathBuf,
}

/// Options of `compile`.
#[derive(Debug, clap::Args)]
pub(crate) struct CompilerArgs {
    /// The module.
    input: PathBuf,
    /// The artifact to write.
    output: PathBuf,
}

/// The whole life of a runner.
pub(crate) fn run(args: Args, verbosity: u8) -> ExitCode {
    terminal::start_logging(verbosity.max(1));
    let compiler = Compiler::this_program();
    runner::main(RunnerArgs { socket: args.socket, log_bounds: LogBounds::DEFAULT, compiler })
}

/// The whole life of a compiling process.
pub(crate) fn compile(args: CompilerArgs) -> ExitCode {
    runner::compile_main(&CompileArgs { input: args.input, output: args.output })
}
