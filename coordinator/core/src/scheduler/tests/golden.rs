//! Replays what the real scheduler of Kubernetes 1.36 answered.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    super::{GATED_MESSAGE, REASON_GATED, REASON_UNSCHEDULABLE},
    fixture::{Cluster, NOW},
};

/// Cases in which nodes score equally and Kubernetes draws lots: the same nodes are taken, perhaps in another order.
const DRAWN: &[&str] = &["spread four pods", "spread hostname", "anti-affinity hostname pair"];

/// PriorityClasses of the recording: priority, and whether pods of it may have others go.
const PRIORITIES: &[(&str, i32, &str)] = &[
    ("low", 10, "PreemptLowerPriority"),
    ("high", 1000, "PreemptLowerPriority"),
    ("highnever", 1000, "Never"),
];

#[test]
fn answers_as_kubernetes_does() {
    let cases: Vec<Value> =
        serde_json::from_str(include_str!("../../../tests/golden/scheduler.json")).unwrap();
    assert_eq!(cases.len(), 78);
    for case in &cases {
        let name = case["name"].as_str().unwrap();
        let mut cluster = Cluster::default();
        for node in case["nodes"].as_array().unwrap() {
            cluster.add_node(node);
        }
        for pod in case["existingPods"].as_array().unwrap() {
            cluster.add_pod(&admitted(pod));
        }
        let pods = case["pods"].as_array().unwrap();
        let mut found: Vec<Value> = pods.iter().map(|pod| outcome(&mut cluster, &admitted(pod))).collect();
        let mut expected = case["result"].as_array().unwrap().clone();
        for one in &mut expected {
            let one = one.as_object_mut().unwrap();
            // What came of it later is for the driver's tests.
            one.remove("after");
            one.retain(|_, value| !value.is_null());
        }
        if DRAWN.contains(&name) {
            assert_eq!(nodes(&mut found), nodes(&mut expected), "{name}");
        }
        assert_eq!(found, expected, "{name}");
    }
}

/// Takes the nodes out.
fn nodes(results: &mut [Value]) -> BTreeSet<String> {
    let taken = results.iter_mut().filter_map(|result| result.as_object_mut()?.remove("node"));
    taken.map(|node| node.to_string()).collect()
}

/// The pod as the API stores it: with the priority of its class.
fn admitted(pod: &Value) -> Value {
    let mut pod = pod.clone();
    let class = pod["spec"]["priorityClassName"].as_str().unwrap_or_default();
    if let Some((_, priority, policy)) = PRIORITIES.iter().find(|(name, ..)| *name == class) {
        pod["spec"]["priority"] = json!(priority);
        pod["spec"]["preemptionPolicy"] = json!(policy);
    }
    pod
}

/// What the pod's condition would say, or the node it goes to.
fn outcome(cluster: &mut Cluster, pod: &Value) -> Value {
    let key = cluster.add_pod(pod);
    let info = cluster.view.pod(&key).unwrap().clone();
    if info.gated {
        return json!({ "pod": &*key.name, "reason": REASON_GATED, "message": GATED_MESSAGE });
    }
    match cluster.place(&key) {
        Ok(node) => json!({ "pod": &*key.name, "node": node.as_str() }),
        Err(why) => {
            let message = why.to_string();
            let mut said = json!({ "pod": &*key.name, "reason": REASON_UNSCHEDULABLE, "message": message });
            if let Some(preemption) = why.preemption {
                assert!(cluster.view.nominate(&key, &preemption.node, NOW));
                said["nominatedNodeName"] = json!(preemption.node.as_str());
            }
            said
        }
    }
}
