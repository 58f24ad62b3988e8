//! Commands in containers, callers who are attached, and what containers use.

use std::{
    io::{Read as _, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
};

use dunlin_edge_node_core::sandbox::{
    Request,
    linux::Stdio,
    stream::{AttachStart, ExecStart, SOCKET, UsageStart},
};
use dunlin_link::{
    ContainerId, PodUid,
    exec::{AttachRequest, AttachStdin, ExecEnd, ExecRequest, Input, Output, TerminalSize},
    frame::{Decoder, Frame, Message, encode},
    limits::EXEC_FRAME_BYTES_MAX,
    stream::{StreamAnswer, StreamRefusal},
    usage::ContainerUsages,
};

use crate::{
    machine::processes,
    pod::{Pod, connect, eventually, runtimes},
};

/// A caller's side of a stream.
pub(crate) struct Caller {
    stream: UnixStream,
    decoder: Decoder,
}

impl Caller {
    pub(crate) fn open<M: Message>(pod: &Pod, head: &M) -> Self {
        let mut stream = connect(&pod.args.dir.join(SOCKET));
        stream.write_all(&encode(head)).unwrap();
        Self { stream, decoder: Decoder::new(EXEC_FRAME_BYTES_MAX) }
    }

    fn send(&mut self, input: Input) {
        self.stream.write_all(&input.encode()).unwrap();
    }

    fn frame(&mut self) -> Frame {
        loop {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).unwrap();
            if let Some(frame) = self.decoder.feed(&mut &byte[..]).unwrap() {
                return frame;
            }
        }
    }

    pub(crate) fn answer(&mut self) -> StreamAnswer {
        self.frame().decode().unwrap()
    }

    /// Everything to the end: standard output, standard error, and how it ended.
    fn finish(&mut self) -> (String, String, ExecEnd) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        loop {
            match Output::decode(&self.frame()).unwrap() {
                Some(Output::Stdout(bytes)) => out.extend(bytes),
                Some(Output::Stderr(bytes)) => err.extend(bytes),
                Some(Output::End(end)) => {
                    let text = |bytes| String::from_utf8(bytes).unwrap();
                    return (text(out), text(err), end);
                }
                None => {}
            }
        }
    }
}

pub(crate) fn exec(line: &str) -> ExecStart {
    let request = ExecRequest {
        uid: PodUid::new("u"),
        container: "c".into(),
        command: ["sh", "-c", line].map(str::to_owned).to_vec(),
        stdin: false,
        stdout: true,
        stderr: true,
        tty: false,
    };
    ExecStart { id: ContainerId::new("a"), request }
}

/// A pod with one container that stays.
fn pod(runtime: &std::path::Path) -> Pod {
    let mut pod = Pod::start(runtime);
    let mut spec = pod.spec("a", "echo ready; sleep 100000");
    spec.env = vec![("OWN".into(), "of the container".into())];
    pod.start_container(spec);
    pod.running("a");
    pod.wrote("a", "ready");
    pod
}

#[test]
fn a_command_runs_in_a_container() {
    for runtime in runtimes() {
        let pod = pod(&runtime);
        let mut caller = Caller::open(&pod, &exec("echo $OWN; echo err >&2; exit 5"));
        assert_eq!(caller.answer(), StreamAnswer::Opened);
        let expected = ("of the container\n".to_owned(), "err\n".to_owned(), ExecEnd::Exited(5));
        assert_eq!(caller.finish(), expected, "{}", runtime.display());

        let mut start = exec("cat");
        start.request.stdin = true;
        let mut caller = Caller::open(&pod, &start);
        assert_eq!(caller.answer(), StreamAnswer::Opened);
        let sent = "x".repeat(300_000);
        let mut writer = Caller { stream: caller.stream.try_clone().unwrap(), decoder: Decoder::new(1) };
        let text = sent.clone();
        let writing = std::thread::spawn(move || {
            for part in text.as_bytes().chunks(30_000) {
                writer.send(Input::Stdin(part.to_vec()));
            }
            writer.send(Input::StdinEnd);
        });
        let (out, _, end) = caller.finish();
        writing.join().unwrap();
        assert!(out == sent && end == ExecEnd::Exited(0), "{} of {} bytes, {end:?}", out.len(), sent.len());

        let mut caller = Caller::open(&pod, &exec("kill -9 $$"));
        assert_eq!(caller.answer(), StreamAnswer::Opened);
        assert_eq!(caller.finish().2, ExecEnd::Exited(137));

        let mut start = exec("");
        start.request.command = vec!["/no/such/program".into()];
        let mut caller = Caller::open(&pod, &start);
        assert_eq!(caller.answer(), StreamAnswer::Opened);
        let ExecEnd::Failed(why) = caller.finish().2 else { panic!("it ran") };
        assert!(why.contains("/no/such/program"), "{why}");
        pod.shut_down();
    }
}

#[test]
fn a_command_with_a_terminal_has_its_size() {
    for runtime in runtimes() {
        let pod = pod(&runtime);
        let mut start = exec("echo begun; read x; stty size; tty; echo $TERM");
        (start.request.tty, start.request.stdin, start.request.stderr) = (true, true, false);
        let mut caller = Caller::open(&pod, &start);
        assert_eq!(caller.answer(), StreamAnswer::Opened);
        caller.send(Input::Resize(TerminalSize { columns: 80, rows: 24 }));
        let mut begun = Vec::new();
        // A terminal hands on what was written, in as many pieces as it likes.
        while !begun.ends_with(b"\n") {
            let Some(Output::Stdout(more)) = Output::decode(&caller.frame()).unwrap() else {
                panic!("no output")
            };
            begun.extend(more);
        }
        assert_eq!(begun, b"begun\r\n");
        caller.send(Input::Resize(TerminalSize { columns: 132, rows: 43 }));
        caller.send(Input::Stdin(b"\n".to_vec()));
        let (out, _, end) = caller.finish();
        assert!(out.contains("43 132\r\n/dev/pts/"), "{out}");
        assert!(out.ends_with("xterm\r\n"), "{out}");
        assert_eq!(end, ExecEnd::Exited(0));
        pod.shut_down();
    }
}

#[test]
fn a_command_ends_with_its_caller() {
    for runtime in runtimes() {
        let pod = pod(&runtime);
        let mut caller = Caller::open(&pod, &exec("echo begun; sleep 23456"));
        assert_eq!(caller.answer(), StreamAnswer::Opened);
        assert!(Output::decode(&caller.frame()).unwrap().is_some());
        eventually("it sleeps", || !processes("23456").is_empty());
        caller.stream.shutdown(Shutdown::Both).unwrap();
        drop(caller);
        // Its own child is nobody's any more and goes with the container.
        eventually("it ends", || processes("echo begun; sleep 23456").is_empty());
        // One that leaves before there is a process.
        drop(Caller::open(&pod, &exec("sleep 34567")));
        pod.shut_down();
        assert!(processes("34567").is_empty() && processes("23456").is_empty());
    }
}

#[test]
fn who_is_attached_gets_what_is_written_from_then_on() {
    for runtime in runtimes() {
        let mut pod = Pod::start(&runtime);
        let mut spec = pod.spec("a", "echo before; while read line; do echo \"got $line\"; done; echo over");
        spec.stdio = Stdio::Input;
        pod.start_container(spec);
        pod.running("a");
        pod.wrote("a", "before");
        let request = AttachRequest {
            uid: PodUid::new("u"),
            container: "c".into(),
            stdin: AttachStdin::Open,
            stdout: true,
            stderr: true,
            tty: false,
        };
        let start = AttachStart { id: ContainerId::new("a"), request };
        let mut first = Caller::open(&pod, &start);
        assert_eq!(first.answer(), StreamAnswer::Opened);
        let mut start = start;
        start.request.stdin = AttachStdin::Once;
        let mut second = Caller::open(&pod, &start);
        assert_eq!(second.answer(), StreamAnswer::Opened);
        first.send(Input::Stdin(b"one\n".to_vec()));
        first.send(Input::StdinEnd);
        pod.wrote("a", "got one");
        second.send(Input::Stdin(b"two\n".to_vec()));
        second.send(Input::StdinEnd);
        let expected = ("got one\ngot two\nover\n".to_owned(), String::new(), ExecEnd::Detached);
        assert_eq!((first.finish(), second.finish()), (expected.clone(), expected));
        pod.exit("a");
        let mut late = Caller::open(&pod, &start);
        let refused = StreamAnswer::Refused {
            reason: StreamRefusal::NotRunning,
            message: "container \"c\" is not running".into(),
        };
        assert_eq!(late.answer(), refused);
        pod.shut_down();
    }
}

#[test]
fn what_containers_use_is_told() {
    for runtime in runtimes() {
        let mut pod = pod(&runtime);
        let mut caller = Caller::open(&pod, &UsageStart);
        assert_eq!(caller.answer(), StreamAnswer::Opened);
        let usages: ContainerUsages = caller.frame().decode().unwrap();
        let [usage] = usages.containers.as_slice() else { panic!("{usages:?}") };
        assert_eq!((usage.container.as_str(), usage.attempt), ("c", 0));
        assert!(usage.cpu_us > 0 && usage.memory.0 > 4096, "{usage:?}");
        pod.ask(&Request::Stop { id: ContainerId::new("a"), grace_ms: 0 });
        pod.exit("a");
        let mut caller = Caller::open(&pod, &UsageStart);
        assert_eq!(caller.answer(), StreamAnswer::Opened);
        assert_eq!(caller.frame().decode::<ContainerUsages>().unwrap().containers, []);
        pod.shut_down();
    }
}
