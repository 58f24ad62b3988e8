//! A runner in a process of its own: how it is found, started, and spoken to over its unix socket.

use std::{
    ffi::OsString,
    fs, io,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::{net::UnixStream, process::Command};

use super::Connection;
use crate::{health::RunnerPid, sockets};

/// How to start and find the runner.
#[derive(Clone, Debug)]
pub(crate) struct RunnerProcess {
    /// Program and leading arguments; `--socket PATH` is added.
    pub(crate) command: Vec<OsString>,
    /// Its socket.
    pub(crate) socket: PathBuf,
    /// Where its own words go.
    pub(crate) log: PathBuf,
    /// Where its process id is told.
    pub(crate) pid: RunnerPid,
}

impl RunnerProcess {
    /// Connects to the runner that an earlier agent started; `None` when none answers.
    pub(super) async fn attach(&self) -> Option<Connection> {
        sockets::connect(&self.socket).await.ok().map(|stream| self.connect(stream))
    }

    /// Starts a runner and connects to it.
    pub(super) async fn start(&self) -> io::Result<Connection> {
        let log = fs::OpenOptions::new().create(true).append(true).open(&self.log)?;
        let (program, leading) =
            self.command.split_first().ok_or_else(|| io::Error::other("no command for the runner"))?;
        let mut child = Command::new(program)
            .args(leading)
            .arg("--socket")
            .arg(&self.socket)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A group of its own: neither a terminal's interrupt nor the agent's end reaches it.
            .process_group(0)
            .kill_on_drop(false)
            .spawn()?;
        let deadline = Instant::now() + START_MAX;
        loop {
            match sockets::connect(&self.socket).await {
                Ok(stream) => {
                    // Reaps it at its end, and says how that was; the connection's end is what the agent acts on.
                    tokio::spawn(async move {
                        match child.wait().await {
                            Ok(status) if status.success() => tracing::debug!("the runner ended"),
                            Ok(status) => tracing::error!(%status, "the runner ended"),
                            Err(error) => tracing::error!(%error, "it is not known how the runner ended"),
                        }
                    });
                    return Ok(self.connect(stream));
                }
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => {}
            }
            if let Some(status) = child.try_wait()? {
                let log = self.log.display();
                return Err(io::Error::other(format!("the runner ended at once ({status}); see {log}")));
            }
            tokio::time::sleep(START_POLL).await;
        }
    }

    fn connect(&self, stream: UnixStream) -> Connection {
        let told = self.pid.clone();
        let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
        told.set(pid);
        Connection::over(stream, move || told.clear(pid))
    }
}

/// How long a started runner may take until it answers; slow cards and cold caches included.
const START_MAX: Duration = Duration::from_secs(10);

/// How often a starting runner's socket is tried.
const START_POLL: Duration = Duration::from_millis(3);
