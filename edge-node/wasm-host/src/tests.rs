//! Guests of every kind and every end, written as text and run by a real host.

use std::{
    fs,
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

use crate::{
    Cause, Container, Egress, Ended, EntryChoice, Guest, Host, Input, Listening, LoadError, Output, Program,
    Serving, Stop, Stream, Transport, compile,
};

mod commands;
mod coredumps;
mod docs;
mod exec;
mod folders;
mod handlers;
mod network;
mod service;
mod targets;
mod third;
mod versions;

/// One host for all tests, as a process has.
fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| Host::new().unwrap())
}

fn load(wasm: &[u8]) -> Result<Arc<Program>, LoadError> {
    let folder = tempfile::tempdir().unwrap();
    let artifact = folder.path().join("artifact");
    fs::write(&artifact, compile(wasm, host().target()).unwrap()).unwrap();
    // The mapping outlives the file's name.
    host().load(&artifact).map(Arc::new)
}

fn program(text: &str) -> Arc<Program> {
    load(&wat::parse_str(text).unwrap()).unwrap()
}

/// A workload that `cargo xtask build-workloads` compiled.
fn workload(name: &str) -> Arc<Program> {
    let exe = std::env::current_exe().unwrap();
    let target = exe.ancestors().nth(3).unwrap();
    let file = target.join("workloads").join(format!("{name}.wasm"));
    let wasm = fs::read(&file).unwrap_or_else(|error| {
        panic!("{}: {error}; `cargo xtask build-workloads` makes it", file.display());
    });
    load(&wasm).unwrap()
}

/// Keeps what a guest writes; has room for everything.
#[derive(Default)]
struct Captured {
    text: Mutex<String>,
}

impl Captured {
    fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }
}

impl Output for Captured {
    fn room(&self) -> usize {
        usize::MAX
    }

    fn push(&self, _stream: Stream, bytes: &[u8]) {
        self.text.lock().unwrap().push_str(&String::from_utf8_lossy(bytes));
    }

    fn poll_room(&self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

pub(crate) fn guest() -> Guest {
    Guest { args: vec!["guest".to_owned()], ..Guest::new(Arc::new(Captured::default())) }
}

/// A declared port for connections.
pub(crate) fn tcp(address: SocketAddr) -> Vec<Listening> {
    vec![Listening::tcp(address)]
}

/// A guest that runs, and the way to stop it.
struct Running {
    stop: Stop,
    container: Container,
    started: oneshot::Receiver<()>,
    ended: JoinHandle<Ended>,
}

impl Running {
    async fn end(self) -> Ended {
        timeout(PATIENCE, self.ended).await.expect("the guest ends").unwrap()
    }
}

fn start(program: &Arc<Program>, guest: Guest) -> Running {
    let stop = Stop::new();
    let (tell, started) = oneshot::channel();
    let container = host().container(Arc::clone(program), guest, stop.clone()).unwrap();
    // A test that does not wait for the start has dropped the receiver.
    let started_now = move || tell.send(()).unwrap_or_default();
    let run = container.clone();
    let ended = host().handle().spawn(async move { run.run(started_now).await });
    Running { stop, container, started, ended }
}

/// How long anything in these tests may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(20);
