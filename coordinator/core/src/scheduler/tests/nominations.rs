//! Nodes that are kept for pods that wait for others to go.

use dunlin_link::NodeName;
use serde_json::json;

use super::fixture::{Cluster, NOW, node, pod};

#[test]
fn a_kept_node_is_taken_only_by_what_is_more_important() {
    let mut cluster = Cluster::default();
    cluster.add_node(&node("a", 2000, 4000, 10));
    let mut first = pod("first", 1500, 0, None);
    first["spec"]["priority"] = json!(10);
    let first = cluster.add_pod(&first);
    assert!(cluster.view.nominate(&first, &NodeName::new("a"), NOW));

    let equal = |name: &str, priority: i64| {
        let mut pod = pod(name, 1000, 0, None);
        pod["spec"]["priority"] = json!(priority);
        pod
    };
    let less = cluster.outcome(&equal("less", 5));
    assert!(less.starts_with("0/1 nodes are available: 1 Insufficient cpu."), "{less}");
    let same = cluster.outcome(&equal("same", 10));
    assert!(same.starts_with("0/1 nodes are available: 1 Insufficient cpu."), "{same}");
    let small = pod("small", 500, 0, None);
    assert_eq!(cluster.outcome(&small), "a", "there is room for both");
    let more = cluster.add_pod(&equal("more", 20));
    assert_eq!(cluster.find(&more).unwrap(), NodeName::new("a"));

    assert_eq!(cluster.find(&first).unwrap(), NodeName::new("a"), "it does not stand in its own way");
    assert!(cluster.view.withdraw(&first, NOW));
    assert_eq!(cluster.outcome(&equal("later", 5)), "a");
}

#[test]
fn a_node_is_not_kept_for_what_is_bound_or_gone() {
    let mut cluster = Cluster::default();
    cluster.add_node(&node("a", 2000, 4000, 10));
    let key = cluster.add_pod(&pod("p", 1500, 0, None));
    assert!(cluster.view.nominate(&key, &NodeName::new("a"), NOW));
    cluster.view.delete_pod(&key);
    assert_eq!(cluster.outcome(&pod("q", 1500, 0, None)), "a");
}

#[test]
fn what_the_store_does_not_say_yet_is_kept() {
    let mut cluster = Cluster::default();
    let object = pod("p", 100, 0, None);
    let key = cluster.add_pod(&object);
    let node = NodeName::new("a");
    assert!(cluster.view.nominate(&key, &node, NOW));
    cluster.add_pod(&object);
    assert_eq!(cluster.view.pod(&key).unwrap().nominated, Some(node));
    let mut stored = object.clone();
    stored["status"]["nominatedNodeName"] = json!("b");
    cluster.add_pod(&stored);
    assert_eq!(cluster.view.pod(&key).unwrap().nominated, Some(NodeName::new("b")));
    cluster.add_pod(&object);
    assert_eq!(cluster.view.pod(&key).unwrap().nominated, None);
}
