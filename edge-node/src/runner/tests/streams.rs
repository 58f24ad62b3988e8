//! Commands and attachments over a stream, as an agent opens them.

use dunlin_edge_node_core::sandbox::{
    Mount,
    stream::{AttachStart, ExecStart},
};
use dunlin_link::{
    PodUid,
    exec::{self, AttachRequest, AttachStdin, ExecEnd, ExecRequest},
    frame::{Kind, Message, encode},
    limits::EXEC_FRAME_BYTES_MAX,
    message::Unsupported,
    stream::{StreamAnswer, StreamRefusal},
    volumes::Access,
};
use tokio::io::{DuplexStream, duplex};

use super::*;
use crate::{frames::read_frame, runner::streams::serve};

/// Copies its input to both of its outputs, and exits with the number of its arguments.
const COPIES: &str = r#"(module
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $args (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (i32.store (i32.const 0) (i32.const 1024))
        (loop $again
            (i32.store (i32.const 4) (i32.const 4096))
            (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
            (if (i32.load (i32.const 8)) (then
                (i32.store (i32.const 4) (i32.load (i32.const 8)))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))
                (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 12)))
                (br $again))))
        (drop (call $args (i32.const 600) (i32.const 604)))
        (call $exit (i32.load (i32.const 600))))
    (func (export "spin") (loop $again (br $again)))
    (func (export "trap") unreachable))"#;

/// The agent's end of a stream.
struct Caller(DuplexStream);

impl Caller {
    fn open(runner: &Runner, start: &impl Message) -> Self {
        let (mut ours, theirs) = duplex(64 << 10);
        let (containers, head) = (Arc::clone(&runner.containers), encode(start));
        tokio::spawn(async move { serve(&containers, theirs).await });
        let mut head = head.as_slice();
        // It has room for the head of a stream.
        let written = futures_util::FutureExt::now_or_never(ours.write_all_buf(&mut head));
        assert!(matches!(written, Some(Ok(()))));
        Self(ours)
    }

    async fn answer(&mut self) -> StreamAnswer {
        let answer = timeout(PATIENCE, read_frame(&mut self.0, 1 << 16)).await.expect("an answer");
        answer.unwrap().unwrap().decode().unwrap()
    }

    async fn opened(mut self) -> Self {
        assert_eq!(self.answer().await, StreamAnswer::Opened);
        self
    }

    async fn send(&mut self, input: exec::Input) {
        timeout(PATIENCE, self.0.write_all(&input.encode())).await.expect("it is taken").unwrap();
    }

    async fn next(&mut self) -> exec::Output {
        loop {
            let frame =
                timeout(PATIENCE, read_frame(&mut self.0, EXEC_FRAME_BYTES_MAX)).await.expect("a frame");
            if let Some(output) = exec::Output::decode(&frame.unwrap().expect("the end was told")).unwrap() {
                return output;
            }
        }
    }

    /// What came on either stream, and the end.
    async fn rest(mut self) -> (String, String, ExecEnd) {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        loop {
            match self.next().await {
                exec::Output::Stdout(bytes) => stdout.push_str(std::str::from_utf8(&bytes).unwrap()),
                exec::Output::Stderr(bytes) => stderr.push_str(std::str::from_utf8(&bytes).unwrap()),
                exec::Output::End(end) => return (stdout, stderr, end),
            }
        }
    }
}

fn exec_start(id: &str, words: &[&str]) -> ExecStart {
    let request = ExecRequest {
        uid: PodUid::new("u"),
        container: "main".to_owned(),
        command: words.iter().map(ToString::to_string).collect(),
        stdin: true,
        stdout: true,
        stderr: true,
        tty: false,
    };
    ExecStart { id: ContainerId::new(id), request }
}

fn attach_start(id: &str, stdin: AttachStdin) -> AttachStart {
    let (uid, container) = (PodUid::new("u"), "main".to_owned());
    let request = AttachRequest { uid, container, stdin, stdout: true, stderr: false, tty: false };
    AttachStart { id: ContainerId::new(id), request }
}

/// A runner with a container that copies.
async fn copying() -> (Runner, Agent) {
    let runner = Runner::start().await;
    let mut agent = runner.greeted().await;
    agent.start(runner.spec("a", COPIES)).await;
    agent.running("a").await;
    (runner, agent)
}

fn text(text: &str) -> exec::Input {
    exec::Input::Stdin(text.as_bytes().to_vec())
}

#[tokio::test]
async fn a_command_copies_its_input_and_tells_its_code() {
    let (runner, _agent) = copying().await;
    let mut caller = Caller::open(&runner, &exec_start("a", &["copy", "x"])).opened().await;
    caller.send(text("hel")).await;
    assert_eq!(caller.next().await, exec::Output::Stdout(b"hel".to_vec()));
    caller.send(exec::Input::Resize(exec::TerminalSize { columns: 80, rows: 24 })).await;
    caller.send(text("lo")).await;
    caller.send(exec::Input::StdinEnd).await;
    let (stdout, stderr, end) = caller.rest().await;
    assert_eq!((stdout.as_str(), stderr.as_str(), end), ("lo", "hello", ExecEnd::Exited(2)));
    // A terminal has one stream, and a trap says what it was.
    let mut on_terminal = exec_start("a", &["#trap"]);
    on_terminal.request.tty = true;
    let (stdout, stderr, end) = Caller::open(&runner, &on_terminal).opened().await.rest().await;
    assert_eq!((stderr.as_str(), end), ("", ExecEnd::Exited(134)));
    assert!(stdout.contains("unreachable"), "{stdout}");
}

#[tokio::test]
async fn files_of_a_volume_are_packed_as_tar_does() {
    let runner = Runner::start().await;
    let mut agent = runner.greeted().await;
    let volume = runner.folder.path().join("volume");
    fs::create_dir(&volume).unwrap();
    fs::write(volume.join("f"), "in the volume").unwrap();
    let mut spec = runner.spec("a", COPIES);
    let dir = volume.to_string_lossy().into_owned();
    spec.mounts =
        vec![Mount { dir, inside: String::new(), path: "/data".to_owned(), access: Access::ReadOnly }];
    agent.start(spec).await;
    agent.running("a").await;
    let mut start = exec_start("a", &["tar", "cf", "-", "/data/f"]);
    start.request.stdin = false;
    let (stdout, stderr, end) = Caller::open(&runner, &start).opened().await.rest().await;
    assert_eq!((stderr.as_str(), end), ("", ExecEnd::Exited(0)));
    assert!(stdout.starts_with("data/f") && stdout.contains("in the volume"), "{stdout:?}");
    let missing = exec_start("a", &["tar", "cf", "-", "/data/none"]);
    let (_, stderr, end) = Caller::open(&runner, &missing).opened().await.rest().await;
    assert_eq!(end, ExecEnd::Exited(2));
    assert!(stderr.starts_with("tar: /data/none: "), "{stderr}");
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_its_reason() {
    let (runner, mut agent) = copying().await;
    let refused =
        async |start: &ExecStart, expected: StreamRefusal, part: &str| match Caller::open(&runner, start)
            .answer()
            .await
        {
            StreamAnswer::Refused { reason, message } => {
                assert_eq!(reason, expected, "{message}");
                assert!(message.contains(part), "{message}");
            }
            StreamAnswer::Opened => panic!("opened"),
        };
    refused(&exec_start("b", &["x"]), StreamRefusal::NotRunning, "does not run").await;
    refused(&exec_start("a", &["#none"]), StreamRefusal::Impossible, "`none`").await;
    let mut callers = Vec::new();
    for _ in 0..16 {
        callers.push(Caller::open(&runner, &exec_start("a", &["copy"])).opened().await);
    }
    refused(&exec_start("a", &["copy"]), StreamRefusal::TooMany, "16").await;
    // The place of one who left is free again.
    drop(callers.pop());
    timeout(PATIENCE, async {
        while Caller::open(&runner, &exec_start("a", &["copy"])).answer().await != StreamAnswer::Opened {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("a place becomes free");
    agent.send(&Request::Stop { id: ContainerId::new("a"), grace_ms: 0 }).await;
    agent.exit("a").await;
    refused(&exec_start("a", &["copy"]), StreamRefusal::NotRunning, "does not run").await;
    // Commands end with their container.
    for caller in callers {
        assert_eq!(caller.rest().await.2, ExecEnd::Exited(137));
    }
    let mut unknown = Caller::open(&runner, &exec::StdinEnd);
    let answer = read_frame(&mut unknown.0, 1 << 16).await.unwrap().unwrap();
    assert_eq!(answer.decode::<Unsupported>().unwrap(), Unsupported { kind: exec::StdinEnd::KIND.0 });
    assert_ne!(Kind(answer.kind.0), exec::StdinEnd::KIND);
}

#[tokio::test]
async fn a_caller_who_leaves_ends_a_command_also_one_that_never_reads() {
    let (runner, _agent) = copying().await;
    let mut caller = Caller::open(&runner, &exec_start("a", &["#spin"])).opened().await;
    // More than is taken while the guest reads nothing.
    let flood = text(&"x".repeat(30_000));
    while timeout(Duration::from_millis(200), caller.0.write_all(&flood.clone().encode())).await.is_ok() {}
    drop(caller);
    timeout(PATIENCE, async {
        while runner.containers.streams() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("its place becomes free");
}

#[tokio::test]
async fn an_attached_caller_hears_and_feeds_the_container() {
    let (runner, mut agent) = copying().await;
    let mut first = Caller::open(&runner, &attach_start("a", AttachStdin::Open)).opened().await;
    let mut second = Caller::open(&runner, &attach_start("a", AttachStdin::None)).opened().await;
    first.send(text("one")).await;
    second.send(text("ignored")).await;
    assert_eq!(first.next().await, exec::Output::Stdout(b"one".to_vec()));
    assert_eq!(second.next().await, exec::Output::Stdout(b"one".to_vec()));
    // One who leaves ends nothing; input stays open for the next.
    first.send(exec::Input::StdinEnd).await;
    drop(first);
    let mut third = Caller::open(&runner, &attach_start("a", AttachStdin::Once)).opened().await;
    third.send(text("two")).await;
    assert_eq!(third.next().await, exec::Output::Stdout(b"two".to_vec()));
    assert_eq!(second.next().await, exec::Output::Stdout(b"two".to_vec()));
    // The only one to be ends the input by leaving, and so this guest.
    drop(third);
    assert_eq!(second.rest().await, (String::new(), String::new(), ExecEnd::Detached));
    assert_eq!(agent.exit("a").await.cause, ExitCause::Code(1));
    let log = fs::read_to_string(runner.path("logs/a.log")).unwrap();
    assert!(log.contains("stdout F onetwo") && log.contains("stderr F onetwo"), "{log}");
}

#[tokio::test]
async fn a_stream_by_the_socket_is_the_same() {
    let (runner, _agent) = copying().await;
    let path = runner.path("exec.sock");
    let listener = socket::listen(&path).await.unwrap();
    let table = Arc::clone(&runner.containers);
    let served = tokio::spawn(async move { socket::serve_streams(&listener, &table).await });
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let mut start = exec_start("a", &["copy", "x", "y"]);
    start.request.stdin = false;
    stream.write_all(&encode(&start)).await.unwrap();
    let mut frames = Vec::new();
    while let Some(frame) = timeout(PATIENCE, read_frame(&mut stream, 1 << 16)).await.unwrap().unwrap() {
        frames.push(frame);
    }
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[0].decode::<StreamAnswer>().unwrap(), StreamAnswer::Opened);
    assert_eq!(exec::Output::decode(&frames[1]).unwrap(), Some(exec::Output::End(ExecEnd::Exited(3))));
    served.abort();
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_asks_for_nothing_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let shared = SharedHost::start(compiled(), folder.path(), None).unwrap();
    let containers = shared.containers(LogBounds::DEFAULT).unwrap();
    let (_ours, theirs) = duplex(1 << 10);
    let error = serve(&containers, theirs).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
}
