//! The runner over a real socket, with real modules and compiling processes.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use dunlin_edge_node_core::sandbox::{
    ContainerSpec, Event, Exit, ExitCause, GuestNetwork, Owner, PROTOCOL, Request, State,
};
use dunlin_link::{Bytes, ContainerId, codec, guest::GuestSettings};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    task::JoinHandle,
    time::timeout,
};

use super::{
    CompileArgs, Compiler, InProcess, LogBounds, OwnCode, RunnerArgs, SharedHost, compile_main,
    containers::Containers, main, socket,
};

mod code;
mod keyvalue;
mod requests;
mod streams;

/// The compiling process of these tests is this test program, told to run this test alone with three more words.
#[test]
fn compiling_process() {
    let words: Vec<String> = std::env::args().collect();
    let [.., marker, input, output, target] = &words[..] else { return };
    if marker != "--exact" {
        return;
    }
    let args =
        CompileArgs::Module { input: input.into(), output: output.into(), target: Some(target.clone()) };
    let code = compile_main(&args);
    let codes = [0, 1, 65].into_iter().find(|number| code == ExitCode::from(*number));
    end_with(codes.unwrap());
}

#[expect(clippy::exit, reason = "the parent looks at the exit code, which a test cannot choose otherwise")]
fn end_with(code: u8) {
    std::process::exit(code.into());
}

/// A runner's process, in the same way: its only further word is the socket.
#[test]
fn runner_process() {
    let words: Vec<String> = std::env::args().collect();
    let [.., marker, socket] = &words[..] else { return };
    if marker != "--exact" || !Path::new(socket).is_absolute() {
        return;
    }
    let socket = socket.into();
    let (log_bounds, keyvalue_quota_bytes) = (LogBounds::DEFAULT, None);
    let code = main(RunnerArgs { socket, log_bounds, own: compiled(), keyvalue_quota_bytes });
    end_with(u8::from(code != ExitCode::SUCCESS));
}

/// This program as the process that `test` stands for.
fn this_as(test: &str) -> Vec<OsString> {
    let this = std::env::current_exe().unwrap();
    vec![this.into(), format!("runner::tests::{test}").into(), "--nocapture".into(), "--exact".into()]
}

fn compiled() -> OwnCode {
    OwnCode::Compiled(Compiler::new(this_as("compiling_process")))
}

/// A runner with a folder of its own.
struct Runner {
    folder: TempDir,
    containers: Arc<Containers>,
    served: JoinHandle<()>,
}

impl Runner {
    async fn start() -> Self {
        Self::of(compiled()).await
    }

    async fn of(own: OwnCode) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let containers =
            SharedHost::start(own, folder.path(), None).unwrap().containers(LogBounds::DEFAULT).unwrap();
        let listener = socket::listen(&folder.path().join("socket")).await.unwrap();
        let table = Arc::clone(&containers);
        let served = tokio::spawn(async move { socket::serve(&listener, &table).await });
        Self { folder, containers, served }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A container of the module written as `text`.
    fn spec(&self, id: &str, text: &str) -> ContainerSpec {
        self.spec_of(id, &wat::parse_str(text).unwrap())
    }

    fn spec_of(&self, id: &str, module: &[u8]) -> ContainerSpec {
        let file = self.path(&format!("{id}.wasm"));
        fs::write(&file, module).unwrap();
        let owner = Owner {
            pod_uid: format!("uid-{id}"),
            namespace: "default".to_owned(),
            pod: id.to_owned(),
            container: "main".to_owned(),
            attempt: 0,
        };
        ContainerSpec {
            id: ContainerId::new(id),
            owner,
            module: file.to_string_lossy().into_owned(),
            args: vec!["guest".to_owned()],
            env: Vec::new(),
            working_dir: None,
            log: self.path(&format!("logs/{id}.log")).to_string_lossy().into_owned(),
            memory_limit: Some(Bytes(16 << 20)),
            cpu_limit: None,
            listen: Vec::new(),
            pod_ip: None,
            network: GuestNetwork::Machine,
            settings: GuestSettings::default(),
            mounts: Vec::new(),
            termination_message: None,
            keyvalue: Some(self.path("keyvalue.redb").to_string_lossy().into_owned()),
        }
    }

    async fn agent(&self) -> Agent {
        Agent { stream: UnixStream::connect(self.path("socket")).await.unwrap() }
    }

    async fn greeted(&self) -> Agent {
        let mut agent = self.agent().await;
        agent.send(&Request::Hello { protocol: PROTOCOL }).await;
        assert!(matches!(agent.event().await, Event::Welcome { protocol: PROTOCOL, .. }));
        agent
    }
}

/// An agent that speaks the wire format itself.
struct Agent {
    stream: UnixStream,
}

impl Agent {
    async fn send(&mut self, request: &Request) {
        let frame = codec::encode(request);
        self.stream.write_u32_le(frame.len().try_into().unwrap()).await.unwrap();
        self.stream.write_all(&frame).await.unwrap();
    }

    async fn start(&mut self, spec: ContainerSpec) {
        self.send(&Request::Start(Box::new(spec))).await;
    }

    /// The next event, or `None` when the runner closed the connection.
    async fn next(&mut self) -> Option<Event> {
        let length = timeout(PATIENCE, self.stream.read_u32_le()).await.expect("an event").ok()?;
        let mut frame = vec![0; length as usize];
        self.stream.read_exact(&mut frame).await.ok()?;
        Some(codec::decode(&frame).unwrap())
    }

    async fn event(&mut self) -> Event {
        self.next().await.expect("the runner is there")
    }

    /// The first state of a container that `wanted` accepts.
    async fn state(&mut self, wanted_id: &str, wanted: impl Fn(&State) -> bool) -> State {
        loop {
            if let Event::Container { id, state, .. } = self.event().await
                && id.as_str() == wanted_id
                && wanted(&state)
            {
                return state;
            }
        }
    }

    async fn exit(&mut self, id: &str) -> Exit {
        match self.state(id, |state| matches!(state, State::Exited(_))).await {
            State::Exited(exit) => exit,
            other => panic!("{other:?}"),
        }
    }

    async fn running(&mut self, id: &str) {
        self.state(id, |state| matches!(state, State::Running { .. })).await;
    }

    /// All containers that the runner tells of before `Synced`.
    async fn told(&mut self) -> Vec<(String, State)> {
        let mut told = Vec::new();
        loop {
            match self.event().await {
                Event::Container { id, state, .. } => told.push((id.as_str().to_owned(), state)),
                Event::RequestsFailed { .. } | Event::Denied { .. } => {}
                Event::Synced => return told,
                event => panic!("not of an account: {event:?}"),
            }
        }
    }
}

const SPIN: &str = r#"(module (func (export "_start") (loop $again (br $again))))"#;

const PRINT: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\10\00\00\00\0a\00\00\00")
    (data (i32.const 16) "one\ntwo\nno")
    (func (export "_start")
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))
        (call $exit (i32.const 5))))"#;

#[tokio::test]
async fn a_container_runs_logs_and_ends() {
    let runner = Runner::start().await;
    let mut agent = runner.greeted().await;
    assert_eq!(agent.told().await, []);
    let spec = runner.spec("a", PRINT);
    agent.start(spec.clone()).await;
    let exit = agent.exit("a").await;
    assert_eq!(exit.cause, ExitCause::Code(5), "{}", exit.message);
    assert!(exit.started_at.is_some_and(|started| started <= exit.finished_at));
    let log = fs::read_to_string(&spec.log).unwrap();
    let lines: Vec<&str> = log.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(lines, ["stdout F one", "stdout F two", "stdout F no"]);
    // Starting it again changes nothing and tells it again; once removed, it is a new one.
    agent.start(spec.clone()).await;
    assert_eq!(agent.exit("a").await, exit);
    agent.send(&Request::Remove { id: spec.id.clone() }).await;
    agent.start(spec.clone()).await;
    assert!(agent.exit("a").await.finished_at >= exit.finished_at);
    assert_eq!(fs::read_to_string(&spec.log).unwrap().lines().count(), 6);
    // The compiled module lies beside its source, for this user's eyes.
    let artifacts: Vec<_> = fs::read_dir(runner.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().to_string_lossy().ends_with(".cwasm"))
        .map(|entry| entry.metadata().unwrap().permissions().mode() & 0o777)
        .collect();
    assert_eq!(artifacts, [0o400]);
}

/// Writes 20,000 lines, far more than is buffered.
const CHATTER: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\10\00\00\00\1e\00\00\00")
    (data (i32.const 16) "abcdefghijklmnopqrstuvwxyz...\n")
    (func (export "_start") (local $i i32)
        (loop $again
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 64)))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $i) (i32.const 20000))))))"#;

#[tokio::test]
async fn a_guest_that_writes_fast_waits_and_loses_nothing() {
    let runner = Runner::start().await;
    let mut agent = runner.greeted().await;
    let spec = runner.spec("chatter", CHATTER);
    agent.start(spec.clone()).await;
    assert_eq!(agent.exit("chatter").await.cause, ExitCause::Code(0));
    let log = fs::read_to_string(&spec.log).unwrap();
    assert_eq!(log.lines().count(), 20_000);
    assert!(log.lines().all(|line| line.ends_with(" stdout F abcdefghijklmnopqrstuvwxyz...")));
}

#[tokio::test]
async fn containers_outlive_their_agent() {
    let runner = Runner::start().await;
    let mut first = runner.greeted().await;
    first.start(runner.spec("spinner", SPIN)).await;
    first.running("spinner").await;
    first.start(runner.spec("printer", PRINT)).await;
    drop(first);
    let mut second = runner.greeted().await;
    let told = second.told().await;
    assert_eq!(told.len(), 2);
    assert!(told.iter().any(|(id, state)| id == "spinner" && matches!(state, State::Running { .. })));
    // A newer agent replaces the older one.
    let mut third = runner.greeted().await;
    assert_eq!(third.told().await.len(), 2);
    while second.next().await.is_some() {}
    third.send(&Request::Stop { id: ContainerId::new("spinner"), grace_ms: 0 }).await;
    assert_eq!(third.exit("spinner").await.cause, ExitCause::Killed);
}

#[tokio::test]
async fn modules_that_cannot_run_say_why() {
    let runner = Runner::start().await;
    let mut agent = runner.greeted().await;
    let mut check = async |id: &str, module: &[u8], reason: &str| {
        agent.start(runner.spec_of(id, module)).await;
        let exit = agent.exit(id).await;
        assert_eq!((exit.cause, exit.started_at), (ExitCause::CannotRun, None), "{}", exit.message);
        assert!(exit.message.contains(reason), "{}", exit.message);
    };
    check("text", b"(module)", "not a WebAssembly binary").await;
    check("torn", b"\0asm\x01\0\0\0\x01\xff", "invalid WebAssembly").await;
    let library = wat::parse_str(r#"(module (func (export "add")))"#).unwrap();
    check("library", &library, "`add`").await;
    let mut missing = runner.spec("missing", PRINT);
    missing.module = "/nowhere/at/all.wasm".to_owned();
    agent.start(missing).await;
    assert_eq!(agent.exit("missing").await.cause, ExitCause::HostError);
}

#[tokio::test]
async fn shutdown_ends_everything() {
    let runner = Runner::start().await;
    let mut agent = runner.greeted().await;
    agent.start(runner.spec("spinner", SPIN)).await;
    agent.running("spinner").await;
    agent.send(&Request::Shutdown).await;
    timeout(PATIENCE, runner.served).await.expect("the server ends").unwrap();
    timeout(PATIENCE, runner.containers.shut_down()).await.expect("containers end");
}

#[tokio::test]
async fn another_version_is_told_ours_and_no_more() {
    let runner = Runner::start().await;
    let mut agent = runner.agent().await;
    agent.send(&Request::Hello { protocol: PROTOCOL + 1 }).await;
    assert!(matches!(agent.event().await, Event::Welcome { protocol: PROTOCOL, .. }));
    agent.start(runner.spec("a", PRINT)).await;
    agent.send(&Request::Shutdown).await;
    assert!(agent.next().await.is_none());
}

#[tokio::test]
async fn messages_beyond_the_limit_end_the_connection() {
    let runner = Runner::start().await;
    let mut agent = runner.greeted().await;
    agent.told().await;
    agent.stream.write_u32_le(u32::MAX).await.unwrap();
    assert!(agent.next().await.is_none());
    runner.greeted().await;
}

#[tokio::test]
async fn a_second_runner_leaves_the_socket_alone() {
    let runner = Runner::start().await;
    assert!(socket::listen(&runner.path("socket")).await.is_err());
    runner.greeted().await;
}

#[tokio::test]
async fn nodes_of_one_process_have_tables_of_their_own() {
    let runner = Runner::start().await;
    let shared = SharedHost::start(compiled(), runner.folder.path(), None).unwrap();
    let node = || InProcess::new(shared.clone(), LogBounds::DEFAULT).unwrap();
    let (first, second) = (node(), node());
    let (requests, mut events) = first.connect();
    requests.send(Request::Hello { protocol: PROTOCOL }).await.unwrap();
    requests.send(Request::Start(Box::new(runner.spec("a", PRINT)))).await.unwrap();
    loop {
        let event = timeout(PATIENCE, events.recv()).await.unwrap().unwrap();
        if let Event::Container { state: State::Exited(exit), .. } = event {
            assert_eq!(exit.cause, ExitCause::Code(5));
            break;
        }
    }
    let (requests, mut events) = second.connect();
    requests.send(Request::Hello { protocol: PROTOCOL }).await.unwrap();
    assert!(matches!(events.recv().await, Some(Event::Welcome { .. })));
    assert_eq!(events.recv().await, Some(Event::Synced));
}

#[tokio::test]
async fn the_process_ignores_its_terminal_and_ends_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let words = this_as("runner_process");
    let mut child = tokio::process::Command::new(&words[0])
        .args(&words[1..])
        .arg(&socket)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let connected = timeout(PATIENCE, async {
        loop {
            match UnixStream::connect(&socket).await {
                Ok(stream) => return stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    });
    let mut agent = Agent { stream: connected.await.expect("the runner listens") };
    agent.send(&Request::Hello { protocol: PROTOCOL }).await;
    let Event::Welcome { pid, .. } = agent.event().await else { panic!("no welcome") };
    assert_eq!(Some(pid), child.id());
    let process = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::HUP] {
        rustix::process::kill_process(process, signal).unwrap();
    }
    assert_eq!(agent.told().await, []);
    agent.send(&Request::Shutdown).await;
    assert!(timeout(PATIENCE, child.wait()).await.expect("it ends").unwrap().success());
    assert!(!socket.exists());
}

/// How long anything in these tests may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(30);
