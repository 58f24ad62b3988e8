//! Replays recorded kubectl commands: what kubectl printed of a real Kubernetes 1.36 it must print of Dunlin.
//!
//! The recording had controllers and a node that only existed in the API. Here the node is the same, and what the recorded
//! controllers made is not there until controllers for it are; such cases are listed in `docs/kubernetes-compat.md`.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    client::Client,
    golden::{data, is_own, listed_differences, report, shortened},
    kubectl::Kubectl,
    matching::Bindings,
};
use crate::{
    cluster::{Answer, wait_until},
    site::Site,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    command: String,
    #[serde(default)]
    stdin: String,
    stdout: String,
    stderr: String,
    exit: i32,
}

#[test]
fn kubectl_prints_what_it_prints_of_kubernetes() {
    let Some(folder) = data() else {
        println!("SKIPPED: recorded kubectl commands are not there; DUNLIN_K8S_DATA can name their folder");
        return;
    };
    let site = Site::start_with(&["--no-controllers"]);
    let Some(kubectl) = Kubectl::new(&site.config(), "kc") else {
        println!("SKIPPED: there is no kubectl 1.36; `cargo xtask packages` installs it");
        return;
    };
    let mut client = Client::new(&site.config(), &site.address());
    prepare(&mut client);
    let text = std::fs::read_to_string(folder.join("kubectl.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
    let known = listed_differences(&["kubectl"]);
    let (mut differing, mut told, mut unlisted) = (BTreeSet::new(), String::new(), String::new());
    for case in &cases {
        let answer = run(&kubectl, case);
        if answer.code == 0 {
            after(&mut client, &case.name);
        }
        let differences = compare(case, &answer, &site.address());
        if differences.is_empty() {
            continue;
        }
        let name = format!("kubectl: {}", case.name);
        let difference = format!("## {name}\n{}\n", differences.join("\n"));
        if !known.contains(&name) {
            unlisted.push_str(&difference);
        }
        told.push_str(&difference);
        differing.insert(name);
    }
    println!("{} commands replayed, {} differ", cases.len(), differing.len());
    report("kubectl", &told);
    let count = differing.difference(&known).count();
    assert!(count == 0, "{count} commands differ and are not listed:\n{}", shortened(&unlisted));
    let stale: Vec<_> = known.difference(&differing).collect();
    assert!(stale.is_empty(), "listed as differing, but equal: {stale:#?}");
}

/// The namespaces and the node of the recording.
fn prepare(client: &mut Client) {
    create(client, "/api/v1/namespaces", &json!({"metadata": {"name": "kc"}}));
    create(client, "/api/v1/namespaces/kc/serviceaccounts", &json!({"metadata": {"name": "default"}}));
    let node = json!({"metadata": {
        "name": "n1",
        "labels": {"kubernetes.io/hostname": "n1"},
        "annotations": {"node.alpha.kubernetes.io/ttl": "0"},
    }});
    create(client, "/api/v1/nodes", &node);
    merge(client, "/api/v1/nodes/n1", &json!({"spec": {"taints": null}}));
    let condition = |kind: &str, status: &str, reason: &str| {
        let time = "2026-01-01T00:00:00Z";
        json!({"type": kind, "status": status, "reason": reason, "lastHeartbeatTime": time, "lastTransitionTime": time})
    };
    let resources = json!({"cpu": "4", "memory": "8Gi", "pods": "110"});
    let status = json!({"status": {
        "capacity": resources,
        "allocatable": resources,
        "addresses": [{"type": "InternalIP", "address": "1.1.1.1"}],
        "conditions": [
            condition("MemoryPressure", "False", "KubeletHas"),
            condition("DiskPressure", "False", "KubeletHas"),
            condition("PIDPressure", "False", "KubeletHas"),
            condition("Ready", "True", "KubeletReady"),
        ],
        "nodeInfo": {
            "machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": "6", "osImage": "x", "operatingSystem": "linux",
            "architecture": "amd64", "containerRuntimeVersion": "containerd://2.1.9", "kubeletVersion": "v1.36.2",
            "kubeProxyVersion": "",
        },
    }});
    merge(client, "/api/v1/nodes/n1/status", &status);
}

/// What the recorded cluster's scheduler and node did to the pod that was run by itself.
fn after(client: &mut Client, case: &str) {
    if !case.starts_with("run rp --image") || case.contains("dry-run") {
        return;
    }
    let binding = json!({"metadata": {"name": "rp"}, "target": {"kind": "Node", "name": "n1"}});
    create(client, "/api/v1/namespaces/kc/pods/rp/binding", &binding);
    let time = "2026-01-01T00:00:00Z";
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": time});
    let kinds = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];
    let status = json!({"status": {
        "phase": "Running", "podIP": "10.1.0.9", "podIPs": [{"ip": "10.1.0.9"}], "hostIP": "1.1.1.1", "startTime": time,
        "conditions": kinds.map(condition),
        "containerStatuses": [{
            "name": "rp", "ready": true, "started": true, "restartCount": 0, "image": "busybox:1", "imageID": "",
            "state": {"running": {"startedAt": time}},
        }],
    }});
    merge(client, "/api/v1/namespaces/kc/pods/rp/status", &status);
}

fn create(client: &mut Client, path: &str, object: &Value) {
    let headers = [("content-type", "application/json")];
    wait_until(path, || {
        let answer = client.send("POST", path, &headers, object.to_string().as_bytes());
        if [201, 409].contains(&answer.status) { Ok(()) } else { Err(format!("{answer:?}")) }
    });
}

fn merge(client: &mut Client, path: &str, patch: &Value) {
    let headers = [("content-type", "application/merge-patch+json")];
    let answer = client.send("PATCH", path, &headers, patch.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
}

/// Runs a recorded command line; the only thing of a shell that they use is quotes, and once `| head -1`.
fn run(kubectl: &Kubectl, case: &Case) -> Answer {
    let (command, head) = match case.command.split_once(" | head -1") {
        Some((command, _)) => (command, true),
        None => (case.command.as_str(), false),
    };
    let args = words(command.strip_prefix("kubectl").unwrap());
    let mut answer = kubectl.run(&args, &case.stdin);
    if head {
        answer.stdout = answer.stdout.lines().next().map(|line| format!("{line}\n")).unwrap_or_default();
        // The colours of a terminal are not what is compared.
        answer.stdout =
            answer.stdout.replace("\u{1b}[0;32m", "").replace("\u{1b}[0;33m", "").replace("\u{1b}[0m", "");
    }
    answer
}

/// Splits a command line as a shell does, with both kinds of quotes and backslashes.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut started) = (Vec::new(), String::new(), None, false);
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (None, ' ') if started => {
                words.push(std::mem::take(&mut word));
                started = false;
            }
            (None, ' ') => {}
            (None, '"' | '\'') => (quote, started) = (Some(character), true),
            (Some(open), character) if open == character => quote = None,
            (None | Some('"'), '\\') => word.extend(characters.next()),
            (_, character) => {
                word.push(character);
                started = true;
            }
        }
    }
    words.extend(started.then_some(word));
    words
}

fn compare(case: &Case, answer: &Answer, address: &str) -> Vec<String> {
    let mut differences = Vec::new();
    if answer.code != case.exit {
        differences.push(format!("exit {}, expected {}", answer.code, case.exit));
    }
    for (stream, expected, found) in
        [("stdout", &case.stdout, &answer.stdout), ("stderr", &case.stderr, &answer.stderr)]
    {
        let own = |line: &&str| !(line.starts_with("Warning: ") && is_own(line));
        let found: Vec<&str> = found.lines().filter(own).collect();
        let found = found.join("\n").replace(address, "127.0.0.1:6443");
        if !same(expected, &found) {
            differences.push(format!("{stream}:\n{found}\n  expected:\n{expected}"));
        }
    }
    differences
}

/// Whether two outputs are the same word by word. Widths follow from ages and generated names, so runs of spaces do not count.
fn same(expected: &str, found: &str) -> bool {
    let mut bindings = Bindings::default();
    let lines = |text: &str| -> Vec<Vec<String>> {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        text.lines().map(words).filter(|words| !words.is_empty()).collect()
    };
    let (expected, found) = (lines(expected), lines(found));
    let same_line = |(expected, found): (&Vec<String>, &Vec<String>), bindings: &mut Bindings| {
        // A date is one placeholder and several words.
        let (expected, found) = (expected.join(" "), found.join(" "));
        bindings.matches(&expected, &found)
    };
    expected.len() == found.len() && expected.iter().zip(&found).all(|pair| same_line(pair, &mut bindings))
}

#[test]
fn command_lines_are_split_as_a_shell_does() {
    let line = r#" patch cm -p '{"a": "b c"}' -o jsonpath="{.a}{'\n'}" "#;
    assert_eq!(words(line), ["patch", "cm", "-p", r#"{"a": "b c"}"#, "-o", "jsonpath={.a}{'n'}"]);
}
