//! A dev cluster as a background process, and the client pointed at it.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{NODES, binary};
use crate::step;

/// A running `dunlin dev`.
#[derive(Debug)]
pub(super) struct Cluster {
    process: Child,
    client_config: Option<PathBuf>,
    log: PathBuf,
}

impl Cluster {
    /// Starts it in `dir`, where it keeps `.dunlin`, in a process group of its own so that Ctrl-C here does not reach it.
    /// With `client_config`, client contexts go to that file instead of the user's.
    pub(super) fn start(dir: &Path, client_config: Option<&Path>) -> Result<Self> {
        let state = dir.join(".dunlin");
        fs::create_dir_all(&state).with_context(|| format!("cannot create {}", state.display()))?;
        let log = state.join("demo.log");
        let output = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let mut command = Command::new(binary());
        command.args(["dev", "--nodes", &NODES.to_string()]).current_dir(dir).process_group(0);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        if let Some(path) = client_config {
            command.env("DUNLIN_CONFIG", path).env("DUNLIN_DEV_KUBE_CONTEXT", "none");
        }
        let process = command.spawn().context("cannot start `dunlin dev`")?;
        Ok(Self { process, client_config: client_config.map(Path::to_owned), log })
    }

    /// Runs a client command and answers its stdout.
    pub(super) fn dunlin(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new(binary());
        command.args(args);
        if let Some(path) = &self.client_config {
            command.env("DUNLIN_CONFIG", path);
        }
        step::output(&mut command)
    }

    /// Repeats `attempt` until it succeeds; gives up with its last error.
    pub(super) fn wait_for(
        &mut self,
        what: &str,
        timeout: Duration,
        attempt: fn(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait()? {
                bail!("`dunlin dev` ended ({status}):\n{}", self.log_tail());
            }
            let Err(error) = attempt(self) else { return Ok(()) };
            if start.elapsed() > timeout {
                let tail = self.log_tail();
                return Err(
                    error.context(format!("no {what} within {timeout:?}; the end of its log:\n{tail}"))
                );
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Lets it run on after this process, and tells its process id.
    pub(super) fn leave_running(self) -> u32 {
        self.process.id()
    }

    /// Asks it to stop and waits until it has.
    pub(super) fn stop(mut self) -> Result<()> {
        if let Some(pid) = i32::try_from(self.process.id()).ok().and_then(rustix::process::Pid::from_raw) {
            // It may be gone already, which the wait below finds out.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let start = Instant::now();
        while start.elapsed() < STOP_TIMEOUT {
            match self.process.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("`dunlin dev` ended with {status}:\n{}", self.log_tail()),
                None => thread::sleep(POLL_INTERVAL),
            }
        }
        self.process.kill()?;
        self.process.wait()?;
        bail!("`dunlin dev` did not stop within {STOP_TIMEOUT:?}:\n{}", self.log_tail())
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }
}

const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Longer than the grace period of every pod of the demo.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

const LOG_TAIL_LINES: usize = 40;
