//! A node's key and its certificates over their lives: renewed, expired, revoked, replaced and cloned.

use std::{fs, thread, time::Duration};

use crate::{
    cluster::{Answer, client_of, run, wait_until},
    site::{Machine, Site},
};

const TICKER: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: ticker}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: dunlin.local/ticker, args: [\"50\"]}
";

/// Certificates live for as short as they can.
const SHORT_LIVES: &[&str] = &["--node-certificate-lifetime", "5s"];

fn with_ticker(site: &Site) {
    site.push("ticker");
    site.ok(&["apply", "-f", "-"], TICKER);
    site.wait_for(&["get", "pods", "--no-headers"], |rows| rows.contains("Running"));
}

/// Waits until the agent has said something so often.
fn wait_for_words(machine: &Machine, words: &str, times: usize) {
    wait_until(&format!("{times} times {words:?}"), || {
        let log = machine.log();
        if log.matches(words).count() >= times { Ok(()) } else { Err(log) }
    });
}

const RENEWED: &str = "the node's certificate was renewed";

fn wait_for_renewals(machine: &Machine, more: usize) {
    let before = machine.log().matches(RENEWED).count();
    wait_for_words(machine, RENEWED, before + more);
}

fn pod_field(site: &Site, field: &str) -> String {
    let path = format!("jsonpath={{.status.containerStatuses[0].{field}}}");
    site.ok(&["get", "pod", "ticker", "-o", &path], "")
}

/// A field of the node's condition of this type.
fn condition(site: &Site, node: &str, kind: &str, field: &str) -> String {
    let nodes: serde_json::Value =
        serde_json::from_str(&site.ok(&["get", "node", node, "-o", "json"], "")).unwrap();
    let conditions = nodes["status"]["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|condition| condition["type"] == kind);
    found.map_or_else(String::new, |found| found[field].as_str().unwrap().to_owned())
}

#[test]
fn certificates_roll_over_and_no_pod_notices() {
    let mut site = Site::start_with(SHORT_LIVES);
    let mut machine = site.join("n1", &site.token(&[]));
    with_ticker(&site);
    let id = pod_field(&site, "containerID");
    wait_for_renewals(&machine, 2);
    for _ in 0..3 {
        machine.kill_agent();
        machine.start_agent(&[]);
        wait_for_renewals(&machine, 1);
    }
    for _ in 0..2 {
        site.kill_coordinator();
        site.start_coordinator();
        wait_for_renewals(&machine, 1);
    }
    site.wait_for_ready(&machine);
    assert_eq!((pod_field(&site, "containerID"), pod_field(&site, "restartCount")), (id, "0".to_owned()));
    let mut files: Vec<_> = fs::read_dir(machine.state.join("identity"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        // A renewal may be under way.
        .filter(|name| name != "node.der.new")
        .collect();
    files.sort();
    assert_eq!(files, ["ca.der", "identity.json", "node.der", "node.key", "sealing.key"]);
    let listed: serde_json::Value =
        serde_json::from_str(&site.ok(&["node", "list", "-o", "json"], "")).unwrap();
    assert_eq!(
        (&listed["items"][0]["name"], &listed["items"][0]["state"]),
        (&"n1".into(), &"connected".into())
    );
}

#[test]
fn an_expired_certificate_is_renewed_whatever_the_clock_says() {
    let site = Site::start_with(SHORT_LIVES);
    let mut machine = site.join("n1", &site.token(&[]));
    with_ticker(&site);
    let id = pod_field(&site, "containerID");
    let renewed = "renewed the node's certificate before a session";
    for (times, clock) in [(1, None), (2, Some("1970-01-02 00:00:00")), (3, Some("2090-01-01 00:00:00"))] {
        machine.kill_agent();
        if let Some(clock) = clock {
            machine.set_clock(clock);
        }
        thread::sleep(Duration::from_secs(6));
        machine.start_agent(&[]);
        wait_until(&format!("renewal {times} before a session"), || {
            let log = site.log();
            if log.matches(renewed).count() >= times {
                Ok(())
            } else {
                Err(format!("{log}\n{}", machine.log()))
            }
        });
        site.wait_for_ready(&machine);
        assert_eq!(
            (pod_field(&site, "containerID"), pod_field(&site, "restartCount")),
            (id.clone(), "0".to_owned())
        );
    }
}

#[test]
fn a_revoked_key_opens_nothing_and_a_replacement_takes_the_pods() {
    let site = Site::start();
    let mut stolen = site.join("n1", &site.token(&[]));
    with_ticker(&site);
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config");
    fs::write(&config, client_of(&stolen.state, &format!("quic://{}", site.address()), "default")).unwrap();
    let as_node = |args: &[&str]| -> Answer { run(args, "", dir.path(), &config) };
    assert_eq!(as_node(&["get", "node", "n1"]).code, 0);

    let unknown = site.dunlin(&["node", "revoke", "n9"], "");
    assert_eq!(unknown.code, 1);
    assert!(unknown.stderr.contains("no machine has joined as node `n9`"), "{unknown:?}");
    assert_eq!(site.dunlin(&["node", "replace", "n9"], "").code, 1);
    assert_eq!(site.ok(&["node", "revoke", "n1"], ""), "node/n1 revoked\n");
    assert_eq!(site.ok(&["node", "revoke", "n1"], ""), "node/n1 revoked before\n");
    wait_for_words(&stolen, "the key of node `n1` was revoked", 1);
    let refused = as_node(&["get", "node", "n1"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("was revoked"), "{refused:?}");
    assert_eq!(condition(&site, "n1", "Ready", "reason"), "KeyRevoked");
    assert!(site.ok(&["node", "list"], "").contains("revoked"));
    let link = site.ok(&["describe", "node", "n1"], "");
    assert!(link.contains("Last Contact") && link.contains("127.0.0.1"), "{link}");

    // With a token it does not come back either, under no name.
    stolen.kill_agent();
    fs::remove_file(stolen.state.join("identity/identity.json")).unwrap();
    stolen.start_agent(&["--join", &site.token(&[])]);
    wait_for_words(&stolen, "the key of this machine was revoked when it was node `n1`", 1);
    stolen.kill_agent();

    let token = site.ok(&["node", "replace", "n1"], "");
    let mut other = site.machine("other", "n1");
    other.start_agent(&["--join", token.trim()]);
    site.wait_for_ready(&other);
    wait_until("the pod on the machine that took the place", || {
        let printed = other.printed("ticker", "c", 0);
        if printed.len() > 5 { Ok(()) } else { Err(other.log()) }
    });
    site.wait_for(&["get", "pods", "--no-headers"], |rows| rows.contains("Running"));
}

#[test]
fn a_revoked_machine_comes_back_with_the_token_that_it_is_told_to_use() {
    let site = Site::start();
    let first = site.token(&[]);
    let mut machine = site.join("n1", &first);
    site.ok(&["node", "revoke", "n1"], "");
    wait_for_words(&machine, "the key of node `n1` was revoked", 1);
    machine.kill_agent();
    // What made it a node is in its configuration for ever, and a token of no node's own does not lift a revocation.
    machine.start_agent(&["--join", &first]);
    wait_for_words(&machine, "the key of node `n1` was revoked", 2);
    machine.kill_agent();
    assert!(!machine.log().contains("trying the join token"), "{}", machine.log());
    machine.start_agent(&["--join", &site.token(&[])]);
    wait_for_words(&machine, "the join token that this node was given does not help", 1);
    machine.kill_agent();
    let other = Site::start();
    machine.start_agent(&["--join", &other.token(&[])]);
    wait_for_words(&machine, "it is of another cluster", 1);
    machine.kill_agent();

    let token = site.ok(&["node", "replace", "n1"], "");
    machine.start_agent(&["--join", token.trim()]);
    site.wait_for_ready(&machine);
    assert!(machine.log().contains("this machine has joined its cluster again"), "{}", machine.log());
    assert_eq!(condition(&site, "n1", "Ready", "status"), "True");
}

#[test]
fn copies_of_a_state_folder_both_keep_their_pods() {
    let site = Site::start();
    let mut machine = site.join("n1", &site.token(&[]));
    with_ticker(&site);
    machine.kill_agent();
    let mut copy = site.machine("copy", "n1");
    machine.copy_to(&copy);
    machine.start_agent(&[]);
    site.wait_for_ready(&machine);
    assert_eq!(condition(&site, "n1", "dunlin.dev/ClonedNode", "status"), "", "a restart is no clone");
    copy.start_agent(&[]);
    wait_until("condition of a cloned node", || {
        let status = condition(&site, "n1", "dunlin.dev/ClonedNode", "status");
        if status == "True" { Ok(()) } else { Err(format!("{}\n{}", site.log(), copy.log())) }
    });
    // Whichever of them found the seat free has it.
    let refused = "another machine or agent with the identity of node `n1` is connected";
    wait_until("refusal of one of them", || {
        let logs = machine.log() + &copy.log();
        if logs.contains(refused) { Ok(()) } else { Err(logs) }
    });
    let ticks = [&machine, &copy].map(|machine| machine.printed("ticker", "c", 0).len());
    wait_until("ticks of both", || {
        let copied = copy.printed("ticker", "c", 1).len() + copy.printed("ticker", "c", 0).len();
        let now = [machine.printed("ticker", "c", 0).len(), copied];
        if now[0] > ticks[0] + 5 && now[1] > ticks[1] + 5 {
            Ok(())
        } else {
            Err(format!("{ticks:?} {now:?}"))
        }
    });
    assert_eq!(condition(&site, "n1", "Ready", "status"), "True");
    site.wait_for(&["get", "events"], |events| events.contains("ClonedNode"));
}

#[test]
fn a_coordinators_clock_that_was_ahead_can_be_put_right() {
    let mut site = Site::start();
    let machine = site.join("n1", &site.token(&[]));
    with_ticker(&site);
    let id = pod_field(&site, "containerID");
    if !site.set_clock(Some("2040-01-01 00:00:00")) {
        eprintln!(
            "SKIPPED: libfaketime is missing (Debian package `faketime`), so no clock can be wrong here"
        );
        return;
    }
    let mut restart = |clock, once: &[&str], expected: &str| {
        site.kill_coordinator();
        site.set_clock(clock);
        let sessions = machine.log().matches("session opened").count();
        site.start_coordinator_with(once);
        wait_until(&format!("session with a certificate that {expected}"), || {
            let listed = site.ok(&["node", "list", "-o", "json"], "");
            let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
            let end = listed["items"][0]["certificateEnd"].as_str().unwrap().to_owned();
            let is_ahead = end.starts_with("2040-01-31");
            let has_session = machine.log().matches("session opened").count() > sessions;
            if has_session && is_ahead == (expected == "is ahead") {
                Ok(end)
            } else {
                Err(format!("{end}\n{}", machine.log()))
            }
        })
    };
    let ahead = restart(Some("2040-01-01 00:00:00"), &[], "is ahead");
    let kept = restart(None, &[], "is ahead");
    assert_eq!(kept, ahead, "time goes on from what was seen");
    let right = restart(None, &["--trust-clock"], "is right");
    let same = restart(None, &[], "is right");
    assert_eq!(same, right, "once is enough, and the node renews no more than it has to");
    assert!(site.log().contains("start once with --trust-clock"), "{}", site.log());
    assert_eq!((pod_field(&site, "containerID"), pod_field(&site, "restartCount")), (id, "0".to_owned()));
}
