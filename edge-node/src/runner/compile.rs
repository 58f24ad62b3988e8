//! Compiling a module in a process of its own, with limits: a hostile module may make a compiler take any time and memory, and then
//! only this process ends.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::{fs::OpenOptionsExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{ExitCode, ExitStatus, Stdio},
    time::Duration,
};

use dunlin_link::limits::MODULE_BYTES_MAX;
use dunlin_wasm_host::CompileError;
use rustix::process::{Resource, Rlimit, setpriority_process, setrlimit};
use tokio::{io::AsyncReadExt as _, process::Command, time::timeout};

/// What `dunlin compile` is told.
#[derive(Clone, Debug)]
pub struct CompileArgs {
    /// The module.
    pub input: PathBuf,
    /// The artifact to write; must not exist.
    pub output: PathBuf,
}

/// The whole life of the compiling process: compiles one module within its limits. The result is in the exit code and, for a person,
/// on standard error.
pub fn compile_main(args: &CompileArgs) -> ExitCode {
    let outcome = limit_process().map_err(CompileFailure::Io).and_then(|()| compile_file(args));
    let (code, message) = match outcome {
        Ok(()) => return ExitCode::SUCCESS,
        Err(CompileFailure::Module(error)) => (EXIT_BAD_MODULE, error.to_string()),
        Err(CompileFailure::TooLarge) => (EXIT_BAD_MODULE, "the module is larger than can be run".to_owned()),
        Err(CompileFailure::Io(error)) => (EXIT_FAILED, error.to_string()),
    };
    // The parent may have gone; then nobody reads it.
    let _ = writeln!(io::stderr(), "{message}");
    ExitCode::from(code)
}

enum CompileFailure {
    Module(CompileError),
    TooLarge,
    Io(io::Error),
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

fn compile_file(args: &CompileArgs) -> Result<(), CompileFailure> {
    let mut wasm = Vec::new();
    let file = File::open(&args.input).map_err(CompileFailure::Io)?;
    file.take(MODULE_BYTES_MAX + 1).read_to_end(&mut wasm).map_err(CompileFailure::Io)?;
    if wasm.len() as u64 > MODULE_BYTES_MAX {
        return Err(CompileFailure::TooLarge);
    }
    let artifact = dunlin_wasm_host::compile(&wasm).map_err(CompileFailure::Module)?;
    write_artifact(&args.output, &artifact).map_err(CompileFailure::Io)
}

/// On disk in full before anyone may rename it into place: a torn artifact would be run as code.
fn write_artifact(path: &Path, artifact: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(path)?;
    file.write_all(artifact)?;
    file.sync_all()
}

/// Starts compiling processes.
#[derive(Clone, Debug)]
pub struct Compiler {
    command: Vec<OsString>,
}

/// Why a module was not compiled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompileModuleError {
    /// It is malformed or asks for too much: no other attempt will do better.
    #[error("{0}")]
    Module(String),
    /// The compiling process could not do its work.
    #[error("failed to compile the module: {0}")]
    Host(String),
}

impl Compiler {
    /// `command` is a program and its leading arguments; input and output file are added.
    pub fn new(command: Vec<OsString>) -> Self {
        Self { command }
    }

    /// This very program, as `dunlin compile IN OUT`: the file that runs now, even when an upgrade has put another in its place.
    pub fn this_program() -> Self {
        Self::new(vec!["/proc/self/exe".into(), "compile".into()])
    }

    /// Compiles `module` into the new file `artifact`.
    pub(crate) async fn run(&self, module: &Path, artifact: &Path) -> Result<(), CompileModuleError> {
        let outcome = self.run_child(module, artifact).await;
        if outcome.is_err() {
            // What a failed attempt left is of no use; it may have left nothing.
            let _ = fs::remove_file(artifact);
        }
        outcome
    }

    async fn run_child(&self, module: &Path, artifact: &Path) -> Result<(), CompileModuleError> {
        let failed = |error: io::Error| CompileModuleError::Host(error.to_string());
        let (program, leading) =
            self.command.split_first().ok_or_else(|| CompileModuleError::Host("no command".to_owned()))?;
        let mut child = Command::new(program)
            .args(leading)
            .args([module, artifact])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let stderr = child.stderr.take().expect("it was asked for");
        let mut message = Vec::new();
        let work = async {
            stderr.take(MESSAGE_BYTES_MAX).read_to_end(&mut message).await?;
            child.wait().await
        };
        match timeout(COMPILE_TIME_MAX, work).await {
            Ok(status) => judge(status.map_err(failed)?, &message),
            Err(_late) => Err(CompileModuleError::Module(format!(
                "the module takes more than {} s to compile",
                COMPILE_TIME_MAX.as_secs()
            ))),
        }
    }
}

fn judge(status: ExitStatus, message: &[u8]) -> Result<(), CompileModuleError> {
    let message = String::from_utf8_lossy(message).trim().to_owned();
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) if code == i32::from(EXIT_BAD_MODULE) => Err(CompileModuleError::Module(message)),
        (_, Some(signal)) => Err(CompileModuleError::Module(format!(
            "the module takes more to compile than the {} MiB and {COMPILE_CPU_SECONDS_MAX} s allowed (signal {signal})",
            COMPILE_BYTES_MAX >> 20
        ))),
        _ => Err(CompileModuleError::Host(format!("{status}: {message}"))),
    }
}

/// The module is at fault: `EX_DATAERR`.
const EXIT_BAD_MODULE: u8 = 65;

/// Anything else is.
const EXIT_FAILED: u8 = 1;

/// Address space of a compiling process; the largest real components take a fifth of it.
const COMPILE_BYTES_MAX: u64 = 2 << 30;

/// CPU time of a compiling process; 13 MB of component take 14 s on a slow machine.
const COMPILE_CPU_SECONDS_MAX: u64 = 120;

/// The same by the clock, on a machine that is busy.
const COMPILE_TIME_MAX: Duration = Duration::from_secs(600);

const COMPILE_NICENESS: i32 = 10;

/// Of what a compiling process may say.
const MESSAGE_BYTES_MAX: u64 = 8 << 10;
