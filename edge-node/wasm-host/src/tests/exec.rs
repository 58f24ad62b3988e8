//! Commands beside a container's own guest: streams, codes, functions, limits, and ends.

use super::*;
use crate::{Exec, ExecError, Terminal, tests::commands::component};

/// A preview 1 module that sleeps when it is called without arguments, and otherwise copies its input to its output and exits with
/// the number of its arguments.
const COPIES: &str = r#"(module
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $args (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $stat (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func $sleep
        (i32.store8 (i32.const 8) (i32.const 0))
        (i32.store (i32.const 16) (i32.const 1))
        (i64.store (i32.const 24) (i64.const 3600000000000))
        (drop (call $poll (i32.const 0) (i32.const 512) (i32.const 1) (i32.const 1024))))
    (func $copy
        (i32.store (i32.const 0) (i32.const 1024))
        (loop $again
            (i32.store (i32.const 4) (i32.const 4096))
            (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
            (if (i32.load (i32.const 8)) (then
                (i32.store (i32.const 4) (i32.load (i32.const 8)))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))
                (br $again)))))
    (func (export "_start")
        (drop (call $args (i32.const 600) (i32.const 604)))
        (if (i32.le_u (i32.load (i32.const 600)) (i32.const 1)) (then (call $sleep)))
        (call $copy)
        (call $exit (i32.load (i32.const 600))))
    (func (export "nine") (result i32) (i32.const 9))
    (func (export "terminal") (result i32)
        (drop (call $stat (i32.const 1) (i32.const 704)))
        (i32.load8_u (i32.const 704)))
    (func (export "grow") (drop (memory.grow (i32.const 400))) unreachable)
    (func (export "spin") (loop $again (br $again)))
    (func (export "add") (param i32) (result i32) (local.get 0)))"#;

/// What a command wrote, and how it ended.
struct Ran {
    ended: Ended,
    text: String,
}

fn exec(words: &[&str], input: Input, output: &Arc<Captured>) -> Exec {
    let command = words.iter().map(ToString::to_string).collect();
    Exec { command, input, output: Arc::clone(output) as _, terminal: Terminal::No }
}

async fn run(container: &Container, exec: Exec, output: &Captured) -> Ran {
    let command = container.command(exec).unwrap();
    let ended = host().handle().spawn(command.run());
    let ended = timeout(PATIENCE, ended).await.expect("the command ends").unwrap();
    Ran { ended, text: output.text() }
}

async fn running(text: &str, guest: Guest) -> Running {
    let mut running = start(&program(text), guest);
    (&mut running.started).await.unwrap();
    running
}

async fn call(container: &Container, words: &[&str]) -> Ended {
    let output = Arc::default();
    run(container, exec(words, Input::empty(), &output), &output).await.ended
}

#[tokio::test]
async fn a_command_has_streams_arguments_and_a_code_of_its_own() {
    let main = running(COPIES, guest()).await;
    let (input, output) = (Input::new(), Arc::default());
    let written = "some words\n".repeat(20_000);
    let (fed, text) = (input.clone(), written.clone());
    let feeder = tokio::spawn(async move {
        fed.write(text.as_bytes()).await.unwrap();
        fed.end();
    });
    let ran = run(&main.container, exec(&["copy", "x", "y"], input, &output), &output).await;
    assert_eq!(ran.ended.cause, Cause::Code(3), "{}", ran.ended.message);
    assert!(ran.text == written, "{} of {} bytes", ran.text.len(), written.len());
    feeder.await.unwrap();
    // Without input there is none to wait for.
    assert_eq!(call(&main.container, &["copy", "x"]).await.cause, Cause::Code(2));
    assert!(!main.ended.is_finished());
}

#[tokio::test]
async fn functions_are_called_by_name() {
    let main = running(COPIES, guest()).await;
    assert_eq!(call(&main.container, &["#nine"]).await.cause, Cause::Code(9));
    let refused =
        |words: &[&str]| main.container.command(exec(words, Input::empty(), &Arc::default())).unwrap_err();
    assert_eq!(refused(&["#ten"]), ExecError::NoFunction("ten".to_owned()));
    assert_eq!(refused(&["#memory"]), ExecError::NoFunction("memory".to_owned()));
    assert_eq!(refused(&["#add"]), ExecError::Parameters("add".to_owned()));
    assert_eq!(refused(&[]), ExecError::NoCommand);
}

#[tokio::test]
async fn functions_of_components_are_called_too() {
    let text = component("(loop $again (br $again)) unreachable").replacen(
        "(instance $exported",
        r#"(core module $n (func (export "f") (result i32) (i32.const 1)))
           (core instance $j (instantiate $n))
           (func $fails (result (result)) (canon lift (core func $j "f")))
           (func $counts (result u8) (canon lift (core func $j "f")))
           (export "fails" (func $fails))
           (export "counts" (func $counts))
           (instance $exported"#,
        1,
    );
    let main = running(&text, guest()).await;
    for (name, code) in [("#fails", 1), ("#counts", 1)] {
        assert_eq!(call(&main.container, &[name]).await.cause, Cause::Code(code), "{name}");
    }
    main.stop.request(Duration::ZERO);
    assert_eq!(main.end().await.cause, Cause::Killed);
}

#[tokio::test]
async fn a_handler_has_no_command() {
    let listen = tcp(std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let mut main = start(&workload("http-hello"), Guest { listen, ..guest() });
    (&mut main.started).await.unwrap();
    let refused = main.container.command(exec(&["ls"], Input::empty(), &Arc::default())).unwrap_err();
    assert_eq!(refused, ExecError::NotACommand);
}

#[tokio::test]
async fn a_command_shares_the_container_s_memory_and_is_blamed_alone() {
    let main = running(COPIES, Guest { memory_bytes_max: Some(1 << 20), ..guest() }).await;
    assert_eq!(call(&main.container, &["#grow"]).await.cause, Cause::OutOfMemory);
    // What it had is free again.
    assert_eq!(call(&main.container, &["#nine"]).await.cause, Cause::Code(9));
    main.stop.request(Duration::from_secs(60));
    assert_eq!(main.end().await.cause, Cause::Stopped);
}

#[tokio::test]
async fn guests_can_ask_for_a_terminal() {
    let main = running(COPIES, guest()).await;
    let output = Arc::default();
    let asked = |terminal| Exec { terminal, ..exec(&["#terminal"], Input::empty(), &output) };
    // The file types of preview 1: 2 is a character device.
    let on_one = run(&main.container, asked(Terminal::Yes), &output).await.ended.cause;
    let on_none = run(&main.container, asked(Terminal::No), &output).await.ended.cause;
    assert!(on_one == Cause::Code(2) && on_none != on_one, "{on_one:?} {on_none:?}");
}

#[tokio::test]
async fn a_command_ends_with_its_container_and_with_its_caller() {
    let main = running(COPIES, guest()).await;
    let spin = |words: &[&str]| {
        let command = main.container.command(exec(words, Input::new(), &Arc::default())).unwrap();
        host().handle().spawn(command.run())
    };
    let (spinning, reading, left) = (spin(&["#spin"]), spin(&["copy", "x"]), spin(&["#spin"]));
    left.abort();
    assert!(timeout(PATIENCE, left).await.expect("it is dropped").unwrap_err().is_cancelled());
    main.stop.request(Duration::ZERO);
    for command in [spinning, reading] {
        let ended = timeout(PATIENCE, command).await.expect("it ends").unwrap();
        assert_eq!((ended.cause, ended.message.as_str()), (Cause::Killed, "the container ended"));
    }
    assert_eq!(main.end().await.cause, Cause::Killed);
}
