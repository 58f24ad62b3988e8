//! A pod's life as Kubernetes shows it.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::cluster::{Namespace, wait_until};

/// A pod of one container.
pub(crate) fn pod(name: &str, policy: &str, container: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  restartPolicy: {policy}\n  \
         terminationGracePeriodSeconds: 2\n  containers:\n  - {{name: c, {container}}}\n"
    )
}

#[test]
fn pending_says_why_and_runs_once_it_fits() {
    let namespace = Namespace::new();
    let selected = pod("waits", "Never", "image: dunlin.local/hello")
        .replace("spec:\n", &format!("spec:\n  nodeSelector: {{{}: here}}\n", namespace.name));
    namespace.apply(&selected);
    wait_until("reason for Pending", || {
        let described = namespace.ok(&["describe", "pod", "waits"]);
        let why = ["0/2 nodes are available", "Pending", "FailedScheduling"];
        let why = why.iter().all(|part| described.contains(part));
        if why { Ok(()) } else { Err(described) }
    });
    namespace.ok(&["label", "node", "node-1", &format!("{}=here", namespace.name)]);
    namespace.wait_for_status("waits", "Completed");
    assert!(namespace.ok(&["get", "pod", "waits", "-o", "wide"]).contains("node-1"));
}

#[test]
fn a_completed_pod_has_succeeded_and_keeps_its_log() {
    let namespace = Namespace::new();
    namespace.apply(&pod("hello", "Never", "image: dunlin.local/hello, args: [test]"));
    namespace.wait_for_status("hello", "Completed");
    assert_eq!(namespace.ok(&["get", "pod", "hello", "-o", "jsonpath={.status.phase}"]), "Succeeded");
    assert_eq!(namespace.ok(&["logs", "hello"]), "hello, test\n");
}

#[test]
fn a_crasher_backs_off_and_shows_its_exit_code() {
    let namespace = Namespace::new();
    namespace.apply(&pod("crasher", "Always", "image: dunlin.local/crasher, args: [exit, \"3\"]"));
    namespace.wait_for_status("crasher", "CrashLoopBackOff");
    let described = namespace.ok(&["describe", "pod", "crasher"]);
    for expected in ["Last State:     Terminated", "Exit Code:    3", "Reason:       CrashLoopBackOff"] {
        assert!(described.contains(expected), "{expected}: {described}");
    }
    assert!(namespace.ok(&["logs", "crasher", "--previous"]).contains("exiting with 3"));
    // The next delay is twice as long.
    let message = "jsonpath={.status.containerStatuses[0].state.waiting.message}";
    for delay in ["back-off 10s ", "back-off 20s "] {
        wait_until(&format!("{delay:?}"), || {
            let said = namespace.ok(&["get", "pod", "crasher", "-o", message]);
            if said.starts_with(delay) { Ok(()) } else { Err(said) }
        });
    }
}

#[test]
fn a_pod_over_its_memory_limit_is_oom_killed() {
    let namespace = Namespace::new();
    let container = "image: dunlin.local/hog, args: [memory, \"64\"], resources: {limits: {memory: 16Mi}}";
    namespace.apply(&pod("hog", "Never", container));
    namespace.wait_for_status("hog", "OOMKilled");
    let code = "jsonpath={.status.containerStatuses[0].state.terminated.exitCode}";
    assert_eq!(namespace.ok(&["get", "pod", "hog", "-o", code]), "137");
}

#[test]
fn a_deleted_pod_is_gone_within_its_grace() {
    let namespace = Namespace::new();
    // It never calls the host, so that nothing but an interrupt stops it.
    namespace.apply(&pod("spinner", "Always", "image: dunlin.local/hog, args: [spin]"));
    namespace.wait_for_status("spinner", "Running");
    let start = Instant::now();
    let deleted = namespace.ok(&["delete", "pod", "spinner", "--timeout=20s"]);
    assert_eq!(deleted, format!("pod \"spinner\" deleted from {} namespace\n", namespace.name));
    // Its grace period, and what a busy machine adds.
    assert!(start.elapsed() < Duration::from_secs(2 + 5), "{:?}", start.elapsed());
    assert_eq!(namespace.dunlin(&["get", "pod", "spinner"]).code, 1);
}

#[test]
fn an_http_pod_answers_at_the_address_that_describe_shows() {
    let namespace = Namespace::new();
    namespace.apply(&pod(
        "web",
        "Always",
        "image: dunlin.local/http-hello, ports: [{containerPort: 8080, name: http}]",
    ));
    namespace.wait_for_status("web", "Running");
    let address = wait_until("local endpoint", || {
        let described = namespace.ok(&["describe", "pod", "web"]);
        let line = described.lines().find_map(|line| line.strip_prefix("  8080/TCP:"));
        line.map(|address| address.trim().to_owned()).ok_or(described)
    });
    let mut stream = TcpStream::connect(&address).unwrap();
    write!(stream, "GET /x HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("GET /x"), "{answer}");
}

#[test]
fn environment_comes_from_everywhere() {
    let namespace = Namespace::new();
    let objects = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm}\ndata: {k: from-config}\n---\n\
                   apiVersion: v1\nkind: Secret\nmetadata: {name: sec}\nstringData: {k: from-secret}\n---\n";
    let container = "image: dunlin.local/env-dump, env: [{name: C, valueFrom: {configMapKeyRef: {name: cm, key: k}}}, \
                     {name: S, valueFrom: {secretKeyRef: {name: sec, key: k}}}, \
                     {name: P, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]";
    namespace.apply(&format!("{objects}{}", pod("env", "Never", container)));
    namespace.wait_for_status("env", "Completed");
    let log = namespace.ok(&["logs", "env"]);
    for expected in ["env C=from-config", "env S=from-secret", "env P=env"] {
        assert!(log.contains(expected), "{expected}: {log}");
    }
}

#[test]
fn logs_are_followed_until_the_pod_ends() {
    let namespace = Namespace::new();
    namespace.apply(&pod("late", "Never", "image: dunlin.local/crasher, args: [exit, \"0\", \"1500\"]"));
    namespace.wait_for_status("late", "Running");
    assert_eq!(namespace.ok(&["logs", "-f", "late"]), "exiting with 0\n");
}
