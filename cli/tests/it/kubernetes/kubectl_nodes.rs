//! kubectl and nodes that go away: killed, cut off, or a whole site of them. How long things took is in the output.
#![expect(clippy::print_stdout, reason = "how long things took is part of what is shown")]

use std::{
    collections::BTreeMap,
    process::Command,
    time::{Duration, Instant},
};

use super::kubectl::Kubectl;
use crate::{
    cluster::{BINARY, wait_until},
    site::{Machine, Site},
};

/// A Deployment whose pods tolerate an unreachable node for so long.
fn deployment(name: &str, replicas: usize, seconds: u32) -> String {
    let tolerate = |key: &str| {
        format!(
            "{{key: node.kubernetes.io/{key}, operator: Exists, effect: NoExecute, tolerationSeconds: {seconds}}}"
        )
    };
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  replicas: {replicas}\n  \
         selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    spec:\n      \
         terminationGracePeriodSeconds: 1\n      tolerations: [{}, {}]\n      \
         containers: [{{name: c, image: dunlin.local/ticker, args: [\"100\"]}}]\n---\n",
        tolerate("unreachable"),
        tolerate("not-ready"),
    )
}

/// A coordinator, so many nodes, and kubectl; `None` where that is not installed.
fn site(nodes: usize) -> Option<(Site, Vec<Machine>, Kubectl)> {
    let site = Site::start();
    let Some(kubectl) = Kubectl::new(&site.config(), "default") else {
        println!("SKIPPED: there is no kubectl 1.36; `cargo xtask packages` installs it");
        return None;
    };
    site.push("ticker");
    let machines = (1..=nodes).map(|number| site.join(&format!("n{number}"), &site.token(&[]))).collect();
    Some((site, machines, kubectl))
}

/// A pod as kubectl shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pod {
    uid: String,
    node: String,
    restarts: String,
    is_ready: bool,
    is_ending: bool,
}

/// The pods of a Deployment, by name.
fn pods(kubectl: &Kubectl, app: &str) -> BTreeMap<String, Pod> {
    let path = "jsonpath={range .items[*]}{.metadata.name},{.metadata.uid},{.spec.nodeName},\
                {.status.containerStatuses[0].restartCount},{.status.conditions[?(@.type==\"Ready\")].status},\
                {.metadata.deletionTimestamp}{\"\\n\"}{end}";
    let text = kubectl.ok(&["get", "pods", "-l", &format!("app={app}"), "-o", path]);
    let pod = |line: &str| {
        let parts: Vec<&str> = line.split(',').collect();
        let pod = Pod {
            uid: parts[1].to_owned(),
            node: parts[2].to_owned(),
            restarts: parts[3].to_owned(),
            is_ready: parts[4] == "True",
            is_ending: !parts[5].is_empty(),
        };
        (parts[0].to_owned(), pod)
    };
    text.lines().map(pod).collect()
}

/// Waits until so many pods are ready and not about to go; how many others there are is not asked.
fn wait_for_ready(kubectl: &Kubectl, app: &str, count: usize) -> BTreeMap<String, Pod> {
    wait_until(&format!("{count} ready pods of {app}"), || {
        let pods = pods(kubectl, app);
        let ready = pods.values().filter(|pod| pod.is_ready && !pod.is_ending).count();
        if ready == count { Ok(pods) } else { Err(format!("{pods:?}")) }
    })
}

/// Waits until a node's condition `Ready` says so.
fn wait_for_node(kubectl: &Kubectl, node: &str, ready: &str) {
    let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
    wait_until(&format!("node {node} {ready}"), || {
        let found = kubectl.ok(&["get", "node", node, "-o", path]);
        if found == ready { Ok(()) } else { Err(found) }
    });
}

/// Key and effect of the taints of a node.
fn taints(kubectl: &Kubectl, node: &str) -> String {
    kubectl.ok(&["get", "node", node, "-o", "jsonpath={range .spec.taints[*]}{.key}:{.effect} {end}"])
}

/// Names of pods that the machine itself says it runs.
fn on_machine(machine: &Machine) -> Vec<String> {
    let state = ["--state", machine.state.to_str().unwrap()];
    let output = Command::new(BINARY).args(["local", "pods", "--no-headers"]).args(state).output().unwrap();
    let rows = String::from_utf8(output.stdout).unwrap();
    let rows = rows.lines().map(|row| row.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    rows.filter(|row| row.get(3).is_some_and(|phase| phase == "Running")).map(|row| row[1].clone()).collect()
}

#[test]
fn a_killed_node_is_replaced_after_the_tolerated_time() {
    let Some((site, mut machines, kubectl)) = site(3) else { return };
    kubectl.ok_with(&["apply", "-f", "-"], &deployment("web", 6, 3));
    let before = wait_for_ready(&kubectl, "web", 6);
    let victim = before.values().next().unwrap().node.clone();
    let lost = before.values().filter(|pod| pod.node == victim).count();
    let machine = machines.iter_mut().find(|machine| machine.name() == victim).unwrap();

    let killed = Instant::now();
    // Frozen first, so that it does not see its runner die.
    machine.freeze_agent();
    machine.kill_runner();
    machine.kill_agent();
    wait_for_node(&kubectl, &victim, "Unknown");
    let unknown = killed.elapsed();
    let lease =
        kubectl.ok(&["get", "lease", "-n", "kube-node-lease", &victim, "-o", "jsonpath={.spec.renewTime}"]);
    wait_until("mark of the end of patience", || {
        let gone = pods(&kubectl, "web").values().filter(|pod| pod.is_ending).count();
        if gone == lost { Ok(()) } else { Err(format!("{gone} of {lost}")) }
    });
    let evicted = killed.elapsed();
    wait_for_ready(&kubectl, "web", 6);
    println!(
        "MEASURED: node killed; Unknown after {unknown:.1?}, its {lost} pods given up after {evicted:.1?} (tolerated 3s), \
         replaced after {:.1?}",
        killed.elapsed()
    );
    assert!(evicted >= unknown + Duration::from_secs(2), "what is tolerated is waited for");
    let taints = taints(&kubectl, &victim);
    for effect in ["NoSchedule", "NoExecute"] {
        assert!(taints.contains(&format!("node.kubernetes.io/unreachable:{effect}")), "{taints}");
    }
    let events = kubectl.ok(&["get", "events", "-o", "jsonpath={range .items[*]}{.reason} {end}"]);
    for reason in ["NodeNotReady", "TaintManagerEviction"] {
        assert!(events.contains(reason), "{events}");
    }
    // The Lease says when the node was last heard of, and stays so.
    let path = "jsonpath={.spec.renewTime}";
    assert_eq!(kubectl.ok(&["get", "lease", "-n", "kube-node-lease", &victim, "-o", path]), lease);

    machine.start_agent(&[]);
    wait_for_node(&kubectl, &victim, "True");
    wait_until("end of what was given up", || {
        let left = pods(&kubectl, "web");
        if left.len() == 6 { Ok(()) } else { Err(format!("{left:?}")) }
    });
    let machine = &*machine;
    wait_until("nothing doubled", || {
        let here = on_machine(machine);
        if here.is_empty() { Ok(()) } else { Err(format!("{here:?}")) }
    });
    drop(site);
}

#[test]
fn a_node_that_was_cut_off_loses_and_doubles_nothing() {
    let Some((_site, machines, kubectl)) = site(3) else { return };
    let both = format!("{}{}", deployment("stays", 3, 3600), deployment("moves", 3, 2));
    kubectl.ok_with(&["apply", "-f", "-"], &both);
    let stays = wait_for_ready(&kubectl, "stays", 3);
    let moves = wait_for_ready(&kubectl, "moves", 3);
    let victim =
        moves.values().find(|pod| stays.values().any(|other| other.node == pod.node)).unwrap().node.clone();
    let machine = machines.iter().find(|machine| machine.name() == victim).unwrap();

    let cut = Instant::now();
    machine.freeze_agent();
    wait_for_node(&kubectl, &victim, "Unknown");
    let unknown = cut.elapsed();
    let moved = wait_for_ready(&kubectl, "moves", 3);
    let replaced = cut.elapsed();
    assert!(moved.values().any(|pod| pod.is_ending), "what was given up waits for its node: {moved:?}");
    let meanwhile = pods(&kubectl, "stays");
    assert!(meanwhile.values().filter(|pod| pod.node == victim).all(|pod| !pod.is_ready && !pod.is_ending));
    assert_eq!(meanwhile.len(), 3, "nothing is doubled: {meanwhile:?}");

    let back = Instant::now();
    machine.thaw_agent();
    wait_for_node(&kubectl, &victim, "True");
    assert_eq!(
        wait_for_ready(&kubectl, "stays", 3),
        stays,
        "the same pods, never restarted, on the same nodes"
    );
    let well = back.elapsed();
    wait_until("end of what was given up", || {
        let left = pods(&kubectl, "moves");
        let whole = left.len() == 3 && left.values().all(|pod| pod.is_ready);
        if whole { Ok(()) } else { Err(format!("{left:?}")) }
    });
    let left = pods(&kubectl, "moves");
    wait_until("agreement of the machine", || {
        let mut here = on_machine(machine);
        here.sort();
        let told = stays.iter().chain(&left).filter(|(_, pod)| pod.node == victim);
        let mut told: Vec<String> = told.map(|(name, _)| name.clone()).collect();
        told.sort();
        if here == told { Ok(()) } else { Err(format!("{here:?} {told:?}")) }
    });
    println!(
        "MEASURED: node cut off; Unknown after {unknown:.1?}, what tolerates 2s replaced after {replaced:.1?}; back in touch: \
         its pods ready again after {well:.1?}, what was replaced ended after {:.1?}",
        back.elapsed()
    );
}

#[test]
fn nothing_is_evicted_while_a_whole_site_is_silent() {
    let Some((_site, machines, kubectl)) = site(4) else { return };
    for machine in &machines {
        let zone = if machine.name() == "n4" { "b" } else { "a" };
        kubectl.ok(&["label", "node", machine.name(), &format!("topology.kubernetes.io/zone={zone}")]);
    }
    kubectl.ok_with(&["apply", "-f", "-"], &deployment("web", 8, 6));
    let before = wait_for_ready(&kubectl, "web", 8);
    assert!(before.values().any(|pod| pod.node != "n4"));
    let cut = Instant::now();
    machines[..3].iter().for_each(Machine::freeze_agent);
    for node in ["n1", "n2", "n3"] {
        wait_for_node(&kubectl, node, "Unknown");
    }
    let unknown = cut.elapsed();
    // Far longer than the six seconds that the pods tolerate, and than what lies between the first and the last node found silent, by the ticks of a pod of the site that is well.
    let witness = before.iter().find(|(_, pod)| pod.node == "n4").unwrap().0;
    let ticks = || machines[3].printed(witness, "c", 0).len();
    let enough = ticks() + 200;
    wait_until("twenty seconds of a tenth each", || {
        let ticks = ticks();
        if ticks >= enough { Ok(()) } else { Err(format!("{ticks} of {enough}")) }
    });
    let silent = cut.elapsed();
    let meanwhile = pods(&kubectl, "web");
    assert!(meanwhile.values().all(|pod| !pod.is_ending), "{meanwhile:?}");
    assert_eq!(meanwhile.len(), 8, "nothing is doubled");
    for node in ["n1", "n2", "n3"] {
        assert_eq!(taints(&kubectl, node), "node.kubernetes.io/unreachable:NoSchedule ");
    }
    let back = Instant::now();
    machines[..3].iter().for_each(Machine::thaw_agent);
    for node in ["n1", "n2", "n3"] {
        wait_for_node(&kubectl, node, "True");
    }
    wait_until("the same pods, never restarted, on the same nodes", || {
        let after = pods(&kubectl, "web");
        if after == before { Ok(()) } else { Err(format!("{after:?}, before {before:?}")) }
    });
    println!(
        "MEASURED: site of 3 nodes silent; Unknown after {unknown:.1?}, nothing evicted after {silent:.1?} (tolerated 6s); all \
         ready again {:.1?} after it was back",
        back.elapsed()
    );
}

#[test]
fn each_node_has_a_lease_that_is_renewed_without_writing() {
    let Some((_site, machines, kubectl)) = site(2) else { return };
    wait_until("a Lease of each node", || {
        let leases = kubectl.ok(&["get", "lease", "-n", "kube-node-lease", "--no-headers"]);
        let words = |line: &str| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        let holders: Vec<_> = leases.lines().map(words).collect();
        if holders == ["n1 n1", "n2 n2"] { Ok(()) } else { Err(leases) }
    });
    let path = "jsonpath={.metadata.resourceVersion} {.spec.leaseDurationSeconds} {.metadata.ownerReferences[0].kind} {.spec.renewTime}";
    let read = || kubectl.ok(&["get", "lease", "-n", "kube-node-lease", "n1", "-o", path]);
    let first = read();
    let (stored, time) = first.rsplit_once(' ').unwrap();
    assert!(stored.ends_with(" 40 Node"), "{first}");
    let later = read();
    let (stored_later, time_later) = later.rsplit_once(' ').unwrap();
    assert_eq!(stored_later, stored, "nothing is written");
    assert!(time_later > time, "{first} {later}");
    assert!(kubectl.ok(&["describe", "node", "n1"]).contains("RenewTime:"));
    drop(machines);
    // A node that is removed takes its Lease along.
    kubectl.ok(&["delete", "node", "n2"]);
    wait_until("one Lease", || {
        let names = kubectl.ok(&["get", "lease", "-n", "kube-node-lease", "-o", "name"]);
        if names.trim() == "lease.coordination.k8s.io/n1" { Ok(()) } else { Err(names) }
    });
}
