//! What commands that stay share: the config file, logging, the runtime, readiness, signals.

use std::{
    fs,
    future::Future,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use dunlin_coordinator::CoordinatorArgs;
use dunlin_edge_node::config::EdgeNodeArgs;
use dunlin_link::UnixMillis;
use serde::Deserialize;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::{
    Layer as _, filter::LevelFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::{failure::UsageError, terminal};

/// Options of all commands that stay.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DaemonArgs {
    /// Options in YAML, by section; flags and environment win over it [default: /etc/dunlin/config.yaml, and below it
    /// dunlin.yaml on the boot partition, as far as they are there]
    #[arg(long, env = "DUNLIN_CONFIG_FILE", value_name = "FILE")]
    config_file: Option<PathBuf>,

    /// How to write the log to stderr
    #[arg(long, env = "DUNLIN_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// One line for a person.
    Text,
    /// One JSON object a line.
    Json,
}

/// The config file: a section for each component.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct ConfigFile {
    /// Options of `dunlin coordinator`.
    pub(crate) coordinator: CoordinatorArgs,
    /// Options of `dunlin edge-node`.
    pub(crate) edge_node: EdgeNodeArgs,
}

impl DaemonArgs {
    /// Reads the config file, if there is one. A file that is asked for stands alone; otherwise the installed one wins over that of the
    /// boot partition, which a person can write on any machine before a card's first start.
    ///
    /// # Errors
    /// When the file that was asked for is missing, or any is malformed.
    pub(crate) fn read_config(&self) -> Result<ConfigFile> {
        if let Some(path) = &self.config_file {
            return read_file(path);
        }
        let there = |path: &&str| Path::new(path).exists();
        let installed = Some(DEFAULT_CONFIG_FILE).filter(there).map(|path| read_file(Path::new(path)));
        let boot = BOOT_CONFIG_FILES.into_iter().find(there).map(|path| read_file(Path::new(path)));
        Ok(match (installed.transpose()?, boot.transpose()?) {
            (Some(installed), Some(boot)) => installed.or(boot),
            (file, boot) => file.or(boot).unwrap_or_default(),
        })
    }

    /// Starts logging to stderr: state changes, or more by `-v` or `RUST_LOG`.
    pub(crate) fn start_logging(&self, verbosity: u8) {
        let level = match verbosity {
            0 => LevelFilter::INFO,
            1 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        };
        let filter = terminal::log_filter(level);
        let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
        let registry = tracing_subscriber::registry();
        match self.log_format {
            LogFormat::Text => {
                registry.with(lines.with_ansi(io::stderr().is_terminal()).with_filter(filter)).init();
            }
            LogFormat::Json => registry.with(lines.json().with_filter(filter)).init(),
        }
    }
}

impl ConfigFile {
    /// This file, with what `other` says where this one says nothing.
    fn or(self, other: Self) -> Self {
        Self {
            coordinator: self.coordinator.or(other.coordinator),
            edge_node: self.edge_node.or(other.edge_node),
        }
    }
}

fn read_file(path: &Path) -> Result<ConfigFile> {
    let shown = path.display();
    let size = fs::metadata(path).with_context(|| format!("cannot read config file {shown}"))?.len();
    if size > CONFIG_FILE_BYTES_MAX {
        return Err(usage(anyhow!("config file {shown} is larger than {CONFIG_FILE_BYTES_MAX} bytes")));
    }
    let text = fs::read_to_string(path).with_context(|| format!("cannot read config file {shown}"))?;
    let parsed: Option<ConfigFile> =
        serde_norway::from_str(&text).map_err(|error| usage(anyhow!("config file {shown}: {error}")))?;
    Ok(parsed.unwrap_or_default())
}

/// A wrong configuration: exit code 64.
pub(crate) fn usage(error: anyhow::Error) -> anyhow::Error {
    UsageError(format!("{error:#}")).into()
}

/// Where this user's state belongs: `/var/lib/dunlin` for root, else `$XDG_STATE_HOME/dunlin`.
///
/// # Errors
/// When an ordinary user has no home folder.
pub(crate) fn state_home() -> Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/dunlin"));
    }
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    Ok(state.context("neither XDG_STATE_HOME nor HOME is set; give the folder with a flag")?.join("dunlin"))
}

/// The time now by this machine's clock.
pub(crate) fn now() -> UnixMillis {
    UnixMillis(jiff::Timestamp::now().as_millisecond())
}

/// Runs a command that stays on a runtime of its own.
///
/// # Errors
/// Those of the command.
pub(crate) fn block_on(future: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_keep_alive(BLOCKING_KEEP_ALIVE)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(future);
    runtime.shutdown_timeout(RUNTIME_GRACE);
    outcome
}

/// Tells a service manager that requests are answered now.
pub(crate) fn notify_ready() {
    notify(sd_notify::NotifyState::Ready);
}

/// Tells a service manager that the end has begun.
pub(crate) fn notify_stopping() {
    notify(sd_notify::NotifyState::Stopping);
}

fn notify(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(false, &[state]) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

/// The signals that ask a process to end.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// Takes the signals over; from now on they end nothing by themselves.
    ///
    /// # Errors
    /// When the runtime cannot listen for them.
    pub(crate) fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Ends with the next signal.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Runs a shutdown to its end, unless a second signal asks for a faster one.
    ///
    /// # Errors
    /// When the second signal came.
    pub(crate) async fn unless_again(&mut self, shutdown: impl Future<Output = ()>) -> Result<()> {
        notify_stopping();
        tokio::select! {
            () = shutdown => Ok(()),
            () = self.next() => Err(anyhow!("stopped at once by a second signal; nothing acknowledged is lost")),
        }
    }
}

const DEFAULT_CONFIG_FILE: &str = "/etc/dunlin/config.yaml";

/// Where a boot partition that every machine can read is mounted, newer systems first.
const BOOT_CONFIG_FILES: [&str; 2] = ["/boot/firmware/dunlin.yaml", "/boot/dunlin.yaml"];

/// A config file holds a few dozen options.
const CONFIG_FILE_BYTES_MAX: u64 = 1 << 20;

/// Enough for a coordinator of thousands of nodes; each thread costs memory that a small board lacks.
const WORKER_THREADS: usize = 2;

/// File reads and name look-ups; more wait.
const BLOCKING_THREADS_MAX: usize = 16;

/// Threads that wait for blocking work end soon, for their stacks are memory.
const BLOCKING_KEEP_ALIVE: Duration = Duration::from_secs(2);

/// How long blocking calls may take to end with the process.
const RUNTIME_GRACE: Duration = Duration::from_secs(2);
