//! Who may become a node, and what the others are told.

use std::{
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::cluster::{BINARY, Cluster, wait_until};

/// Runs a node that must be refused, and answers what it said until then or until it was stopped.
fn refused(token: &str, expected: &str) {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let output = std::fs::File::create(&log).unwrap();
    let mut command = Command::new(BINARY);
    command.args(["edge-node", "--join", token, "--node-name", "stranger"]);
    command.arg("--state-dir").arg(dir.path().join("state")).current_dir(dir.path());
    command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
    let mut node = command.spawn().unwrap();
    wait_until(&format!("refusal {expected:?}"), || {
        let said = std::fs::read_to_string(&log).unwrap();
        if said.contains(expected) { Ok(()) } else { Err(said) }
    });
    // It may have given up already.
    let _ = node.kill();
    node.wait().unwrap();
}

fn token(cluster: &Cluster, args: &[&str]) -> String {
    let answer = cluster.dunlin(&[&["node", "token", "create"], args].concat(), "");
    assert_eq!(answer.code, 0, "{answer:?}");
    answer.stdout.trim().to_owned()
}

#[test]
fn a_bad_token_is_refused_with_its_reason() {
    let cluster = Cluster::shared();
    refused("nonsense", "not a join token");

    let short = token(&cluster, &["--ttl=1s"]);
    thread::sleep(Duration::from_secs(2));
    refused(&short, "expired");

    let deleted = token(&cluster, &[]);
    let id = deleted.split('.').nth(1).unwrap();
    assert_eq!(cluster.dunlin(&["node", "token", "delete", id], "").code, 0);
    refused(&deleted, "token");

    let nodes = cluster.dunlin(&["get", "nodes", "-o", "name"], "").stdout;
    assert!(!nodes.contains("stranger"), "{nodes}");
}
