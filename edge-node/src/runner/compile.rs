//! `dunlin compile`: what runs in a compiling process, within limits that the process sets itself before it looks at its input.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use dunlin_compiler::{COMPILE_BYTES_MAX, COMPILE_CPU_SECONDS_MAX, EXIT_BAD_MODULE, EXIT_FAILED, PEAK};
use dunlin_link::limits::MODULE_BYTES_MAX;
use dunlin_wasm_host::{CompileError, HAS_COMPILER, Target, TargetError};
use rustix::process::{Resource, Rlimit, setpriority_process, setrlimit};

/// What `dunlin compile` is told.
#[derive(Clone, Debug)]
pub enum CompileArgs {
    /// To compile a module.
    Module {
        /// The module.
        input: PathBuf,
        /// The artifact to write; must not exist.
        output: PathBuf,
        /// Key of a target; this machine's when there is none.
        target: Option<String>,
    },
    /// To print the keys of all targets.
    ListTargets,
}

/// The whole life of the compiling process: compiles one module within its limits. The result is in the exit code and, for a person,
/// on standard error.
pub fn compile_main(args: &CompileArgs) -> ExitCode {
    let outcome = match args {
        CompileArgs::Module { input, output, target } => {
            limit_process().map_err(Failure::Io).and_then(|()| compile_file(input, output, target.as_deref()))
        }
        CompileArgs::ListTargets => list_targets().map_err(Failure::Io),
    };
    let (code, message) = match outcome {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Module(error)) => (EXIT_BAD_MODULE, error.to_string()),
        Err(Failure::TooLarge) => (EXIT_BAD_MODULE, "the module is larger than can be run".to_owned()),
        Err(Failure::Target(error)) => (EXIT_FAILED, error.to_string()),
        Err(Failure::Io(error)) => (EXIT_FAILED, error.to_string()),
    };
    // The parent may have gone; then nobody reads it.
    let _ = writeln!(io::stderr(), "{message}");
    ExitCode::from(code)
}

enum Failure {
    Module(CompileError),
    TooLarge,
    Target(TargetError),
    Io(io::Error),
}

fn list_targets() -> io::Result<()> {
    Target::all().filter(|_| HAS_COMPILER).try_for_each(|target| writeln!(io::stdout(), "{target}"))
}

/// Applies to this process alone, which does nothing else.
fn limit_process() -> io::Result<()> {
    let limit = |value| Rlimit { current: Some(value), maximum: Some(value) };
    setrlimit(Resource::As, limit(COMPILE_BYTES_MAX))?;
    setrlimit(Resource::Cpu, limit(COMPILE_CPU_SECONDS_MAX))?;
    setrlimit(Resource::Core, limit(0))?;
    // Guests that run already go first.
    setpriority_process(None, COMPILE_NICENESS)?;
    Ok(())
}

fn compile_file(input: &Path, output: &Path, target: Option<&str>) -> Result<(), Failure> {
    let target = target.map_or_else(Target::of_this_machine, str::parse).map_err(Failure::Target)?;
    let mut wasm = Vec::new();
    let file = File::open(input).map_err(Failure::Io)?;
    file.take(MODULE_BYTES_MAX + 1).read_to_end(&mut wasm).map_err(Failure::Io)?;
    if wasm.len() as u64 > MODULE_BYTES_MAX {
        return Err(Failure::TooLarge);
    }
    let artifact = dunlin_wasm_host::compile(&wasm, target).map_err(|error| match error {
        CompileError::Absent => Failure::Io(io::Error::other(error)),
        error => Failure::Module(error),
    })?;
    write_artifact(output, &artifact).map_err(Failure::Io)?;
    if let Some(bytes) = peak_bytes() {
        // Only told to those who listen.
        let _ = writeln!(io::stdout(), "{PEAK}{bytes}");
    }
    Ok(())
}

/// On disk in full before anyone may rename it into place: a torn artifact would be run as code.
fn write_artifact(path: &Path, artifact: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(path)?;
    file.write_all(artifact)?;
    file.sync_all()
}

/// The most memory that this process has had.
fn peak_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

const COMPILE_NICENESS: i32 = 10;
