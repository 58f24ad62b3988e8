//! One run of a plugin's program: JSON in, JSON out, within a time and a length.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::ioctl_fionbio,
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};
use serde_json::Value;

use super::PluginError;

/// Whose network is meant, as a program's environment says it.
#[derive(Clone, Debug)]
pub(super) struct Run<'a> {
    /// `ADD`, `DEL`, `CHECK` or `GC`.
    pub(super) command: &'static str,
    /// What else begins with `CNI_`.
    pub(super) environment: &'a [(&'static str, String)],
    /// Where programs are.
    pub(super) folders: &'a [PathBuf],
    pub(super) time_limit: Duration,
}

/// Runs a plugin. What it printed is `Null` where it printed nothing.
pub(super) fn run(name: &str, run: &Run<'_>, input: &Value) -> Result<Value, PluginError> {
    let failed = |why: Failure| PluginError::Failed { plugin: name.to_owned(), command: run.command, why };
    let program = run.folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    let program = program.ok_or_else(|| PluginError::NoProgram { plugin: name.to_owned() })?;
    let output = execute(&program, run, input.to_string().into_bytes()).map_err(failed)?;
    let value = match output.text.iter().all(u8::is_ascii_whitespace) {
        true => Value::Null,
        false => serde_json::from_slice(&output.text).map_err(|_| failed(Failure::Nonsense))?,
    };
    if output.is_success {
        return Ok(value);
    }
    let word = |key| value.get(key).and_then(Value::as_str).unwrap_or_default();
    let words = [word("msg"), word("details")].into_iter().filter(|word| !word.is_empty());
    let words = words.collect::<Vec<_>>().join("; ");
    Err(failed(Failure::Said { message: if words.is_empty() { "no reason given".into() } else { words } }))
}

/// Why a program did not do what it was run for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// It ran, and says why not.
    #[error("{message}")]
    Said {
        /// Its words.
        message: String,
    },
    /// It took too long, and was killed.
    #[error("did not end within {} s", .limit.as_secs())]
    TimedOut {
        /// How long it could take.
        limit: Duration,
    },
    /// It printed something else than JSON, or more than is read.
    #[error("printed no JSON of a reasonable length")]
    Nonsense,
    /// It could not be run.
    #[error("cannot be run: {0}")]
    Io(#[from] io::Error),
}

struct Output {
    text: Vec<u8>,
    is_success: bool,
}

fn execute(program: &Path, run: &Run<'_>, input: Vec<u8>) -> Result<Output, Failure> {
    let paths = run.folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(":");
    let mut command = Command::new(program);
    command.env_clear().env("PATH", SEARCH_PATH).env("CNI_COMMAND", run.command).env("CNI_PATH", paths);
    command.envs(run.environment.iter().map(|(key, value)| (key, value)));
    // A group of its own, so that what it started ends with it.
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn()?;
    let exchanged = Pipes::new(&mut child, input).and_then(|mut pipes| {
        let ended = pipes.exchange(&child, run.time_limit)?;
        Ok((pipes, ended))
    });
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // Not waited for yet, so the number is still the program's. An empty group is fine.
    let _ = group.map(|group| kill_process_group(group, Signal::KILL));
    let status = child.wait()?;
    let (mut pipes, ended) = exchanged?;
    if !ended {
        return Err(Failure::TimedOut { limit: run.time_limit });
    }
    // What it wrote last. Who left its group may have the pipe still, and is not waited for.
    pipes.read()?;
    if pipes.text.len() > OUTPUT_BYTES_MAX {
        return Err(Failure::Nonsense);
    }
    Ok(Output { text: pipes.text, is_success: status.success() })
}

/// What goes into a program and comes out of it; nothing of it waits.
struct Pipes {
    /// `None` when nothing more goes in.
    stdin: Option<ChildStdin>,
    input: Vec<u8>,
    written: usize,
    /// `None` when nothing more comes, or too much came.
    stdout: Option<ChildStdout>,
    text: Vec<u8>,
}

impl Pipes {
    fn new(child: &mut Child, input: Vec<u8>) -> io::Result<Self> {
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        stdin.as_ref().map_or(Ok(()), |stdin| ioctl_fionbio(stdin, true))?;
        stdout.as_ref().map_or(Ok(()), |stdout| ioctl_fionbio(stdout, true))?;
        Ok(Self { stdin, input, written: 0, stdout, text: Vec::new() })
    }

    /// Until the program ends. Answers whether it did within a time.
    fn exchange(&mut self, child: &Child, limit: Duration) -> io::Result<bool> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("a child has no number"))?;
        let process = pidfd_open(pid, PidfdFlags::empty())?;
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let mut waited_for = vec![PollFd::new(&process, PollFlags::IN)];
            waited_for.extend(self.stdout.as_ref().map(|stdout| PollFd::new(stdout, PollFlags::IN)));
            waited_for.extend(self.stdin.as_ref().map(|stdin| PollFd::new(stdin, PollFlags::OUT)));
            match poll(&mut waited_for, Some(&Timespec::try_from(left).map_err(io::Error::other)?)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if !waited_for[0].revents().is_empty() {
                return Ok(true);
            }
            self.read()?;
            self.write();
        }
    }

    /// Takes what is there.
    fn read(&mut self) -> io::Result<()> {
        let mut piece = [0; 4096];
        while let Some(stdout) = &mut self.stdout {
            match stdout.read(&mut piece) {
                Ok(0) => self.stdout = None,
                Ok(length) => self.text.extend_from_slice(&piece[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if self.text.len() > OUTPUT_BYTES_MAX {
                self.stdout = None;
            }
        }
        Ok(())
    }

    /// Gives what the pipe holds. A program that does not read ends without having read.
    fn write(&mut self) {
        while let Some(stdin) = &mut self.stdin {
            match stdin.write(&self.input[self.written..]) {
                Ok(length) => self.written += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_gone) => self.stdin = None,
            }
            if self.written == self.input.len() {
                self.stdin = None;
            }
        }
    }
}

/// Where plugins find `iptables` and the like.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Results have some hundred bytes.
const OUTPUT_BYTES_MAX: usize = 1024 * 1024;
