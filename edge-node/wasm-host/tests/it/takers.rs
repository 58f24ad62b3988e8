//! Commands that take without end.

use dunlin_wasm_host::Cause;

use super::*;
use crate::process::{Growth, descriptors};

/// Runs the `hostile` workload to its end, within its limit on memory.
async fn run(words: &[&str], preopens: Vec<Preopen>) -> (Ended, String) {
    let _alone = alone().await;
    let program = workload("hostile");
    let (guest, output) = guest(&[&["hostile"], words].concat());
    let (growth, before) = (Growth::watch(), descriptors());
    let running = start(&program, Guest { preopens, ..guest });
    let container = running.container.clone();
    let ended = running.end().await;
    assert!(growth.most() < MEMORY_BYTES + SLACK_BYTES, "{words:?}: {} MiB", growth.most() >> 20);
    assert_eq!(container.usage().memory_bytes, 0, "{words:?}");
    // What the guest held is closed with its store; threads of the host open and close files of their own.
    assert!(descriptors() < before + 16, "{words:?}: {before}, then {}", descriptors());
    (ended, output.text())
}

#[tokio::test]
async fn memory_ends_at_the_limit() {
    let (ended, _) = run(&["memory"], Vec::new()).await;
    assert_eq!(ended.cause, Cause::OutOfMemory, "{}", ended.message);
    assert!(ended.message.starts_with("reached the memory limit of 64 MiB"), "{}", ended.message);
}

#[tokio::test]
async fn headers_count_as_memory() {
    let (ended, _) = run(&["headers"], Vec::new()).await;
    assert_eq!(ended.cause, Cause::OutOfMemory, "{}", ended.message);
    assert!(ended.message.contains("headers"), "{}", ended.message);
}

#[tokio::test]
async fn bodies_that_nobody_reads_count_as_memory() {
    let (ended, _) = run(&["bodies"], Vec::new()).await;
    assert_eq!(ended.cause, Cause::OutOfMemory, "{}", ended.message);
}

#[tokio::test]
async fn handles_end_at_a_bound() {
    let (ended, _) = run(&["handles"], Vec::new()).await;
    assert_eq!(ended.cause, Cause::Trap, "{}", ended.message);
    assert!(ended.message.contains("10000 handles"), "{}", ended.message);
}

#[tokio::test]
async fn sockets_end_at_a_bound() {
    let (ended, said) = run(&["sockets"], Vec::new()).await;
    assert_eq!(ended.cause, Cause::Trap, "{} {said}", ended.message);
    assert!(ended.message.contains("4096 files and sockets"), "{}", ended.message);
}

#[tokio::test]
async fn files_end_at_a_bound() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let preopen =
        Preopen { dir: folder.path().to_owned(), path: "/data".to_owned(), access: Access::ReadOnly };
    let (ended, said) = run(&["files", "/data/file"], vec![preopen]).await;
    assert_eq!(ended.cause, Cause::Trap, "{} {said}", ended.message);
    assert!(ended.message.contains("4096 files and sockets"), "{}", ended.message);
}

#[tokio::test]
async fn recursion_ends_at_a_bound() {
    let (ended, _) = run(&["recurse"], Vec::new()).await;
    assert_eq!(ended.cause, Cause::Trap, "{}", ended.message);
    assert!(ended.message.contains("call stack exhausted"), "{}", ended.message);
}

#[tokio::test]
async fn the_node_s_own_ports_are_out_of_reach() {
    let node = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = node.local_addr().unwrap().to_string();
    let (ended, said) = run(&["forbidden", &address], Vec::new()).await;
    assert_eq!(ended.cause, Cause::Code(1), "{} {said}", ended.message);
    assert!(said.contains("connect: ") && said.contains("listen: "), "{said}");
}

#[tokio::test]
async fn a_flood_of_output_waits_for_who_takes_it() {
    let _alone = alone().await;
    let (guest, output) = guest(&["hostile", "stdout"]);
    let growth = Growth::watch();
    let running = start(&workload("hostile"), guest);
    let clogs = async {
        while output.room() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, clogs).await.expect("it fills what there is");
    running.stop.request(Duration::ZERO);
    assert_eq!(running.end().await.cause, Cause::Killed);
    assert!(output.text().len() < ROOM_BYTES + (32 << 10) && growth.most() < SLACK_BYTES);
}
