//! Compiling a module in a process of its own, with limits: a hostile module may make a compiler take any time and memory, and then
//! only this process ends.
//!
//! Coordinator and nodes start such processes alike; what runs in them is the node's `compile_main`. The process is told its input,
//! its output and the key of a target, or [`LIST_TARGETS`] alone. It answers by its exit code, and says why on standard error.

#![forbid(unsafe_code)]

use std::{
    ffi::OsString,
    fs, io,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
    time::{Instant as Deadline, sleep, timeout},
};

/// Starts compiling processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiler {
    command: Vec<OsString>,
}

/// What a compilation took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// By the clock.
    pub took: Duration,
    /// Memory of the process at its peak, if it told.
    pub peak_bytes: Option<u64>,
}

/// Why a module was not compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// It is malformed or asks for too much: no other attempt will do better.
    #[error("{0}")]
    Module(String),
    /// The compiling process could not do its work.
    #[error("failed to compile the module: {0}")]
    Host(String),
}

impl Compiler {
    /// `command` is a program and its leading arguments.
    pub fn new(command: Vec<OsString>) -> Self {
        Self { command }
    }

    /// This very program, as `dunlin compile`: the file that runs now, even when an upgrade has put another in its place.
    pub fn this_program() -> Self {
        Self::of_program(THIS_PROGRAM)
    }

    /// A program that compiles as `dunlin compile` does.
    pub fn of_program(program: impl Into<OsString>) -> Self {
        Self::new(vec![program.into(), "compile".into()])
    }

    /// The program, without its arguments.
    pub fn program(&self) -> Option<&Path> {
        self.command.first().map(Path::new)
    }

    /// Compiles `module` for `target` into the new file `artifact`, of which nothing is left when that fails. Dropping the future ends
    /// the process.
    ///
    /// # Errors
    /// When the module is at fault, or the machine.
    pub async fn run(&self, module: &Path, artifact: &Path, target: &str) -> Result<Cost, CompileError> {
        let started = Instant::now();
        let arguments = [module.into(), artifact.into(), target.into()];
        let outcome = self.run_child(&arguments).await;
        if outcome.is_err() {
            // What a failed attempt left is of no use; it may have left nothing.
            let _ = fs::remove_file(artifact);
        }
        Ok(Cost { took: started.elapsed(), peak_bytes: peak(&outcome?) })
    }

    /// The keys of all targets that it compiles for.
    ///
    /// # Errors
    /// When it does not tell.
    pub async fn targets(&self) -> Result<Vec<String>, CompileError> {
        let output = self.run_child(&[LIST_TARGETS.into()]).await?;
        Ok(output.split_whitespace().map(str::to_owned).collect())
    }

    /// What the process wrote to its standard output.
    async fn run_child(&self, arguments: &[OsString]) -> Result<String, CompileError> {
        let failed = |error: io::Error| CompileError::Host(error.to_string());
        let mut child = self.spawn(arguments).await?;
        let (mut output, mut message) = (Vec::new(), Vec::new());
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let work = async {
            tokio::try_join!(read(stdout, &mut output), read(stderr, &mut message))?;
            child.wait().await
        };
        match timeout(COMPILE_TIME_MAX, work).await {
            Ok(status) => judge(status.map_err(failed)?, &message)?,
            Err(_late) => {
                return Err(CompileError::Module(format!(
                    "the module takes more than {} s to compile",
                    COMPILE_TIME_MAX.as_secs()
                )));
            }
        }
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    /// Starts the process, as soon as nobody has the program open for writing: a process that was started while it was written has
    /// it open until that runs its own program.
    async fn spawn(&self, arguments: &[OsString]) -> Result<Child, CompileError> {
        let (program, leading) =
            self.command.split_first().ok_or_else(|| CompileError::Host("no command".to_owned()))?;
        let mut command = Command::new(program);
        command.args(leading).args(arguments).env_clear().kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let until = Deadline::now() + BUSY_MAX;
        loop {
            match command.spawn() {
                Err(error)
                    if error.kind() == io::ErrorKind::ExecutableFileBusy && Deadline::now() < until =>
                {
                    sleep(BUSY_PAUSE).await;
                }
                started => return started.map_err(|error| CompileError::Host(error.to_string())),
            }
        }
    }
}

/// Reads the beginning, and lets the process write on.
async fn read(pipe: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) -> io::Result<()> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    (&mut pipe).take(OUTPUT_BYTES_MAX).read_to_end(kept).await?;
    tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await.map(drop)
}

fn judge(status: ExitStatus, message: &[u8]) -> Result<(), CompileError> {
    let message = String::from_utf8_lossy(message).trim().to_owned();
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) if code == i32::from(EXIT_BAD_MODULE) => Err(CompileError::Module(message)),
        (_, Some(signal)) => Err(CompileError::Module(format!(
            "the module takes more to compile than the {} MiB and {COMPILE_CPU_SECONDS_MAX} s allowed (signal {signal})",
            COMPILE_BYTES_MAX >> 20
        ))),
        _ => Err(CompileError::Host(format!("{status}: {message}"))),
    }
}

fn peak(output: &str) -> Option<u64> {
    output.lines().find_map(|line| line.strip_prefix(PEAK)?.trim().parse().ok())
}

/// Stands in place of all arguments: the process prints the keys of its targets, one a line.
pub const LIST_TARGETS: &str = "--targets";

/// Begins the line in which a process tells its peak of memory, in bytes.
pub const PEAK: &str = "peak-bytes ";

/// The module is at fault: `EX_DATAERR`.
pub const EXIT_BAD_MODULE: u8 = 65;

/// Anything else is.
pub const EXIT_FAILED: u8 = 1;

/// Address space of a compiling process; the largest real components take a fifth of it.
pub const COMPILE_BYTES_MAX: u64 = 2 << 30;

/// CPU time of a compiling process; 13 MB of component take 14 s on a slow machine.
pub const COMPILE_CPU_SECONDS_MAX: u64 = 120;

/// The same by the clock, on a machine that is busy.
const COMPILE_TIME_MAX: Duration = Duration::from_secs(600);

/// How long a program may be busy; whoever has it open runs its own within milliseconds, unless the machine is very busy.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// Between attempts to start it.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// The file that this process runs.
pub const THIS_PROGRAM: &str = "/proc/self/exe";

/// Of what a compiling process may say on either stream.
const OUTPUT_BYTES_MAX: u64 = 8 << 10;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A compiler that is a script.
    fn script(folder: &Path, body: &str) -> Compiler {
        let path = folder.join("compiler");
        fs::write(&path, format!("{body}\n")).unwrap();
        // Read by a shell, not run: another test may be starting a process, which holds what is being written for a moment.
        Compiler::new(vec!["/bin/sh".into(), path.into()])
    }

    #[tokio::test]
    async fn every_end_of_a_process_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let check = async |body: &str| script(folder.path(), body).run(Path::new("in"), &out, "t").await;
        let cost = check("echo noise; echo peak-bytes 4096; echo \"$1 $3\" > \"$2\"").await.unwrap();
        assert_eq!(cost.peak_bytes, Some(4096));
        assert_eq!(fs::read_to_string(&out).unwrap(), "in t\n");
        assert_eq!(check("echo bad >&2; exit 65").await, Err(CompileError::Module("bad".to_owned())));
        assert!(!out.exists(), "nothing is left of a failed attempt");
        assert!(
            matches!(check("kill -9 $$").await, Err(CompileError::Module(text)) if text.contains("signal 9"))
        );
        assert!(
            matches!(check("echo no disk >&2; exit 1").await, Err(CompileError::Host(text)) if text.contains("no disk"))
        );
        let missing = Compiler::new(vec!["/no/such/program".into()]).run(Path::new("in"), &out, "t").await;
        assert!(matches!(missing, Err(CompileError::Host(_))));
        assert!(matches!(Compiler::new(Vec::new()).targets().await, Err(CompileError::Host(_))));
    }

    /// A program, and a hold on it that keeps it from being run.
    fn busy_program(folder: &Path) -> (Compiler, fs::File) {
        let path = folder.join("program");
        fs::write(&path, "#!/bin/sh\necho a\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let hold = fs::File::options().append(true).open(&path).unwrap();
        let refused = std::process::Command::new(&path).spawn().unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ExecutableFileBusy);
        (Compiler::of_program(path), hold)
    }

    #[tokio::test]
    async fn a_program_that_was_just_written_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let (compiler, hold) = busy_program(folder.path());
        // Polled in this order: the first attempt finds it busy.
        let (targets, ()) = tokio::join!(compiler.targets(), async { drop(hold) });
        assert_eq!(targets.unwrap(), ["a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_that_stays_busy_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let (compiler, _hold) = busy_program(folder.path());
        let refused = compiler.targets().await.unwrap_err();
        assert!(matches!(refused, CompileError::Host(_)), "{refused}");
    }

    #[tokio::test]
    async fn targets_are_words_and_floods_are_cut() {
        let folder = tempfile::tempdir().unwrap();
        let targets = script(folder.path(), "[ \"$1\" = --targets ] && printf 'a\\nb\\n'").targets().await;
        assert_eq!(targets.unwrap(), ["a", "b"]);
        let flood = script(folder.path(), "head -c 1000000 /dev/zero").targets().await.unwrap();
        assert!(flood.iter().map(String::len).sum::<usize>() as u64 <= OUTPUT_BYTES_MAX);
    }
}
