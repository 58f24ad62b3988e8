//! A host in a process that may use little of its address space: it starts all the same, and runs guests.
//!
//! A process cannot be given its address space back, so each case is one of its own: this test binary again, told by a variable.

use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::*;

/// Runs the other test of this file in a process with so much address space.
fn check(bytes: u64, profile: &str) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "startup::within_the_address_space_that_is_told", "--nocapture"]);
    let output = child.env(ADDRESS_SPACE, bytes.to_string()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{bytes}: {said}{errors}");
    assert!(said.contains(&format!("-{profile}-")), "{bytes}: {said}");
}

#[test]
fn a_host_starts_in_any_address_space() {
    // What a Raspberry Pi's kernel gives, and less and less of it.
    check(1 << 39, "narrow");
    check(8 << 30, "narrow");
    check(2 << 30, "narrow");
}

#[test]
fn within_the_address_space_that_is_told() {
    let Some(bytes) = std::env::var(ADDRESS_SPACE).ok().and_then(|text| text.parse().ok()) else { return };
    let limit = Rlimit { current: Some(bytes), maximum: getrlimit(Resource::As).maximum };
    setrlimit(Resource::As, limit).unwrap();
    println!("{}", host().target());
    let program = workload("hello-p1");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for _ in 0..3 {
        let (guest, output) = guest(&["hello"]);
        let ended = runtime.block_on(async { start(&program, guest).end().await });
        assert_eq!(ended.cause, dunlin_wasm_host::Cause::Code(0), "{}", ended.message);
        assert!(output.text().contains("hello"));
    }
}

/// Tells the other process how much it may use.
const ADDRESS_SPACE: &str = "DUNLIN_TEST_ADDRESS_SPACE";
