//! Who may become a node, and what the others are told.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use dunlin_link::health::SAMPLE_INTERVAL;

use crate::{
    cluster::{BINARY, Cluster, wait_until},
    site::{Process, Site},
};

/// Runs a node that must be refused in these words.
fn refused(token: &str, expected: &str) {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut command = Command::new(BINARY);
    command.args(["edge-node", "--join", token, "--node-name", "stranger"]);
    command.arg("--state-dir").arg(dir.path().join("state")).current_dir(dir.path());
    let _node = Process::spawn(command, &log);
    wait_until(&format!("refusal {expected:?}"), || {
        let said = std::fs::read_to_string(&log).unwrap();
        if said.contains(expected) { Ok(()) } else { Err(said) }
    });
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

#[test]
fn a_token_is_for_its_cluster_and_its_number_of_nodes() {
    let site = Site::start();
    let once = site.token(&["--uses=1"]);
    let _first = site.join("first", &once);
    refused(&once, "has been used up");
    wait_until("line of the coordinator", || {
        let log = site.log();
        let line = log.lines().find(|line| line.contains("WARN") && line.contains("has been used up"));
        line.filter(|line| line.contains("stranger")).map(drop).ok_or_else(|| log.clone())
    });
    // Another cluster's token, shown to this one.
    let foreign = token(&Cluster::shared(), &["--address", &site.address()]);
    refused(&foreign, "the coordinator is not of the cluster that the token is for");
    wait_until("line of the coordinator", || {
        let log = site.log();
        let line = log.lines().find(|line| line.contains("WARN") && line.contains("its handshake failed"));
        line.map(drop).ok_or_else(|| log.clone())
    });
    assert_eq!(site.ok(&["get", "nodes", "-o", "name"], ""), "node/first\n");
}

#[test]
fn what_is_told_of_a_nodes_pods_follows_them() {
    let site = Site::start();
    let _machine = site.join("n1", &site.token(&[]));
    site.push("ticker");
    let told = |count: &str| {
        let began = Instant::now();
        site.wait_for(&["describe", "node", "n1"], |text| text.contains(count));
        assert!(began.elapsed() < SAMPLE_INTERVAL / 2, "told by the next regular look");
    };
    told("0 assigned, 0 static");
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers: [{name: c, image: dunlin.local/ticker}]\n";
    site.ok(&["apply", "-f", "-"], pod);
    told("1 assigned, 0 static");
    site.ok(&["delete", "pod", "p"], "");
    told("0 assigned, 0 static");
}
