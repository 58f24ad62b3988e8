//! DaemonSets while nodes are offline: those are left out, and have their turn when they are back.

use serde_json::{Value, json};

use super::{pods, set, settle, status};
use crate::controllers::world::World;

fn with_policy(image: &str, policy: &str) -> Value {
    let mut object = set(image, &json!({}));
    object["metadata"]["annotations"] = json!({ "dunlin.dev/offline-policy": policy });
    object
}

/// Three nodes, of which two are offline.
fn interrupted(policy: &str) -> World {
    let mut world = World::new();
    ["n1", "n2", "n3"].iter().for_each(|node| world.node(node, "True"));
    world.apply(with_policy("i:1", policy));
    settle(&mut world);
    for node in ["n2", "n3"] {
        world.node(node, "Unknown");
        ready(&mut world, node, "False");
    }
    world
}

/// Sets the condition `Ready` of the pods of a node.
fn ready(world: &mut World, node: &str, status: &str) {
    let since = dunlin_api::time::format_time(world.now);
    let reason = if status == "True" { "" } else { "NodeNotReady" };
    let condition =
        json!({ "type": "Ready", "status": status, "reason": reason, "lastTransitionTime": since });
    for pod in world.pods("agent-").into_iter().filter(|pod| pod["spec"]["nodeName"] == node) {
        let patch = json!({ "status": { "conditions": [condition] } });
        world.patch_pod(pod["metadata"]["name"].as_str().unwrap(), &patch);
    }
}

fn numbers(world: &World) -> Vec<i64> {
    let fields =
        ["desiredNumberScheduled", "currentNumberScheduled", "updatedNumberScheduled", "numberAvailable"];
    fields.iter().map(|field| status(world)[*field].as_i64().unwrap_or(0)).collect()
}

fn deferred(world: &World) -> Value {
    let conditions = status(world)["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|condition| condition["type"] == "Deferred").unwrap_or_default()
}

#[test]
fn a_rollout_goes_on_without_them_and_each_has_its_turn_when_it_is_back() {
    let mut world = interrupted("defer");
    assert_eq!(numbers(&world), [1, 1, 1, 1]);
    assert_eq!(deferred(&world)["message"], "2 pods are on nodes that are offline, or wait for them: n2, n3");
    world.apply(with_policy("i:2", "defer"));
    settle(&mut world);
    assert_eq!(pods(&world), ["n1 i:2", "n2 i:1", "n3 i:1"]);
    assert_eq!(numbers(&world), [1, 1, 1, 1], "a rollout that is through, as kubectl sees it");
    let writes = world.writes;
    world.pass(std::time::Duration::from_secs(3600));
    assert_eq!(world.writes, writes);
    // Both come back at once: one after the other makes way, and not before it is known that they serve.
    ["n2", "n3"].iter().for_each(|node| world.node(node, "True"));
    assert_eq!(pods(&world), ["n1 i:2", "n2 i:1", "n3 i:1"]);
    ["n2", "n3"].iter().for_each(|node| ready(&mut world, node, "True"));
    let going = pods(&world).iter().filter(|pod| pod.ends_with('-')).count();
    assert_eq!(going, 1, "{:?}", pods(&world));
    settle(&mut world);
    assert_eq!(pods(&world), ["n1 i:2", "n2 i:2", "n3 i:2"]);
    assert_eq!(numbers(&world), [3, 3, 3, 3]);
    assert_eq!(deferred(&world), Value::Null);
}

#[test]
fn under_the_strict_policy_they_count() {
    let mut world = interrupted("strict");
    assert_eq!(numbers(&world), [3, 3, 3, 1]);
    assert_eq!(deferred(&world), Value::Null);
    world.apply(with_policy("i:2", "strict"));
    assert_eq!(pods(&world), ["n1 i:1", "n2 i:1 -", "n3 i:1 -"], "those that serve nobody go first");
}
