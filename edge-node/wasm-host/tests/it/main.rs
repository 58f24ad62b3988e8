//! Guests that take without end or do what they may not, beside a process whose memory and descriptors are watched: what is theirs
//! ends, with a reason, and nothing else does.
//!
//! The tests run one after the other, since they look at the whole process.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod body;
mod process;
mod startup;
mod takers;

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use dunlin_wasm_host::{
    Access, Container, Ended, Guest, Host, Listening, Output, Preopen, Program, Stop, Stream, compile,
};
use tokio::{
    sync::{MutexGuard, oneshot},
    task::JoinHandle,
    time::timeout,
};

/// One test at a time.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    ALONE.lock().await
}

fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| Host::new().unwrap())
}

/// A workload that `cargo xtask build-workloads` compiled.
fn workload(name: &str) -> Arc<Program> {
    let exe = std::env::current_exe().unwrap();
    let target = exe.ancestors().nth(3).unwrap();
    let file: PathBuf = target.join("workloads").join(format!("{name}.wasm"));
    let wasm = fs::read(&file).unwrap_or_else(|error| {
        panic!("{}: {error}; `cargo xtask build-workloads` makes it", file.display());
    });
    let folder = tempfile::tempdir().unwrap();
    let artifact = folder.path().join("artifact");
    fs::write(&artifact, compile(&wasm, host().target()).unwrap()).unwrap();
    // The mapping outlives the file's name.
    Arc::new(host().load(&artifact).unwrap())
}

/// Keeps the beginning of what a guest writes, and then takes nothing more, as a disk that hangs.
#[derive(Default)]
struct Clogged {
    text: Mutex<String>,
}

impl Clogged {
    fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }
}

impl Output for Clogged {
    fn room(&self) -> usize {
        ROOM_BYTES.saturating_sub(self.text.lock().unwrap().len())
    }

    fn push(&self, _stream: Stream, bytes: &[u8]) {
        self.text.lock().unwrap().push_str(&String::from_utf8_lossy(bytes));
    }

    fn poll_room(&self, _cx: &mut Context<'_>) -> Poll<()> {
        if self.room() > 0 { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// A guest with limits, and what it wrote.
fn guest(words: &[&str]) -> (Guest, Arc<Clogged>) {
    let output = Arc::new(Clogged::default());
    let guest = Guest {
        args: words.iter().map(ToString::to_string).collect(),
        memory_bytes_max: Some(MEMORY_BYTES),
        ..Guest::new(Arc::clone(&output) as _)
    };
    (guest, output)
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
    let run = container.clone();
    let ended =
        host().handle().spawn(async move { run.run(move || tell.send(()).unwrap_or_default()).await });
    Running { stop, container, started, ended }
}

/// The limit of each guest here.
const MEMORY_BYTES: u64 = 64 << 20;

/// What the process may grow by beyond a guest's limit: what a guest makes between two ticks, and what the allocator keeps.
const SLACK_BYTES: u64 = 48 << 20;

/// What a guest may write.
const ROOM_BYTES: usize = 64 << 10;

/// How long anything may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);
