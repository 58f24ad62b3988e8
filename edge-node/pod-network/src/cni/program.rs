//! One run of a plugin's program: JSON in, JSON out, within a time and a length.

use std::{
    io::{self, Read, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
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
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    thread::scope(|scope| {
        // A program that does not read ends without having read.
        let writer = scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(&input)));
        let reader = scope.spawn(move || stdout.map_or_else(|| Ok(Vec::new()), read));
        let ended = wait(&child, run.time_limit);
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        // Not waited for yet, so the number is still the program's. An empty group is fine.
        let _ = group.map(|group| kill_process_group(group, Signal::KILL));
        let status = child.wait()?;
        let _ = writer.join();
        let text = reader.join().map_err(|_| io::Error::other("panicked"))??;
        if !ended? {
            return Err(Failure::TimedOut { limit: run.time_limit });
        }
        if text.len() > OUTPUT_BYTES_MAX {
            return Err(Failure::Nonsense);
        }
        Ok(Output { text, is_success: status.success() })
    })
}

fn read(stdout: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let limit = u64::try_from(OUTPUT_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    stdout.take(limit).read_to_end(&mut text)?;
    Ok(text)
}

/// Whether a program ended within a time.
fn wait(child: &Child, limit: Duration) -> io::Result<bool> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("a child has no number"))?;
    let descriptor = pidfd_open(pid, PidfdFlags::empty())?;
    let timeout = Timespec::try_from(limit).map_err(io::Error::other)?;
    loop {
        match poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Where plugins find `iptables` and the like.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Results have some hundred bytes.
const OUTPUT_BYTES_MAX: usize = 1024 * 1024;
