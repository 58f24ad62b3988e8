//! Commands: exits, traps, limits, stopping, and neighbours.

use super::*;

/// A preview 1 module around the body of `_start`.
fn module(body: &str) -> String {
    format!(
        r#"(module
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 64) "hello\n")
            (func (export "_start") {body}))"#
    )
}

/// A component around the core function behind `wasi:cli/run`.
pub(super) fn component(body: &str) -> String {
    format!(
        r#"(component
            (core module $m (func (export "run") (result i32) {body}))
            (core instance $i (instantiate $m))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $exported (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $exported)))"#
    )
}

const SPIN: &str = "(loop $again (br $again))";

/// Waits for an hour on the clock.
const SLEEP: &str = "
    (i32.store8 (i32.const 8) (i32.const 0))
    (i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (i64.const 3600000000000))
    (drop (call $poll (i32.const 0) (i32.const 512) (i32.const 1) (i32.const 1024)))";

/// Reads standard input until it ends.
const READ_ALL: &str = "
    (i32.store (i32.const 0) (i32.const 128))
    (i32.store (i32.const 4) (i32.const 16))
    (loop $again
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        (br_if $again (i32.load (i32.const 8))))";

const PRINT: &str = "
    (i32.store (i32.const 0) (i32.const 64))
    (i32.store (i32.const 4) (i32.const 6))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))";

async fn run(text: &str, guest: Guest) -> Ended {
    start(&program(text), guest).end().await
}

#[tokio::test]
async fn every_end_has_its_cause() {
    let check = async |text: String, expected: Cause| {
        let ended = run(&text, guest()).await;
        assert_eq!(ended.cause, expected, "{text}: {}", ended.message);
        ended.message
    };
    check(module(""), Cause::Code(0)).await;
    check(module("(call $exit (i32.const 0))"), Cause::Code(0)).await;
    for (said, code) in [(3, 3), (125, 125), (126, 126), (200, 200), (255, 255), (-1, 255), (256, 0)] {
        check(module(&format!("(call $exit (i32.const {said}))")), Cause::Code(code)).await;
    }
    check(component("(i32.const 0)"), Cause::Code(0)).await;
    check(component("(i32.const 1)"), Cause::Code(1)).await;
    check(component("unreachable"), Cause::Trap).await;
    let message = check(module("unreachable"), Cause::Trap).await;
    assert!(message.contains("unreachable"), "{message}");
    check(module("(drop (i32.div_u (i32.const 1) (i32.const 0)))"), Cause::Trap).await;
    check(module("(drop (i32.load (i32.const -1)))"), Cause::Trap).await;
}

#[tokio::test]
async fn endless_recursion_is_a_trap() {
    let text = r#"(module (func $f (export "_start") (call $f)))"#;
    let ended = run(text, guest()).await;
    assert_eq!(ended.cause, Cause::Trap, "{}", ended.message);
}

#[tokio::test]
async fn memory_limit_ends_the_guest_as_out_of_memory() {
    let limited = || Guest { memory_bytes_max: Some(1 << 20), ..guest() };
    let grow = "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable";
    let ended = run(&module(grow), limited()).await;
    assert_eq!(ended.cause, Cause::OutOfMemory);
    assert!(ended.message.starts_with("reached the memory limit of 1 MiB; wasm trap"), "{}", ended.message);
    assert!(!ended.message.contains('\n'), "{}", ended.message);
    // Asking for too much and living with the refusal is not an end.
    assert_eq!(run(&module("(drop (memory.grow (i32.const 100)))"), limited()).await.cause, Cause::Code(0));
    let large = r#"(module (memory 100) (func (export "_start")))"#;
    assert_eq!(run(large, limited()).await.cause, Cause::OutOfMemory);
    let table = r#"(module (table 1000000 funcref) (func (export "_start")))"#;
    assert_eq!(run(table, limited()).await.cause, Cause::OutOfMemory);
}

#[tokio::test]
async fn modules_that_cannot_run_are_refused_by_name() {
    let refusal = |text: &str| match load(&wat::parse_str(text).unwrap()) {
        Ok(program) => host().container(program, guest(), Stop::new()).unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    let message = refusal(r#"(module (func (export "add")) (func (export "sub")))"#);
    assert!(message.contains("`add`, `sub`"), "{message}");
    assert!(refusal("(module)").contains("exports nothing"));
    let message = refusal("(component)");
    assert!(message.contains("wasi:cli/run"), "{message}");
    let message = refusal(r#"(module (import "env" "launch" (func)) (func (export "_start")))"#);
    assert!(message.contains("env") && message.contains("launch"), "{message}");
}

#[tokio::test]
async fn output_reaches_the_log() {
    let output = Arc::new(Captured::default());
    let ended = run(&module(PRINT), Guest { output: Arc::clone(&output) as _, ..guest() }).await;
    assert_eq!((ended.cause, output.text().as_str()), (Cause::Code(0), "hello\n"));
}

#[tokio::test]
async fn stopping_ends_any_guest_within_its_grace() {
    let check = async |text: String, grace_ms: u64, expected: Cause| {
        let mut running = start(&program(&text), guest());
        (&mut running.started).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        running.stop.request(Duration::from_millis(grace_ms));
        let asked = Instant::now();
        assert_eq!(running.end().await.cause, expected, "{text}");
        assert!(asked.elapsed() < Duration::from_millis(grace_ms + 2000), "{:?}", asked.elapsed());
    };
    check(module(SPIN), 0, Cause::Killed).await;
    check(module(SLEEP), 0, Cause::Killed).await;
    check(component(&format!("{SPIN} unreachable")), 0, Cause::Killed).await;
    // It never looked at its input, so nothing is gained by waiting.
    check(module(SLEEP), 60_000, Cause::Stopped).await;
    check(module(READ_ALL), 60_000, Cause::Code(0)).await;
    check(module(&format!("{READ_ALL} (call $exit (i32.const 7))")), 60_000, Cause::Code(7)).await;
    check(module(&format!("{READ_ALL} {SLEEP}")), 300, Cause::Killed).await;
}

#[tokio::test]
async fn a_second_stop_shortens_the_grace() {
    let mut running = start(&program(&module(&format!("{READ_ALL} {SLEEP}"))), guest());
    (&mut running.started).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    running.stop.request(Duration::from_secs(3600));
    tokio::time::sleep(Duration::from_millis(50)).await;
    running.stop.request(Duration::from_millis(10));
    running.stop.request(Duration::from_secs(3600));
    assert_eq!(running.end().await.cause, Cause::Killed);
}

#[tokio::test]
async fn spinning_guests_leave_their_neighbours_alone() {
    let spinner = program(&module(SPIN));
    let spinners: Vec<Running> = (0..8).map(|_| start(&spinner, guest())).collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let neighbour = program(&module(PRINT));
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let begun = Instant::now();
        assert_eq!(start(&neighbour, guest()).end().await.cause, Cause::Code(0));
        slowest = slowest.max(begun.elapsed());
    }
    // Far below what waiting for eight slices in turn would cost each time, far above what a loaded machine adds.
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    for spinner in &spinners {
        spinner.stop.request(Duration::ZERO);
    }
    for spinner in spinners {
        assert_eq!(spinner.end().await.cause, Cause::Killed);
    }
}

#[tokio::test]
async fn cpu_limit_slows_a_spinner_down() {
    // Computes for 40 ms or more on any processor: an iteration takes a cycle at least.
    let count = "(local $i i64) (loop $again
        (local.set $i (i64.add (local.get $i) (i64.const 1)))
        (br_if $again (i64.lt_u (local.get $i) (i64.const 200000000))))";
    let begun = Instant::now();
    let limited = Guest { cpu_milli_max: Some(100), ..guest() };
    assert_eq!(run(&module(count), limited).await.cause, Cause::Code(0));
    // But for a first burst and a last slice of 10 ms each, a tenth of a core takes ten times as long.
    assert!(begun.elapsed() > Duration::from_millis(150), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn workloads_run() {
    let output = Arc::new(Captured::default());
    let args = ["hello", "dunlin"].map(str::to_owned).to_vec();
    let greeted = Guest { args, output: Arc::clone(&output) as _, ..guest() };
    assert_eq!(start(&workload("hello"), greeted.clone()).end().await.cause, Cause::Code(0));
    assert_eq!(start(&workload("hello-p1"), greeted).end().await.cause, Cause::Code(0));
    assert_eq!(output.text(), "hello, dunlin\nhello from preview 1, dunlin\n");
    let told = |words: &[&str]| Guest { args: words.iter().map(ToString::to_string).collect(), ..guest() };
    let crasher = workload("crasher");
    assert_eq!(start(&crasher, told(&["crasher", "exit", "42"])).end().await.cause, Cause::Code(42));
    assert_eq!(start(&crasher, told(&["crasher", "trap"])).end().await.cause, Cause::Trap);
    let hog = Guest { memory_bytes_max: Some(16 << 20), ..told(&["hog", "memory", "64"]) };
    assert_eq!(start(&workload("hog"), hog).end().await.cause, Cause::OutOfMemory);
}
