//! Rollouts while nodes are offline: deferred, not failed.

use std::time::Duration;

use serde_json::{Value, json};

use super::{condition, deployment, pods, rollback::run_on, rolling, sets, status};
use crate::controllers::world::World;

fn with_policy(image: &str, strategy: Value, policy: &str) -> Value {
    let mut object = deployment(4, image, strategy);
    object["metadata"]["annotations"] = json!({
        "dunlin.dev/offline-policy": policy, "dunlin.dev/auto-rollback": "true",
    });
    object
}

/// Binds what waits to nodes in turn, and makes it ready there; on a node that is offline nothing starts.
fn place(world: &mut World, nodes: &[&str], offline: &[&str]) {
    for turn in 0..200 {
        let pods = world.pods("web-");
        let waiting = pods.iter().find(|pod| pod["spec"]["nodeName"].is_null());
        let Some(pod) = waiting else {
            let before = world.objects.clone();
            reap(world, offline);
            if before == world.objects {
                return;
            }
            continue;
        };
        let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
        run_on(world, &name, nodes[turn % nodes.len()]);
        reap(world, offline);
    }
    panic!("pods come and go without an end");
}

/// Pods that are being deleted end, where somebody hears of it.
fn reap(world: &mut World, offline: &[&str]) {
    let is_ended = |pod: &&Value| {
        let is_offline = pod["spec"]["nodeName"].as_str().is_some_and(|node| offline.contains(&node));
        !pod["metadata"]["deletionTimestamp"].is_null() && !is_offline
    };
    let ended: Vec<_> = world.pods("web-").iter().filter(is_ended).cloned().collect();
    for pod in ended {
        let name = pod["metadata"]["name"].as_str().unwrap();
        world.remove(&crate::controllers::world::id("v1", "Pod", name));
    }
}

fn fall_silent(world: &mut World, node: &str) {
    world.node(node, "Unknown");
    for pod in world.pods("web-") {
        if pod["spec"]["nodeName"] == node {
            let lost = json!({ "status": { "conditions": [
                { "type": "Ready", "status": "False", "reason": "NodeNotReady" },
            ] } });
            world.patch_pod(pod["metadata"]["name"].as_str().unwrap(), &lost);
        }
    }
}

fn come_back(world: &mut World, node: &str) {
    world.node(node, "True");
    for pod in world.pods("web-") {
        if pod["spec"]["nodeName"] == node {
            run_on(world, pod["metadata"]["name"].as_str().unwrap(), node);
        }
    }
    reap(world, &[]);
}

/// Four pods on four nodes, of which the last has fallen silent in the middle of a rollout, with a pod of the new revision on it.
fn interrupted(policy: &str) -> World {
    let mut world = World::new();
    let nodes = ["n1", "n2", "n3", "n4"];
    nodes.iter().for_each(|node| world.node(node, "True"));
    world.apply(with_policy("i:1", rolling(json!(1), json!(0)), policy));
    place(&mut world, &nodes, &[]);
    assert_eq!(status(&world)["availableReplicas"], 4);
    world.apply(with_policy("i:2", rolling(json!(1), json!(0)), policy));
    let new = world.pods("web-").into_iter().find(|pod| pod["spec"]["nodeName"].is_null()).unwrap();
    world.patch_pod(new["metadata"]["name"].as_str().unwrap(), &json!({ "spec": { "nodeName": "n4" } }));
    fall_silent(&mut world, "n4");
    world
}

#[test]
fn a_rollout_goes_on_without_an_offline_node_and_finishes_when_it_is_back() {
    let mut world = interrupted("defer");
    let deferred = condition(&world, "Deferred");
    assert_eq!(deferred["reason"], "NodesOffline");
    assert_eq!(
        deferred["message"], "1 pod is on nodes that are offline, or waits for them: n4",
        "that of the new revision; nobody waits for the old one, which is to end"
    );
    place(&mut world, &["n1", "n2", "n3"], &["n4"]);
    assert_eq!(sets(&world), [("1".to_owned(), 0), ("2".to_owned(), 4)]);
    assert_eq!(status(&world)["availableReplicas"], 3, "what nobody reaches is not available");
    assert_eq!(condition(&world, "Progressing")["reason"], "NewReplicaSetAvailable");
    world.pass(Duration::from_secs(7200));
    assert_eq!(condition(&world, "Progressing")["reason"], "NewReplicaSetAvailable", "no deadline is missed");
    assert_eq!(condition(&world, "RolledBack"), Value::Null);
    assert!(world.told.iter().any(|(reason, _)| reason == "RolloutDeferred"));
    let writes = world.writes;
    world.pass(Duration::from_secs(7200));
    assert_eq!(world.writes, writes);
    come_back(&mut world, "n4");
    assert_eq!(pods(&world), (4, 4));
    assert_eq!(status(&world)["availableReplicas"], 4);
    assert_eq!(condition(&world, "Deferred"), Value::Null);
}

#[test]
fn as_many_that_can_be_reached_stay_available() {
    let mut world = interrupted("defer");
    for turn in 0..200 {
        let (_, available) = pods(&world);
        assert!(available >= 3, "{available} available, one deferred, none may be missing");
        let waiting = world.pods("web-").into_iter().find(|pod| pod["spec"]["nodeName"].is_null());
        let Some(pod) = waiting else { break };
        let node = ["n1", "n2", "n3"][turn % 3];
        run_on(&mut world, pod["metadata"]["name"].as_str().unwrap(), node);
        reap(&mut world, &["n4"]);
    }
    assert_eq!(sets(&world), [("1".to_owned(), 0), ("2".to_owned(), 4)]);
}

#[test]
fn under_the_strict_policy_it_waits_as_in_kubernetes() {
    let mut world = interrupted("strict");
    place(&mut world, &["n1", "n2", "n3"], &["n4"]);
    assert_eq!(condition(&world, "Deferred"), Value::Null);
    assert_ne!(sets(&world)[0], ("1".to_owned(), 0));
    world.pass(Duration::from_secs(602));
    assert_eq!(condition(&world, "RolledBack")["status"], "True", "the deadline is missed for it");
}

#[test]
fn recreate_leaves_old_pods_on_offline_nodes_behind() {
    let check = |policy: &str, expected: usize| {
        let mut world = World::new();
        ["n1", "n2"].iter().for_each(|node| world.node(node, "True"));
        world.apply(with_policy("i:1", json!({ "type": "Recreate" }), policy));
        place(&mut world, &["n1", "n2"], &[]);
        fall_silent(&mut world, "n2");
        world.apply(with_policy("i:2", json!({ "type": "Recreate" }), policy));
        reap(&mut world, &["n2"]);
        assert_eq!(world.of("replicasets", "web-").len(), expected);
    };
    check("defer", 2);
    check("strict", 1);
}

#[test]
fn a_pod_that_only_an_offline_node_may_take_is_deferred() {
    let mut world = World::new();
    ["n1", "n2"].iter().for_each(|node| world.node(node, "True"));
    let pinned = |image: &str| {
        let mut object = with_policy(image, rolling(json!(1), json!(0)), "defer");
        object["spec"]["replicas"] = 1.into();
        object["spec"]["template"]["spec"]["nodeSelector"] = json!({ "kubernetes.io/hostname": "n2" });
        object
    };
    world.apply(pinned("i:1"));
    place(&mut world, &["n2"], &[]);
    fall_silent(&mut world, "n2");
    world.apply(pinned("i:2"));
    reap(&mut world, &["n2"]);
    world.pass(Duration::from_secs(7200));
    assert_eq!(sets(&world), [("1".to_owned(), 0), ("2".to_owned(), 1)]);
    assert_eq!(condition(&world, "Progressing")["reason"], "NewReplicaSetAvailable");
    assert_eq!(condition(&world, "RolledBack"), Value::Null);
    come_back(&mut world, "n2");
    place(&mut world, &["n2"], &[]);
    assert_eq!(pods(&world), (1, 1));
    assert_eq!(condition(&world, "Deferred"), Value::Null);
}
