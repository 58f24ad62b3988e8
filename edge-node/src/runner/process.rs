//! The runner as a process: `dunlin runner`, started by an agent and found again by the next one.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use dunlin_edge_node_core::sandbox::stream;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::UnixListener,
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

use super::{
    in_process::{SharedHost, StartError},
    log::LogBounds,
    modules::OwnCode,
    socket,
};

/// What `dunlin runner` is told.
#[derive(Clone, Debug)]
pub struct RunnerArgs {
    /// Socket to serve agents on.
    pub socket: PathBuf,
    /// Size and number of each container's log files.
    pub log_bounds: LogBounds,
    /// What is done about modules without code.
    pub own: OwnCode,
    /// What a namespace's guests may keep together; `None` is the default.
    pub keyvalue_quota_bytes: Option<u64>,
}

/// The whole life of a runner: 0 when an agent had it shut down, 1 when it could not start.
pub fn main(args: RunnerArgs) -> ExitCode {
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(error = %error, cause = source, "the runner does not start");
            ExitCode::FAILURE
        }
    }
}

/// Why a runner did not start.
#[derive(Debug, thiserror::Error)]
enum RunnerError {
    #[error("failed to start the runner's own thread")]
    Runtime(#[source] io::Error),
    #[error("failed to open the socket `{path}`")]
    Socket {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("failed to start what containers run on")]
    Start(#[from] StartError),
}

fn run(args: RunnerArgs) -> Result<(), RunnerError> {
    raise_file_limit();
    let runtime = Builder::new_current_thread().enable_all().build().map_err(RunnerError::Runtime)?;
    runtime.block_on(async {
        ignore_terminal();
        let streams = args.socket.with_file_name(stream::SOCKET);
        let (listener, streams_listener) = (listen(&args.socket).await?, listen(&streams).await?);
        let dir = args.socket.parent().unwrap_or_else(|| Path::new("."));
        let host = SharedHost::start(args.own, dir, args.keyvalue_quota_bytes)?;
        let containers = host.containers(args.log_bounds)?;
        tracing::info!(socket = %args.socket.display(), "runner is ready");
        tokio::select! {
            () = socket::serve(&listener, &containers) => {}
            () = socket::serve_streams(&streams_listener, &containers) => {}
        }
        containers.shut_down().await;
        // The next runner would find them stale anyway.
        let _ = (fs::remove_file(&args.socket), fs::remove_file(&streams));
        tracing::info!("runner ends as it was asked");
        Ok(())
    })
}

async fn listen(path: &Path) -> Result<UnixListener, RunnerError> {
    let opened = socket::listen(path).await;
    opened.map_err(|source| RunnerError::Socket { path: path.display().to_string(), source })
}

/// Each container has a log and may have sockets; the limit that shells set is for interactive programs.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "failed to raise the number of open files");
    }
}

/// The terminal that the agent was started from may interrupt the agent or go away; containers do not notice.
fn ignore_terminal() {
    for kind in [SignalKind::interrupt(), SignalKind::hangup()] {
        match signal(kind) {
            // Once registered, the signal no longer ends the process; nobody needs to hear of it.
            Ok(registered) => drop(registered),
            Err(error) => tracing::warn!(%error, "failed to ignore a signal"),
        }
    }
}
