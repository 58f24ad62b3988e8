//! Commands and connections through the agent, into a real runner.

use dunlin_link::{
    exec::{ExecEnd, ExecRequest, Input, Output},
    limits::EXEC_FRAME_BYTES_MAX,
    stream::StreamRefusal,
};
use tokio::io::AsyncWriteExt as _;

use super::*;
use crate::{
    frames::read_frame,
    session::{ByteStream, StreamRefused},
};

/// Waits, and as a command writes a word.
const WAITS: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\10\00\00\00\05\00\00\00")
    (data (i32.const 16) "word\n")
    (func (export "_start")
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 32))))
    (func (export "speak")
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))))"#;

fn request(pod: &str, container: &str, word: &str) -> ExecRequest {
    ExecRequest {
        uid: uid(pod),
        container: container.to_owned(),
        command: vec![word.to_owned()],
        stdin: true,
        stdout: true,
        stderr: true,
        tty: false,
    }
}

async fn rest(mut stream: ByteStream) -> Option<(String, ExecEnd)> {
    let mut text = String::new();
    loop {
        let frame = within(read_frame(&mut stream, EXEC_FRAME_BYTES_MAX)).await.ok().flatten()?;
        match Output::decode(&frame).unwrap() {
            Some(Output::Stdout(bytes) | Output::Stderr(bytes)) => {
                text.push_str(std::str::from_utf8(&bytes).unwrap());
            }
            Some(Output::End(end)) => return Some((text, end)),
            None => {}
        }
    }
}

fn refusal<T>(answer: Result<T, StreamRefused>) -> (StreamRefusal, String) {
    let StreamRefused { reason, message } = answer.err().expect("a refusal");
    (reason, message)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_run_through_the_agent_and_end_with_the_runner() {
    let mut node = Node::start().await;
    node.assign(&[("waits", RestartPolicy::Never, WAITS), ("hello", RestartPolicy::Never, HELLO)]).await;
    node.until("waits", is_running).await;
    node.until("hello", |report| report.phase == PodPhase::Succeeded).await;
    let stream = within(node.host().open_exec(request("waits", "c", "#speak"))).await.unwrap();
    assert_eq!(rest(stream).await, Some(("word\n".to_owned(), ExecEnd::Exited(0))));

    let refused = async |pod: &str, container: &str, word: &str| {
        refusal(within(node.host().open_exec(request(pod, container, word))).await)
    };
    let not_found = |why: &str| (StreamRefusal::NotRunning, format!("container not found {why}"));
    assert_eq!(refused("nobody", "c", "x").await, not_found("(\"c\"): the pod is not on this node"));
    assert_eq!(refused("waits", "z", "x").await, not_found("(\"z\")"));
    assert_eq!(refused("hello", "c", "x").await, not_found("(\"c\"): it has ended"));
    assert_eq!(refused("waits", "c", "#none").await.0, StreamRefusal::Impossible);
    let (reason, message) = refusal(within(node.host().connect(uid("waits"), 80)).await);
    assert_eq!(reason, StreamRefusal::Impossible, "{message}");

    // A command goes on without its agent's loop, which only began it, and ends with the runner.
    let mut stream = within(node.host().open_exec(request("waits", "c", "wait"))).await.unwrap();
    node.kill_agent().await;
    stream.write_all(&Input::Stdin(b"x".to_vec()).encode()).await.unwrap();
    assert_eq!(rest(stream).await, Some((String::new(), ExecEnd::Exited(0))));
    node.boot().await;
    node.until("waits", is_running).await;
    let stream = within(node.host().open_exec(request("waits", "c", "wait"))).await.unwrap();
    node.kill_runner().await;
    assert_eq!(rest(stream).await, None);
    node.stop_agent().await;
}
