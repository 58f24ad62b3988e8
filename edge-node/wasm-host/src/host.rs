//! The host: one engine, the threads that guests run on, and the way to load and run a program. One per process.

use std::{
    fmt, io, num::NonZeroUsize, panic::AssertUnwindSafe, path::Path, sync::Arc,
    thread::available_parallelism, time::Instant,
};

use futures_util::FutureExt as _;
use tokio::runtime::{Builder, Handle, Runtime};
use wasmtime::Engine;

use crate::{
    batch::BatchPool,
    command,
    cpu::CpuMeter,
    engine,
    guest::Guest,
    memory::MemoryAccount,
    network::Declared,
    outcome::{Cause, Ended},
    program::{Kind, Linkers, LoadError, Program},
    schedule::{GuestFuture, Scheduled, Turn, Turns},
    serve,
    state::StoreParts,
    stop::Stop,
    ticker::Ticker,
};

/// Why a host does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartHostError {
    /// wasmtime cannot be set up on this machine.
    #[error("the WebAssembly engine does not start: {0}")]
    Engine(String),
    /// No threads to run guests on.
    #[error("failed to start the threads that guests run on")]
    Threads(#[source] io::Error),
}

/// Runs guests. Clones are the same host.
#[derive(Clone)]
pub struct Host {
    inner: Arc<Inner>,
}

impl Host {
    /// Sets up the engine and its threads; no guest runs yet.
    ///
    /// # Errors
    /// When the machine does not offer what the engine needs.
    pub fn new() -> Result<Self, StartHostError> {
        let failed = |error: wasmtime::Error| StartHostError::Engine(format!("{error:#}"));
        let engine = engine::engine().map_err(failed)?;
        let linkers = Linkers::new(&engine).map_err(failed)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(available_parallelism().map_or(1, NonZeroUsize::get).max(WORKERS_MIN))
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .thread_name("guests")
            .enable_all()
            .build()
            .map_err(StartHostError::Threads)?;
        let ticker = Ticker::start(engine.clone()).map_err(StartHostError::Threads)?;
        let turns = Arc::new(Turns { ticker, batch: BatchPool::new(runtime.handle().clone()) });
        let handle = runtime.handle().clone();
        let inner = Inner {
            artifact_key: engine::artifact_key(&engine),
            engine,
            linkers,
            turns,
            handle,
            memory_default: memory_default(),
            runtime: Some(runtime),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The runtime that guests run on. Spawn here what calls [`Host::run`].
    pub fn handle(&self) -> &Handle {
        &self.inner.handle
    }

    /// Names everything an artifact depends on besides its module, as a part of a file name: another version, configuration or
    /// machine has another key, so that a stale artifact is never even tried.
    pub fn artifact_key(&self) -> &str {
        &self.inner.artifact_key
    }

    /// Maps an artifact. The file must be the unchanged output of [`crate::compile`], where nobody else can write, and must stay
    /// unchanged for as long as the program is used: it is native code and is not checked again.
    ///
    /// # Errors
    /// When it does not fit this host, exports nothing runnable, or imports what is not offered.
    pub fn load(&self, artifact: &Path) -> Result<Program, LoadError> {
        self.inner.linkers.load(&self.inner.engine, artifact)
    }

    /// Runs a program to its end; must be polled on [`Host::handle`]. `started` is called once, when the guest runs or its listener
    /// accepts. Dropping the future ends the guest at once.
    pub async fn run(
        &self,
        program: Arc<Program>,
        guest: Guest,
        stop: Stop,
        started: impl FnOnce() + Send + 'static,
    ) -> Ended {
        let run = Run::new(self.clone(), program, guest, stop);
        let ended = AssertUnwindSafe(run.to_end(Box::new(started))).catch_unwind().await;
        ended.unwrap_or_else(|_panic| Ended::new(Cause::HostError, "the host failed while it ran the guest"))
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("turns", &self.inner.turns).finish_non_exhaustive()
    }
}

struct Inner {
    engine: Engine,
    linkers: Linkers,
    turns: Arc<Turns>,
    handle: Handle,
    artifact_key: String,
    memory_default: u64,
    /// Taken on drop, since a runtime may not be dropped from within another.
    runtime: Option<Runtime>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Called once when a guest has started.
pub(crate) type Started = Box<dyn FnOnce() + Send>;

/// One container's run: what all of its instances share.
pub(crate) struct Run {
    host: Host,
    pub(crate) program: Arc<Program>,
    pub(crate) guest: Guest,
    pub(crate) stop: Stop,
    pub(crate) memory: Arc<MemoryAccount>,
    cpu: Arc<CpuMeter>,
    listen: Declared,
}

impl Run {
    fn new(host: Host, program: Arc<Program>, guest: Guest, stop: Stop) -> Arc<Self> {
        let limit = guest.memory_bytes_max.unwrap_or(host.inner.memory_default);
        let memory = Arc::new(MemoryAccount::new(limit));
        let cpu = Arc::new(CpuMeter::new(guest.cpu_milli_max, Instant::now()));
        let listen = Declared::from(guest.listen.as_slice());
        Arc::new(Self { host, program, guest, stop, memory, cpu, listen })
    }

    async fn to_end(self: Arc<Self>, started: Started) -> Ended {
        match &self.program.kind {
            Kind::Module(_) | Kind::Command(_) => command::run(&self, started).await,
            Kind::HttpHandler(_) => serve::run(&self, started).await,
        }
    }

    /// What stores are made from.
    pub(crate) fn parts(&self) -> StoreParts<'_> {
        StoreParts {
            engine: &self.host.inner.engine,
            guest: &self.guest,
            listen: &self.listen,
            memory: &self.memory,
        }
    }

    /// A turn for one more instance.
    pub(crate) fn turn(&self) -> Arc<Turn> {
        Turn::new(Arc::clone(&self.host.inner.turns))
    }

    /// An instance's future, run in turns and within the container's quota.
    pub(crate) fn schedule<T: Send + 'static>(
        &self,
        turn: Arc<Turn>,
        future: GuestFuture<T>,
    ) -> Scheduled<T> {
        Scheduled::new(turn, Arc::clone(&self.cpu), future)
    }
}

/// Half of the machine's memory: one guest without a limit must not take the node down with it.
fn memory_default() -> u64 {
    let info = rustix::system::sysinfo();
    (info.totalram as u64).saturating_mul(u64::from(info.mem_unit)) / 2
}

/// Two, so that a guest in its first slice does not hold up all others on a machine with one core.
const WORKERS_MIN: usize = 2;

/// Threads for file operations and name look-ups of all guests together.
const BLOCKING_THREADS_MAX: usize = 16;
