//! Replays what the real scheduler of Kubernetes 1.36 answered, and states what must hold for every placement.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use proptest::prelude::{Strategy, any, proptest};
use serde_json::{Value, json};

use super::{GATED_MESSAGE, REASON_GATED, REASON_UNSCHEDULABLE, place};
use crate::view::{ObjectKey, View};
use dunlin_link::NodeName;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// Cases on what this scheduler does not do, by the start of their names.
const SKIPPED: &[(&str, &str)] = &[
    ("spread", "topologySpreadConstraints has no effect yet"),
    ("affinity", "podAffinity has no effect yet"),
    ("anti-affinity", "podAntiAffinity has no effect yet"),
    ("existing anti-affinity", "podAntiAffinity has no effect yet"),
    ("pvc", "there are no volumes yet"),
    ("preempt", "there is no preemption and no PriorityClass yet"),
];

fn add_node(view: &mut View, node: &Value) {
    let name = node["name"].as_str().unwrap();
    let object = json!({
        "metadata": { "name": name, "uid": name, "labels": node["labels"] },
        "spec": node["spec"],
        "status": { "allocatable": node["allocatable"] },
    });
    view.apply_node(&NodeName::new(name), object.to_string().as_bytes()).unwrap();
}

fn add_pod(view: &mut View, pod: &Value) -> ObjectKey {
    let key = ObjectKey::new("default", pod["metadata"]["name"].as_str().unwrap());
    view.apply_pod(&key, pod.to_string().as_bytes(), NOW).unwrap();
    key
}

/// What the pod's condition would say, or the node it goes to.
fn outcome(view: &mut View, key: &ObjectKey) -> Value {
    let pod = view.pod(key).unwrap().clone();
    if pod.gated {
        return json!({ "pod": &*key.name, "reason": REASON_GATED, "message": GATED_MESSAGE });
    }
    match place(view, &pod) {
        Ok(node) => {
            assert!(view.assume(key, &node, NOW));
            json!({ "pod": &*key.name, "node": node.as_str() })
        }
        Err(why) => {
            json!({ "pod": &*key.name, "reason": REASON_UNSCHEDULABLE, "message": why.to_string() })
        }
    }
}

#[test]
fn answers_as_kubernetes_does() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../../tests/golden/scheduler.json")).unwrap();
    let mut replayed = 0;
    for case in &cases {
        let name = case["name"].as_str().unwrap();
        if SKIPPED.iter().any(|(prefix, _)| name.starts_with(prefix)) {
            continue;
        }
        let mut view = View::new(NOW, Duration::from_secs(20));
        for node in case["nodes"].as_array().unwrap() {
            add_node(&mut view, node);
        }
        for pod in case["existingPods"].as_array().unwrap() {
            add_pod(&mut view, pod);
        }
        for (pod, expected) in case["pods"].as_array().unwrap().iter().zip(case["result"].as_array().unwrap())
        {
            let key = add_pod(&mut view, pod);
            let mut expected = expected.clone();
            for field in ["after", "nominatedNodeName"] {
                expected.as_object_mut().unwrap().remove(field);
            }
            assert_eq!(outcome(&mut view, &key), expected, "{name}");
        }
        replayed += 1;
    }
    assert_eq!(replayed, 51, "cases that are neither replayed nor skipped by name");
}

fn node(name: &str, milli_cpu: u64, mebibytes: u64, pods: u32) -> Value {
    let allocatable = json!({
        "cpu": format!("{milli_cpu}m"), "memory": format!("{mebibytes}Mi"), "pods": pods.to_string(),
    });
    json!({ "name": name, "labels": {}, "spec": {}, "allocatable": allocatable })
}

fn pod(name: &str, milli_cpu: u64, mebibytes: u64, host_port: Option<u16>) -> Value {
    let requests = json!({ "cpu": format!("{milli_cpu}m"), "memory": format!("{mebibytes}Mi") });
    let ports = host_port.map(|port| json!({ "containerPort": 80, "hostPort": port }));
    json!({
        "metadata": { "name": name, "uid": name },
        "spec": { "containers": [{
            "name": "c", "resources": { "requests": requests }, "ports": ports.into_iter().collect::<Vec<_>>(),
        }] },
    })
}

fn pods() -> impl Strategy<Value = Vec<(u64, u64, Option<u16>)>> {
    let one = (0..1500_u64, 0..1500_u64, proptest::option::weighted(0.2, 1..4_u16));
    proptest::collection::vec(one, 1..40)
}

proptest! {
    #[test]
    fn never_overcommits_and_explains_every_node(
        nodes in proptest::collection::vec((100..4000_u64, 100..4000_u64, 0..8_u32), 1..5),
        pods in pods(),
        removed in any::<u64>(),
    ) {
        let mut view = View::new(NOW, Duration::from_secs(20));
        for (index, (cpu, memory, pods)) in nodes.iter().enumerate() {
            add_node(&mut view, &node(&format!("n{index}"), *cpu, *memory, *pods));
        }
        for (index, (cpu, memory, port)) in pods.iter().enumerate() {
            let key = add_pod(&mut view, &pod(&format!("p{index}"), *cpu, *memory, *port));
            let info = view.pod(&key).unwrap().clone();
            match place(&view, &info) {
                Ok(node) => assert!(view.assume(&key, &node, NOW)),
                Err(why) => {
                    assert_eq!(why.nodes, nodes.len());
                    assert_eq!(why.refused(), nodes.len());
                    assert!(why.reasons.values().all(|count| *count <= nodes.len()));
                    assert!(why.reasons.values().sum::<usize>() >= nodes.len());
                }
            }
            if removed >> (index % 64) & 1 == 1 {
                view.delete_pod(&key);
            }
            assert_nothing_overcommitted(&view);
        }
    }
}

/// Adds everything up anew, without the sums that the view keeps.
fn assert_nothing_overcommitted(view: &View) {
    for (_, entry) in view.nodes() {
        let info = entry.info.as_ref().unwrap();
        let (mut cpu, mut memory, mut ports) = (0, 0, BTreeMap::new());
        for key in &entry.pods {
            let template = &view.pod(key).unwrap().template;
            cpu += template.requests.cpu.0;
            memory += template.requests.memory.0;
            for port in &template.host_ports {
                *ports.entry(port.clone()).or_insert(0) += 1;
            }
        }
        assert!(cpu <= info.allocatable.cpu.0);
        assert!(memory <= info.allocatable.memory.0);
        assert!(entry.pods.len() <= info.pods_max as usize);
        assert!(ports.values().all(|count| *count == 1));
        assert_eq!(entry.usage.requested.cpu.0, cpu);
        assert_eq!(entry.usage.requested.memory.0, memory);
        assert_eq!(entry.usage.pods as usize, entry.pods.len());
    }
}
