//! ReplicaSets in a small cluster: how many pods there are, which go first, and whose they are.

use serde_json::{Value, json};

use crate::controllers::world::{World, id};

fn set(replicas: i64) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": { "name": "a", "namespace": "default" },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": "a" } },
            "template": { "metadata": { "labels": { "app": "a" } }, "spec": { "containers": [{ "name": "c", "image": "i" }] } },
        },
    })
}

fn pod(name: &str, labels: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": "default", "labels": labels },
        "spec": { "containers": [{ "name": "c", "image": "i" }] },
    })
}

fn status(world: &World) -> Value {
    world.of("replicasets", "a")[0]["status"].clone()
}

#[test]
fn pods_are_made_until_there_are_enough_and_counted() {
    let mut world = World::new();
    world.apply(set(3));
    assert_eq!(world.pods("a-").len(), 3);
    assert_eq!(status(&world)["replicas"], 3);
    assert_eq!(status(&world)["fullyLabeledReplicas"], 3);
    assert_eq!(status(&world)["readyReplicas"], Value::Null);
    world.run("a-", 2);
    assert_eq!(status(&world)["readyReplicas"], 2);
    assert_eq!(status(&world)["availableReplicas"], 2);
    assert_eq!(status(&world)["observedGeneration"], 1);
    let writes = world.writes;
    world.pass(std::time::Duration::from_secs(3600));
    assert_eq!(world.writes, writes, "nothing is written at rest");
}

#[test]
fn those_that_are_not_ready_go_first_and_the_dearest_last() {
    let mut world = World::new();
    world.apply(set(4));
    world.run("a-", 3);
    let names: Vec<String> =
        world.pods("a-").iter().map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect();
    let dear = id("v1", "Pod", &names[0]);
    world.patch(
        &dear,
        &json!({ "metadata": { "annotations": { "controller.kubernetes.io/pod-deletion-cost": "5" } } }),
    );
    let going = |world: &World| -> Vec<String> {
        let pods = world.pods("a-").into_iter();
        pods.filter(|pod| !pod["metadata"]["deletionTimestamp"].is_null())
            .map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    };
    world.apply(set(3));
    assert_eq!(going(&world), names[3..]);
    world.reap();
    world.apply(set(1));
    world.reap();
    let left = world.pods("a-");
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["metadata"]["name"], names[0].as_str());
}

#[test]
fn pods_that_match_are_adopted_and_those_that_no_longer_do_are_released() {
    let mut world = World::new();
    world.apply(pod("stray", json!({ "app": "a" })));
    world.apply(pod("other", json!({ "app": "b" })));
    world.apply(set(2));
    let stray = id("v1", "Pod", "stray");
    assert_eq!(world.objects[&stray]["metadata"]["ownerReferences"][0]["name"], "a");
    assert_eq!(world.pods("a-").len(), 1, "the adopted one counts");
    world.patch(&stray, &json!({ "metadata": { "labels": { "app": "c" } } }));
    assert_eq!(world.objects[&stray]["metadata"]["ownerReferences"], json!([]));
    assert_eq!(world.pods("a-").len(), 2, "another stands in for it");
    world.apply(pod("late", json!({ "app": "a" })));
    let late = &world.objects[&id("v1", "Pod", "late")]["metadata"];
    assert_eq!(late["ownerReferences"][0]["name"], "a");
    let own = world.pods("").into_iter().filter(|pod| pod["metadata"]["ownerReferences"][0]["name"] == "a");
    let (going, staying): (Vec<_>, Vec<_>) =
        own.partition(|pod| !pod["metadata"]["deletionTimestamp"].is_null());
    assert_eq!((going.len(), staying.len()), (1, 2), "one too many");
}

#[test]
fn what_keeps_pods_from_being_made_is_said_and_tried_again() {
    let mut world = World::new();
    world.refuses = Some("quota");
    world.apply(set(1));
    let condition = status(&world)["conditions"][0].clone();
    assert_eq!(
        (condition["type"].as_str(), condition["reason"].as_str()),
        (Some("ReplicaFailure"), Some("FailedCreate"))
    );
    assert_eq!(condition["message"], "quota");
    world.refuses = None;
    world.pass(std::time::Duration::from_secs(60));
    assert_eq!(world.pods("a-").len(), 1);
    assert_eq!(status(&world)["conditions"], Value::Null);
}

#[test]
fn a_pod_is_available_after_it_was_ready_for_long_enough() {
    let mut world = World::new();
    let mut slow = set(1);
    slow["spec"]["minReadySeconds"] = 10.into();
    world.apply(slow);
    world.run("a-", 1);
    assert_eq!(status(&world)["readyReplicas"], 1);
    assert_eq!(status(&world)["availableReplicas"], Value::Null);
    world.pass(std::time::Duration::from_secs(9));
    assert_eq!(status(&world)["availableReplicas"], Value::Null);
    world.pass(std::time::Duration::from_secs(1));
    assert_eq!(status(&world)["availableReplicas"], 1);
}

#[test]
fn ended_pods_are_replaced_and_a_set_that_is_deleted_makes_none() {
    let mut world = World::new();
    world.apply(set(1));
    let name = world.pods("a-")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    world.pass(std::time::Duration::from_secs(60));
    world.patch(&id("v1", "Pod", &name), &json!({ "status": { "phase": "Failed" } }));
    assert_eq!(world.pods("a-").len(), 2);
    let set = id("apps/v1", "ReplicaSet", "a");
    world.patch(&set, &json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } }));
    let names: Vec<String> =
        world.pods("a-").iter().map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect();
    names.iter().for_each(|name| world.remove(&id("v1", "Pod", name)));
    assert!(world.pods("a-").is_empty());
}

#[test]
fn replication_controllers_are_looked_after_likewise() {
    let mut world = World::new();
    world.apply(json!({
        "apiVersion": "v1", "kind": "ReplicationController",
        "metadata": { "name": "rc", "namespace": "default" },
        "spec": {
            "replicas": 2, "selector": { "app": "rc" },
            "template": { "metadata": { "labels": { "app": "rc" } }, "spec": { "containers": [] } },
        },
    }));
    world.run_all("rc-");
    assert_eq!(world.pods("rc-").len(), 2);
    let controller = &world.of("replicationcontrollers", "rc")[0];
    assert_eq!(controller["status"]["availableReplicas"], 2);
    assert_eq!(controller["status"]["terminatingReplicas"], Value::Null);
}

#[test]
fn pods_that_fail_at_once_are_made_anew_ever_later() {
    let mut world = World::new();
    world.apply(set(2));
    let second = std::time::Duration::from_secs(1);
    world.end("a-", 2, 1);
    assert_eq!(world.pods("a-").len(), 2, "held back");
    world.pass(second);
    assert_eq!(world.pods("a-").len(), 4);
    world.end("a-", 2, 1);
    world.pass(second);
    assert_eq!(world.pods("a-").len(), 4, "for longer");
    world.pass(second);
    assert_eq!(world.pods("a-").len(), 6);
    world.run("a-", 2);
    world.pass(second * 60);
    world.end("a-", 1, 1);
    assert_eq!(world.pods("a-").len(), 7, "what ran for a while is replaced at once");
}
