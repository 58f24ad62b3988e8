//! The host: one engine, the threads that guests run on, and the way to load and run a program, and commands beside it. One per process.

use std::{
    fmt, io,
    net::SocketAddr,
    num::NonZeroUsize,
    panic::AssertUnwindSafe,
    path::Path,
    sync::{Arc, OnceLock},
    thread::available_parallelism,
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::sync::CancellationToken;
use wasmtime::Engine;

use crate::{
    batch::BatchPool,
    command,
    config::Settings,
    cpu::CpuMeter,
    engine,
    entry::{Entry, EntryError, ExecError},
    guest::{Exec, Guest, Listening, Preopen, Terminal},
    memory::MemoryAccount,
    network::{HostPorts, Neighbours, Network, Toward},
    outcome::{Cause, Ended},
    pooling::Pooling,
    program::{Kind, Linkers, LoadError, Program},
    schedule::{GuestFuture, Scheduled, Turn, Turns},
    serve, service,
    state::StoreParts,
    stop::Stop,
    target::{Target, TargetError},
    ticker::Ticker,
    total::TotalMemory,
};

/// Why a host does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartHostError {
    /// wasmtime cannot be set up on this machine.
    #[error("the WebAssembly engine does not start: {0}")]
    Engine(String),
    /// Nothing is compiled for this machine.
    #[error(transparent)]
    Target(#[from] TargetError),
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
        Self::running(Target::of_this_machine()?)
    }

    /// A host that runs code of one of the targets that this machine can run.
    pub(crate) fn running(target: Target) -> Result<Self, StartHostError> {
        let failed = |error: wasmtime::Error| StartHostError::Engine(format!("{error:#}"));
        let engine = engine::running(target).map_err(failed)?;
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
            target,
            engine,
            pooling: OnceLock::new(),
            linkers,
            turns,
            handle,
            memory: Arc::new(TotalMemory::of_this_machine()),
            neighbours: Arc::default(),
            runtime: Some(runtime),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The runtime that guests run on. Spawn here what calls `Host::run`.
    pub fn handle(&self) -> &Handle {
        &self.inner.handle
    }

    /// Lets guests connect to the API where it listens on this machine, as far as their egress allows that.
    pub fn lead_to_api(&self, address: SocketAddr) {
        self.inner.neighbours.lead_to_api(address);
    }

    /// What artifacts that this host runs are compiled for.
    pub fn target(&self) -> Target {
        self.inner.target
    }

    /// Maps an artifact. The file must be the unchanged output of [`crate::compile`], where nobody else can write, and must stay
    /// unchanged for as long as the program is used: it is native code and is not checked again.
    ///
    /// # Errors
    /// When it does not fit this host, or imports what is not offered.
    pub fn load(&self, artifact: &Path) -> Result<Program, LoadError> {
        let mut program = self.inner.linkers.load(&self.inner.engine, artifact)?;
        if let Kind::Component(exported) = &mut program.kind
            && let Some(handler) = &exported.handler
            && let Some(pooling) = self.inner.pooling()
        {
            exported.pooled = pooling.handler(artifact, handler);
        }
        Ok(program)
    }

    /// A container that does not run yet.
    ///
    /// # Errors
    /// When the program has no entry such as the guest's.
    pub fn container(
        &self,
        program: Arc<Program>,
        guest: Guest,
        stop: Stop,
    ) -> Result<Container, EntryError> {
        let entry = Entry::of_guest(&guest, &program)?;
        let run = Run::new(self.clone(), program, entry, guest, stop);
        Ok(Container { run, over: CancellationToken::new() })
    }
}

/// One run of a program with its limits, which commands may share while it runs. Clones are the same.
#[derive(Clone)]
pub struct Container {
    run: Arc<Run>,
    /// Cancelled when the run is over.
    over: CancellationToken,
}

/// What a container uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time that its guests were on processors, since it began.
    pub cpu: Duration,
    /// Time that they waited because their quota was used up; the sum over instances.
    pub throttled: Duration,
    /// Linear memories and tables that they have now, and what the host holds for them.
    pub memory_bytes: u64,
}

/// A command that can be run in a container.
#[derive(Debug)]
pub struct Command {
    container: Container,
    run: Arc<Run>,
}

impl Container {
    /// Runs the program to its end; must be polled on [`Host::handle`], once. `started` is called when the guest runs or its listener
    /// accepts. Dropping the future ends the guest at once, and so do commands end with it.
    pub async fn run(&self, started: impl FnOnce() + Send + 'static) -> Ended {
        let _over = self.over.clone().drop_guard();
        Arc::clone(&self.run).guarded(Box::new(started)).await
    }

    /// What the run and its commands use.
    pub fn usage(&self) -> Usage {
        let (cpu, throttled) = (self.run.cpu.used(), self.run.cpu.throttled());
        Usage { cpu, throttled, memory_bytes: self.run.memory.used() }
    }

    /// The folders that its guests see.
    pub fn preopens(&self) -> &[Preopen] {
        &self.run.guest.preopens
    }

    /// The folder in which its guests begin, if not at `/`.
    pub fn working_dir(&self) -> Option<&str> {
        self.run.guest.working_dir.as_deref()
    }

    /// Looks at a command that is to run beside the program, in the same environment and within the same limits.
    ///
    /// # Errors
    /// When the program has no such command.
    pub fn command(&self, exec: Exec) -> Result<Command, ExecError> {
        let entry = Entry::of_command(&exec.command, &self.run.program.kind)?;
        Ok(Command { container: self.clone(), run: self.run.beside(entry, exec) })
    }
}

impl Command {
    /// Runs the command to its end, or that of its container; must be polled on [`Host::handle`]. Dropping the future ends it at once.
    pub async fn run(self) -> Ended {
        tokio::select! {
            biased;
            () = self.container.over.cancelled() => {
                Ended::new(Cause::Killed, "the container ended")
            }
            ended = self.run.guarded(Box::new(|| ())) => ended,
        }
    }
}

impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Container").field("program", &self.run.program).finish_non_exhaustive()
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("guest", &self.guest).finish_non_exhaustive()
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("turns", &self.inner.turns).finish_non_exhaustive()
    }
}

struct Inner {
    engine: Engine,
    /// Made for the first handler.
    pooling: OnceLock<Option<Pooling>>,
    linkers: Linkers,
    turns: Arc<Turns>,
    handle: Handle,
    target: Target,
    memory: Arc<TotalMemory>,
    neighbours: Arc<Neighbours>,
    /// Taken on drop, since a runtime may not be dropped from within another.
    runtime: Option<Runtime>,
}

impl Inner {
    fn pooling(&self) -> Option<&Pooling> {
        let start = || {
            let pooling = Pooling::start(self.target);
            if let Some(pooling) = &pooling {
                self.turns.ticker.add(pooling.engine.clone());
            }
            pooling
        };
        self.pooling.get_or_init(start).as_ref()
    }
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

/// One run of a program: what all of its instances share.
pub(crate) struct Run {
    host: Host,
    pub(crate) program: Arc<Program>,
    pub(crate) entry: Entry,
    pub(crate) guest: Guest,
    pub(crate) terminal: Terminal,
    pub(crate) stop: Stop,
    pub(crate) memory: Arc<MemoryAccount>,
    cpu: Arc<CpuMeter>,
    network: Arc<Network>,
    settings: Settings,
}

impl Run {
    fn new(host: Host, program: Arc<Program>, entry: Entry, guest: Guest, stop: Stop) -> Arc<Self> {
        let memory = Arc::new(MemoryAccount::new(guest.memory_bytes_max, Arc::clone(&host.inner.memory)));
        let cpu = Arc::new(CpuMeter::new(guest.cpu_milli_max, Instant::now()));
        let network = Arc::new(Network::of(&guest, &host.inner.neighbours));
        let settings = Settings::from(guest.env.as_slice());
        let terminal = Terminal::No;
        Arc::new(Self { host, program, entry, guest, terminal, stop, memory, cpu, network, settings })
    }

    /// A run of the same program in the same limits.
    fn beside(&self, entry: Entry, exec: Exec) -> Arc<Self> {
        let Exec { command, input, output, terminal } = exec;
        // What leads to the container's ports from outside is there once.
        let listen = self.guest.listen.iter().map(|listening| Listening { host: None, ..*listening });
        let listen = listen.collect();
        Arc::new(Self {
            host: self.host.clone(),
            program: Arc::clone(&self.program),
            entry,
            guest: Guest { args: command, input, output, listen, ..self.guest.clone() },
            terminal,
            // It ends with its caller or its container, and is not asked to.
            stop: Stop::new(),
            memory: Arc::new(self.memory.sibling()),
            cpu: Arc::clone(&self.cpu),
            network: Arc::clone(&self.network),
            settings: Arc::clone(&self.settings),
        })
    }

    async fn guarded(self: Arc<Self>, started: Started) -> Ended {
        let ended = AssertUnwindSafe(self.to_end(started)).catch_unwind().await;
        ended.unwrap_or_else(|_panic| Ended::new(Cause::HostError, "the host failed while it ran the guest"))
    }

    async fn to_end(self: Arc<Self>, started: Started) -> Ended {
        let ports = match HostPorts::open(self.relayed()).await {
            Ok(ports) => ports,
            Err(error) => return error.into(),
        };
        let ended = match &self.entry {
            Entry::Command | Entry::Function(_) => command::run(&self, started).await,
            Entry::Handler => serve::run(&self, started).await,
            Entry::CommandAndHandler => service::run(&self, started).await,
        };
        ports.close().await;
        match self.network.last_denial() {
            Some(denial) => ended.after_denial(&denial),
            None => ended,
        }
    }

    /// Ports of the machine that lead to those on which the guest may listen by itself.
    fn relayed(&self) -> Vec<(SocketAddr, Toward)> {
        let (listens, served) = match self.entry {
            Entry::Command | Entry::Function(_) => (true, None),
            Entry::CommandAndHandler => (true, self.guest.served()),
            Entry::Handler => (false, None),
        };
        let is_served = |listening: &&Listening| served.is_some_and(|served| served.is_same_port(listening));
        let own = self.guest.listen.iter().filter(|listening| listens && !is_served(listening));
        let toward = |listening: &Listening| Toward::Guest(listening.transport, listening.address);
        own.filter_map(|listening| Some((listening.host?, toward(listening)))).collect()
    }

    /// The rules of its guests' network.
    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    /// What stores are made from.
    pub(crate) fn parts(&self) -> StoreParts<'_> {
        StoreParts {
            engine: &self.host.inner.engine,
            guest: &self.guest,
            terminal: self.terminal,
            network: &self.network,
            settings: &self.settings,
            memory: &self.memory,
        }
    }

    /// A turn for one more instance.
    pub(crate) fn turn(&self) -> Arc<Turn> {
        Turn::new(Arc::clone(&self.host.inner.turns), Arc::clone(&self.cpu))
    }

    /// An instance's future, run in turns and within the container's quota.
    pub(crate) fn schedule<T: Send + 'static>(
        &self,
        turn: Arc<Turn>,
        future: GuestFuture<T>,
    ) -> Scheduled<T> {
        Scheduled::new(turn, future)
    }
}

/// Two, so that a guest in its first slice does not hold up all others on a machine with one core.
const WORKERS_MIN: usize = 2;

/// Threads for file operations and name look-ups of all guests together.
const BLOCKING_THREADS_MAX: usize = 16;
