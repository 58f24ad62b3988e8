//! Pods with Linux containers go where those run.

use serde_json::{Value, json};

use super::fixture::{Cluster, node, with};

/// A node that says whether it lacks what containers need; nothing when it is of an older version.
fn saying(name: &str, unavailable: Option<&str>) -> Value {
    let mut node = node(name, 8000, 16_384, 110);
    let condition = |status| json!([{ "type": "ContainersUnavailable", "status": status, "reason": "r" }]);
    node["conditions"] = unavailable.map(condition).unwrap_or_default();
    node
}

#[test]
fn a_pod_that_needs_a_network_of_its_own_goes_where_there_is_one() {
    let saying = |name: &str, unavailable: &str| {
        let mut node = node(name, 8000, 16_384, 110);
        node["conditions"] = json!([{ "type": "NetworkUnavailable", "status": unavailable, "reason": "r" }]);
        node
    };
    let mut cluster = Cluster::default();
    cluster.add_node(&saying("broken", "True"));
    cluster.view.note_linux_image(&"docker.io/library/busybox:latest".parse().unwrap());
    let pod = |name: &str, image: &str, host_network: bool| {
        let containers = json!([{ "name": "c", "image": image }]);
        with(name, &json!({}), &json!({ "containers": containers, "hostNetwork": host_network }))
    };
    assert_eq!(
        cluster.outcome(&pod("own", "busybox", false)),
        "0/1 nodes are available: 1 node(s) had no network for pods. no new claims to deallocate, \
         preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
    );
    assert_eq!(cluster.outcome(&pod("of-the-node", "busybox", true)), "broken");
    assert_eq!(cluster.outcome(&pod("module", "registry.example/module:1", false)), "broken");
    cluster.add_node(&saying("well", "False"));
    assert_eq!(cluster.outcome(&pod("again", "busybox", false)), "well");
}

#[test]
fn a_pod_goes_where_its_images_of_the_coordinator_are_for() {
    let machine = |name: &str, architecture: &str, unavailable: &str| {
        let mut node = saying(name, Some(unavailable));
        node["labels"] = json!({ "kubernetes.io/arch": architecture });
        node
    };
    let mut cluster = Cluster::default();
    cluster.add_node(&machine("pi", "arm64", "False"));
    cluster.add_node(&machine("modules", "amd64", "True"));
    let pod = |name: &str, image: &str| {
        with(name, &json!({}), &json!({ "containers": [{ "name": "c", "image": image }] }))
    };
    let for_amd64 = Some(br#"["linux/amd64"]"#.as_slice());
    cluster.view.set_own_image("dunlin.local/web:1", for_amd64);
    let digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    cluster.view.set_own_image(&format!("dunlin.local/web@{digest}"), for_amd64);
    for (name, image) in
        [("tag", "dunlin.local/web:1".to_owned()), ("digest", format!("dunlin.local/web@{digest}"))]
    {
        assert_eq!(
            cluster.outcome(&pod(name, &image)),
            "0/2 nodes are available: 1 node(s) cannot run Linux containers, 1 node(s) were not of the images' platform. \
             no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        );
    }
    assert_eq!(cluster.outcome(&pod("module", "dunlin.local/web:2")), "modules", "nothing is known of it");
    // It is pushed again, for both.
    cluster.view.set_own_image("dunlin.local/web:1", Some(br#"["linux/amd64","linux/arm64/v8"]"#));
    assert_eq!(cluster.outcome(&pod("again", "dunlin.local/web:1")), "pi");
    cluster.view.set_own_image("dunlin.local/web:1", None);
    assert_eq!(cluster.outcome(&pod("module-now", "dunlin.local/web:1")), "modules");
}

#[test]
fn a_linux_container_goes_to_no_node_that_runs_none() {
    let mut cluster = Cluster::default();
    cluster.add_node(&saying("modules-1", Some("True")));
    cluster.add_node(&saying("modules-2", Some("True")));
    let pod = |name: &str, image: &str| {
        with(name, &json!({}), &json!({ "containers": [{ "name": "c", "image": image }] }))
    };
    // Nothing is known of an image that nobody has looked at: the node finds out.
    assert_eq!(cluster.outcome(&pod("unknown", "registry.example/web:1")), "modules-1");
    cluster.view.note_linux_image(&"registry.example/web:1".parse().unwrap());
    cluster.view.note_linux_image(&"docker.io/library/busybox:latest".parse().unwrap());
    for (name, image) in [("full", "registry.example/web:1"), ("short", "busybox")] {
        assert_eq!(
            cluster.outcome(&pod(name, image)),
            "0/2 nodes are available: 2 node(s) cannot run Linux containers. no new claims to deallocate, \
             preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        );
    }
    assert_eq!(cluster.outcome(&pod("module", "registry.example/module:1")), "modules-2");
    cluster.add_node(&saying("runs", Some("False")));
    assert_eq!(cluster.outcome(&pod("again", "busybox:latest")), "runs");
    // One that says nothing of it may.
    let mut cluster = Cluster::default();
    cluster.add_node(&saying("old", None));
    cluster.view.note_linux_image(&"registry.example/web:1".parse().unwrap());
    assert_eq!(cluster.outcome(&pod("p", "registry.example/web:1")), "old");
}
