//! StatefulSets while nodes are offline: a deferred pod is passed over, and the others keep their order.

use serde_json::{Value, json};

use super::{images, names, set, status};
use crate::controllers::world::{World, id};

fn with_policy(replicas: i64, image: &str, policy: &str, spec: &Value) -> Value {
    let mut object = set(replicas, image, spec);
    object["metadata"]["annotations"] = json!({ "dunlin.dev/offline-policy": policy });
    object
}

/// Three pods on three nodes, of which the one of the last is offline.
fn interrupted(policy: &str, spec: &Value) -> World {
    let mut world = World::new();
    ["n0", "n1", "n2"].iter().for_each(|node| world.node(node, "True"));
    world.apply(with_policy(3, "i:1", policy, spec));
    for number in 0..3 {
        run_on(&mut world, number);
    }
    assert_eq!(status(&world)["readyReplicas"], 3);
    world.node("n2", "Unknown");
    let lost = json!({ "status": { "conditions": [{ "type": "Ready", "status": "False", "reason": "NodeNotReady" }] } });
    world.patch_pod("db-2", &lost);
    world
}

/// Lets the pod of a number run on the node of that number.
fn run_on(world: &mut World, number: usize) {
    let since = dunlin_api::time::format_time(world.now);
    let running = json!({
        "spec": { "nodeName": format!("n{number}") },
        "status": { "phase": "Running", "conditions": [
            { "type": "Ready", "status": "True", "lastTransitionTime": since },
        ] },
    });
    world.patch_pod(&format!("db-{number}"), &running);
}

fn deferred(world: &World) -> Value {
    let conditions = status(world)["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|condition| condition["type"] == "Deferred").unwrap_or_default()
}

#[test]
fn a_rollout_passes_over_a_node_that_is_offline_and_comes_back_to_it() {
    for spec in [json!({}), json!({ "updateStrategy": { "rollingUpdate": { "maxUnavailable": 1 } } })] {
        let mut world = interrupted("defer", &spec);
        assert_eq!(deferred(&world)["message"], "1 pod is on nodes that are offline, or waits for them: n2");
        world.apply(with_policy(3, "i:2", "defer", &spec));
        assert_eq!(names(&world), ["db-0", "db-1-", "db-2"], "the last that can be reached goes first");
        world.reap();
        assert_eq!(deferred(&world)["reason"], "NodesOffline");
        run_on(&mut world, 1);
        world.reap();
        run_on(&mut world, 0);
        assert_eq!(images(&world), ["i:2", "i:2", "i:1"]);
        assert_ne!(status(&world)["currentRevision"], status(&world)["updateRevision"]);
        assert_eq!(deferred(&world)["reason"], "OnlyNodesOffline");
        let writes = world.writes;
        world.pass(std::time::Duration::from_secs(3600));
        assert_eq!(world.writes, writes);

        world.node("n2", "True");
        run_on(&mut world, 2);
        assert_eq!(names(&world), ["db-0", "db-1", "db-2-"], "now it is its turn");
        world.reap();
        run_on(&mut world, 2);
        assert_eq!(images(&world), ["i:2"; 3]);
        assert_eq!(status(&world)["currentRevision"], status(&world)["updateRevision"]);
        assert_eq!(deferred(&world), Value::Null);
    }
}

#[test]
fn under_the_strict_policy_the_rollout_waits_at_it() {
    let mut world = interrupted("strict", &json!({}));
    assert_eq!(deferred(&world), Value::Null);
    world.apply(with_policy(3, "i:2", "strict", &json!({})));
    assert_eq!(names(&world), ["db-0", "db-1", "db-2"]);
}

#[test]
fn pods_come_and_go_past_one_that_is_deferred() {
    let mut world = interrupted("defer", &json!({}));
    world.apply(with_policy(4, "i:1", "defer", &json!({})));
    assert_eq!(names(&world), ["db-0", "db-1", "db-2", "db-3"]);
    run_on(&mut world, 3);
    world.apply(with_policy(1, "i:1", "defer", &json!({})));
    assert_eq!(names(&world), ["db-0", "db-1", "db-2", "db-3-"], "those above still go first");
    world.remove(&id("v1", "Pod", "db-3"));
    assert_eq!(names(&world), ["db-0", "db-1-", "db-2-"], "and nobody waits for what nobody reaches");
}
