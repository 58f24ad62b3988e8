//! WebAssembly guests without a cluster around them: the host of `wasm-host` in this process, or in one of its own where its memory or
//! its time is what is measured.

pub(crate) mod cpu;
pub(crate) mod http;
pub(crate) mod load;
pub(crate) mod module;
pub(crate) mod neighbours;
pub(crate) mod step;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    task::{Context, Poll},
};

use anyhow::{Context as _, Result, anyhow};
use dunlin_wasm_host::{Container, Ended, Guest, Host, Listening, Output, Program, Stop, Stream, compile};
use tokio::{sync::oneshot, task::JoinHandle};

/// Options of every bench that runs workloads in its own process.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct GuestArgs {
    /// Folder of the built workloads
    #[arg(long, default_value = "target/workloads")]
    pub(crate) workloads: PathBuf,
}

impl GuestArgs {
    pub(crate) fn path(&self, workload: &str) -> PathBuf {
        self.workloads.join(format!("{workload}.wasm"))
    }

    /// Compiles and loads a workload.
    ///
    /// # Errors
    /// When it was not built.
    pub(crate) fn program(&self, host: &Host, workload: &str) -> Result<Arc<Program>> {
        program(host, &self.path(workload))
    }
}

/// Compiles and loads a module.
///
/// # Errors
/// When it is not there or does not compile.
pub(crate) fn program(host: &Host, module: &Path) -> Result<Arc<Program>> {
    let wasm = fs::read(module).with_context(|| {
        format!("cannot read `{}`; `cargo xtask build-workloads` makes workloads", module.display())
    })?;
    let folder = tempfile::tempdir()?;
    let artifact = folder.path().join("artifact");
    fs::write(&artifact, compile(&wasm, host.target())?)?;
    // The mapping outlives the file's name.
    Ok(Arc::new(host.load(&artifact)?))
}

/// A guest without limits that listens at `listen`.
pub(crate) fn guest(args: &[&str], listen: Option<SocketAddr>) -> Guest {
    Guest {
        args: args.iter().map(ToString::to_string).collect(),
        listen: listen.map(Listening::tcp).into_iter().collect(),
        ..Guest::new(Arc::new(Discard))
    }
}

/// A guest that runs; dropping it leaves it running.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) container: Container,
    pub(crate) stop: Stop,
    ended: JoinHandle<Ended>,
}

impl Running {
    /// Starts a guest and waits until it has.
    ///
    /// # Errors
    /// When it ends before that.
    pub(crate) async fn start(host: &Host, program: &Arc<Program>, guest: Guest) -> Result<Self> {
        let stop = Stop::new();
        let (tell, started) = oneshot::channel();
        let container = host.container(Arc::clone(program), guest, stop.clone())?;
        let run = container.clone();
        let ended =
            host.handle().spawn(async move { run.run(move || tell.send(()).unwrap_or_default()).await });
        match started.await {
            Ok(()) => Ok(Self { container, stop, ended }),
            Err(_ended) => Err(anyhow!("the guest ended before it ran: {:?}", ended.await?)),
        }
    }

    /// Ends it at once.
    ///
    /// # Errors
    /// When the host failed.
    pub(crate) async fn end(self) -> Result<Ended> {
        self.stop.request(std::time::Duration::ZERO);
        Ok(self.ended.await?)
    }
}

/// An address that was free a moment ago.
///
/// # Errors
/// When there is none.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Takes all output and keeps none.
struct Discard;

impl Output for Discard {
    fn room(&self) -> usize {
        usize::MAX
    }

    fn push(&self, _stream: Stream, _bytes: &[u8]) {}

    fn poll_room(&self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}
