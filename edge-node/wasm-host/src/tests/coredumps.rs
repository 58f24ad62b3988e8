//! Core dumps of guests that trapped.

use super::*;
use crate::CoreDumps;

/// Keeps the first.
#[derive(Default)]
struct First {
    dump: Mutex<Option<Vec<u8>>>,
    left_out: Mutex<Option<usize>>,
}

impl CoreDumps for First {
    fn is_wanted(&self) -> bool {
        self.dump.lock().unwrap().is_none()
    }

    fn keep(&self, dump: Vec<u8>) {
        *self.dump.lock().unwrap() = Some(dump);
    }

    fn left_out(&self, memory_bytes: usize) {
        *self.left_out.lock().unwrap() = Some(memory_bytes);
    }
}

/// Held by each test that leaves a dump: of two at once the second leaves none.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn watched() -> (Guest, Arc<First>) {
    let dumps = Arc::new(First::default());
    (Guest { core_dumps: Some(Arc::clone(&dumps) as _), ..guest() }, dumps)
}

fn module(body: &str) -> String {
    format!(
        r#"(module
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (data (i32.const 64) "what it had in mind")
            (func (export "_start") {body}))"#
    )
}

#[tokio::test]
async fn a_trap_leaves_what_the_guest_had_in_mind() {
    let _alone = ALONE.lock().await;
    let (guest, dumps) = watched();
    let ended = start(&program(&module("unreachable")), guest).end().await;
    assert_eq!(ended.cause, Cause::Trap);
    assert!(!ended.message.contains("coredump"), "{}", ended.message);
    let dump = dumps.dump.lock().unwrap().take().expect("a dump");
    assert!(dump.starts_with(b"\0asm\x01\0\0\0"));
    assert!(dump.windows(19).any(|part| part == b"what it had in mind"));
    assert!(dump.windows(9).any(|part| part == b"corestack"));
}

#[tokio::test]
async fn an_exit_leaves_none_and_neither_does_a_guest_too_large() {
    let check = async |body: &str, left_out: Option<usize>| {
        let (guest, dumps) = watched();
        start(&program(&module(body)), guest).end().await;
        assert!(dumps.is_wanted(), "{body}");
        assert_eq!(*dumps.left_out.lock().unwrap(), left_out, "{body}");
    };
    check("(call $exit (i32.const 3))", None).await;
    check("(drop (memory.grow (i32.const 600))) unreachable", Some(601 << 16)).await;
}

#[tokio::test]
async fn a_request_that_traps_leaves_one() {
    let _alone = ALONE.lock().await;
    let (guest, dumps) = watched();
    let (running, address) = handlers::serve(&workload("http-hello"), guest).await;
    assert!(handlers::ask(address, "GET", "/trap", "").await.starts_with("HTTP/1.1 500 "));
    running.stop.request(Duration::ZERO);
    running.end().await;
    assert!(!dumps.is_wanted());
}
