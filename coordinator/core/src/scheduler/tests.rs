//! Replays what the real scheduler of Kubernetes 1.36 answered, and states what must hold for every placement.

mod affinity;
mod containers;
mod fixture;
mod golden;
mod nominations;
mod oracle;
mod preemption;
mod scores;
mod spread;
mod volumes;

use std::collections::BTreeMap;

use proptest::prelude::{Strategy, any, proptest};

use self::fixture::{Cluster, node, pod};
use crate::view::View;

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
        let mut cluster = Cluster::default();
        for (index, (cpu, memory, pods)) in nodes.iter().enumerate() {
            cluster.add_node(&node(&format!("n{index}"), *cpu, *memory, *pods));
        }
        for (index, (cpu, memory, port)) in pods.iter().enumerate() {
            let key = cluster.add_pod(&pod(&format!("p{index}"), *cpu, *memory, *port));
            if let Err(why) = cluster.place(&key) {
                assert_eq!(why.nodes, nodes.len());
                assert_eq!(why.refused(), nodes.len());
                assert!(why.reasons.values().all(|count| *count <= nodes.len()));
                assert!(why.reasons.values().sum::<usize>() >= nodes.len());
            }
            if removed >> (index % 64) & 1 == 1 {
                cluster.view.delete_pod(&key);
            }
            assert_nothing_overcommitted(&cluster.view);
        }
    }
}

#[test]
fn a_pod_leaves_its_room_though_the_clock_was_put_back_while_it_was_there() {
    let mut cluster = Cluster::default();
    cluster.add_node(&node("n0", 1000, 1000, 10));
    let mut first = pod("p0", 1000, 0, None);
    first["spec"]["nodeName"] = "n0".into();
    first["status"]["conditions"] = serde_json::json!([{ "type": "Ready", "status": "True", "lastTransitionTime": "2026-01-02T00:00:00Z" }]);
    let later = "2026-01-02T00:00:00Z".parse().unwrap();
    let key = cluster.add_pod(&first);
    cluster.view.apply_pod(&key, first.to_string().as_bytes(), later).unwrap();
    cluster.view.clock_put_back("2026-01-01T00:00:00Z".parse().unwrap());
    cluster.view.delete_pod(&key);
    assert_eq!(cluster.outcome(&pod("p1", 1000, 0, None)), "n0");
}

/// Adds everything up anew, without the sums that the view keeps.
fn assert_nothing_overcommitted(view: &View) {
    for (name, entry) in view.nodes() {
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
        let usage = view.snapshot().usage(name).unwrap();
        assert_eq!(usage.requested.cpu.0, cpu);
        assert_eq!(usage.requested.memory.0, memory);
        assert_eq!(usage.pods as usize, entry.pods.len());
    }
}
