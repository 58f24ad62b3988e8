//! Who goes for whom.

use dunlin_link::NodeName;
use serde_json::{Value, json};

use super::fixture::{Cluster, NOW, node, pod};
use crate::view::ObjectKey;

fn placed(name: &str, milli_cpu: u64, priority: i64, node: &str, started: u32) -> Value {
    let mut pod = pod(name, milli_cpu, 0, None);
    pod["metadata"]["labels"] = json!({ "app": name });
    pod["spec"]["priority"] = json!(priority);
    pod["spec"]["nodeName"] = json!(node);
    pod["status"]["startTime"] = json!(format!("2026-01-01T00:00:0{started}Z"));
    pod
}

fn urgent(name: &str, milli_cpu: u64) -> Value {
    let mut pod = pod(name, milli_cpu, 0, None);
    pod["spec"]["priority"] = json!(1000);
    pod
}

fn cluster(nodes: &[&str], pods: &[Value]) -> Cluster {
    let mut cluster = Cluster::default();
    nodes.iter().for_each(|name| cluster.add_node(&node(name, 2000, 4000, 10)));
    pods.iter().for_each(|pod| drop(cluster.add_pod(pod)));
    cluster
}

/// The node and the victims.
fn preempted(cluster: &mut Cluster, pod: &Value) -> (String, Vec<String>) {
    let key = cluster.add_pod(pod);
    let why = cluster.find(&key).unwrap_err();
    let preemption = why.preemption.unwrap();
    let victims = preemption.victims.iter().map(|victim| victim.key.name.to_string()).collect();
    (preemption.node.as_str().to_owned(), victims)
}

fn check(nodes: &[&str], pods: &[Value], milli_cpu: u64, expected: (&str, &[&str])) {
    let mut cluster = cluster(nodes, pods);
    let victims = expected.1.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(preempted(&mut cluster, &urgent("p", milli_cpu)), (expected.0.to_owned(), victims));
}

#[test]
fn the_most_important_are_kept() {
    let pods =
        [placed("low", 500, 1, "a", 0), placed("mid", 500, 5, "a", 0), placed("high", 1000, 9, "a", 0)];
    check(&["a"], &pods, 500, ("a", &["low"]));
    check(&["a"], &pods, 1000, ("a", &["mid", "low"]));
    check(&["a"], &pods, 1500, ("a", &["high", "low"]));
}

#[test]
fn of_equals_the_younger_goes() {
    let pods = [placed("young", 1000, 1, "a", 5), placed("old", 1000, 1, "a", 1)];
    check(&["a"], &pods, 1000, ("a", &["young"]));
}

#[test]
fn the_node_that_loses_least_is_taken() {
    // By the highest priority, the sum of priorities, the number of pods, and how long they have run.
    check(&["a", "b"], &[placed("e", 2000, 5, "a", 0), placed("f", 2000, 4, "b", 0)], 2000, ("b", &["f"]));
    let two = [placed("e1", 1000, 5, "a", 0), placed("e2", 1000, 4, "a", 0)];
    let other = [placed("f1", 1000, 5, "b", 0), placed("f2", 1000, 3, "b", 0)];
    check(&["a", "b"], &[two, other].concat(), 2000, ("b", &["f1", "f2"]));
    let pods = [placed("e", 2000, 5, "a", 1), placed("f", 2000, 5, "b", 2)];
    check(&["a", "b"], &pods, 2000, ("b", &["f"]));
}

#[test]
fn budgets_are_broken_last() {
    let mut cluster = cluster(&["a", "b"], &[placed("e", 2000, 1, "a", 0), placed("f", 2000, 9, "b", 0)]);
    let budget = |allowed: i64| {
        json!({
            "metadata": { "name": "b", "uid": "b" },
            "spec": { "selector": { "matchLabels": { "app": "e" } }, "minAvailable": 1 },
            "status": { "disruptionsAllowed": allowed },
        })
        .to_string()
    };
    let key = ObjectKey::new("default", "b");
    cluster.view.apply_budget(&key, budget(0).as_bytes()).unwrap();
    assert_eq!(preempted(&mut cluster, &urgent("p", 2000)).0, "b");
    cluster.view.apply_budget(&key, budget(1).as_bytes()).unwrap();
    assert_eq!(preempted(&mut cluster, &urgent("p", 2000)).0, "a", "what was found out before is not kept");
}

#[test]
fn nobody_else_goes_while_pods_are_going_already() {
    let mut cluster = cluster(&["a"], &[placed("e", 2000, 1, "a", 0)]);
    let key = cluster.add_pod(&urgent("p", 2000));
    assert!(cluster.find(&key).unwrap_err().preemption.is_some());
    assert!(cluster.view.nominate(&key, &NodeName::new("a"), NOW));
    let mut going = placed("e", 2000, 1, "a", 0);
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    going["status"]["conditions"] =
        json!([{ "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler" }]);
    cluster.add_pod(&going);
    let why = cluster.find(&key).unwrap_err();
    assert_eq!(why.preemption, None);
    assert_eq!(
        why.to_string(),
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: not eligible due to a \
         terminating pod on the nominated node."
    );
    cluster.view.delete_pod(&ObjectKey::new("default", "e"));
    assert_eq!(cluster.place(&key).unwrap(), NodeName::new("a"));
}

#[test]
fn a_pod_may_not_have_equals_go() {
    let mut cluster = cluster(&["a"], &[placed("e", 2000, 1000, "a", 0)]);
    let key = cluster.add_pod(&urgent("p", 2000));
    assert_eq!(
        cluster.find(&key).unwrap_err().to_string(),
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are \
         available: 1 No preemption victims found for incoming pod."
    );
}
