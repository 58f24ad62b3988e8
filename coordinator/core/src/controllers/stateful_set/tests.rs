//! StatefulSets in a small cluster: the order in which pods come, go and change, their claims, and the history.

mod offline;
mod rollback;

use std::time::Duration;

use serde_json::{Value, json};

use crate::controllers::world::{World, id};

fn set(replicas: i64, image: &str, spec: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": { "name": "db", "namespace": "default" },
        "spec": {
            "replicas": replicas,
            "serviceName": "db",
            "selector": { "matchLabels": { "app": "db" } },
            "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": 0 } },
            "template": {
                "metadata": { "labels": { "app": "db" } },
                "spec": { "containers": [{ "name": "c", "image": image }] },
            },
        },
    });
    dunlin_api::patch::merge(&mut object["spec"], spec.clone());
    object
}

fn status(world: &World) -> Value {
    world.of("statefulsets", "db")[0]["status"].clone()
}

/// Names of the pods, with a mark at those that are about to go.
fn names(world: &World) -> Vec<String> {
    let name = |pod: &Value| {
        let mark = if pod["metadata"]["deletionTimestamp"].is_null() { "" } else { "-" };
        format!("{}{mark}", pod["metadata"]["name"].as_str().unwrap())
    };
    world.pods("db-").iter().map(name).collect()
}

/// The images of the pods, by name.
fn images(world: &World) -> Vec<String> {
    let image = |pod: &Value| pod["spec"]["containers"][0]["image"].as_str().unwrap().to_owned();
    world.pods("db-").iter().map(image).collect()
}

/// Lets pods that are to go do so and new ones run, until nothing changes.
fn settle(world: &mut World) {
    loop {
        let before = world.objects.clone();
        world.reap();
        world.run_all("db-");
        if before == world.objects {
            return;
        }
    }
}

/// A set that runs.
fn running(replicas: i64, spec: &Value) -> World {
    let mut world = World::new();
    world.apply(set(replicas, "i:1", spec));
    settle(&mut world);
    world
}

#[test]
fn pods_come_one_after_the_other_and_each_waits_for_the_last() {
    let mut world = World::new();
    world.apply(set(3, "i:1", &json!({})));
    assert_eq!(names(&world), ["db-0"]);
    let pod = &world.pods("db-0")[0];
    let revision = &world.of("controllerrevisions", "db-")[0];
    assert_eq!(pod["metadata"]["labels"]["controller-revision-hash"], revision["metadata"]["name"]);
    assert_eq!(revision["revision"], 1);
    assert_eq!(status(&world)["replicas"], 1);
    world.run("db-0", 1);
    assert_eq!(names(&world), ["db-0", "db-1"]);
    world.run("db-1", 1);
    world.run("db-2", 1);
    let status = status(&world);
    let name = &revision["metadata"]["name"];
    let expected = json!({
        "observedGeneration": 1, "replicas": 3, "readyReplicas": 3, "currentReplicas": 3, "updatedReplicas": 3,
        "availableReplicas": 3, "currentRevision": name, "updateRevision": name, "collisionCount": 0,
    });
    assert_eq!(status, expected);
    let writes = world.writes;
    world.pass(Duration::from_secs(3600));
    assert_eq!(world.writes, writes, "nothing is written at rest");
}

#[test]
fn in_parallel_all_come_at_once() {
    let mut world = World::new();
    let spec = json!({ "podManagementPolicy": "Parallel", "ordinals": { "start": 5 } });
    world.apply(set(3, "i:1", &spec));
    assert_eq!(names(&world), ["db-5", "db-6", "db-7"]);
    world.apply(set(1, "i:1", &spec));
    assert_eq!(names(&world), ["db-5", "db-6-", "db-7-"]);
}

#[test]
fn pods_wait_until_the_one_before_has_been_ready_for_long_enough() {
    let mut world = World::new();
    world.apply(set(2, "i:1", &json!({ "minReadySeconds": 10 })));
    world.run("db-0", 1);
    assert_eq!(names(&world), ["db-0"]);
    assert_eq!(
        (&status(&world)["readyReplicas"], &status(&world)["availableReplicas"]),
        (&json!(1), &json!(0))
    );
    world.pass(Duration::from_secs(10));
    assert_eq!(names(&world), ["db-0", "db-1"]);
    assert_eq!(status(&world)["availableReplicas"], 1);
}

#[test]
fn the_last_goes_first_and_the_next_waits_for_its_end() {
    let mut world = running(4, &json!({}));
    world.apply(set(1, "i:1", &json!({})));
    assert_eq!(names(&world), ["db-0", "db-1", "db-2", "db-3-"]);
    world.reap();
    assert_eq!(names(&world), ["db-0", "db-1", "db-2-"]);
    settle(&mut world);
    assert_eq!(names(&world), ["db-0"]);
    // One that does not serve does not keep itself from going, but those above it wait.
    world.apply(set(3, "i:1", &json!({})));
    world.run("db-1", 1);
    assert_eq!(names(&world), ["db-0", "db-1", "db-2"]);
    world.apply(set(0, "i:1", &json!({})));
    assert_eq!(names(&world), ["db-0", "db-1", "db-2-"]);
}

#[test]
fn pods_that_ended_are_replaced_whatever_their_end() {
    let mut world = running(2, &json!({}));
    for code in [0, 1] {
        let before = world.pods("db-0")[0]["metadata"]["uid"].clone();
        world.pass(Duration::from_secs(60));
        world.end("db-0", 1, code);
        assert_eq!(names(&world), ["db-0-", "db-1"]);
        settle(&mut world);
        assert_ne!(world.pods("db-0")[0]["metadata"]["uid"], before);
    }
}

#[test]
fn a_rollout_replaces_one_after_the_other_from_the_last_and_completes() {
    let mut world = running(3, &json!({}));
    world.apply(set(3, "i:2", &json!({})));
    assert_eq!(names(&world), ["db-0", "db-1", "db-2-"]);
    assert_eq!(
        (&status(&world)["currentReplicas"], &status(&world)["updatedReplicas"]),
        (&json!(2), &Value::Null)
    );
    assert_ne!(status(&world)["currentRevision"], status(&world)["updateRevision"]);
    world.reap();
    assert_eq!(images(&world), ["i:1", "i:1", "i:2"]);
    assert_eq!(names(&world), ["db-0", "db-1", "db-2"], "the next waits until it serves");
    world.run("db-2", 1);
    assert_eq!(names(&world), ["db-0", "db-1-", "db-2"]);
    settle(&mut world);
    assert_eq!(images(&world), ["i:2"; 3]);
    assert_eq!(status(&world)["currentRevision"], status(&world)["updateRevision"]);
    assert_eq!(status(&world)["currentReplicas"], 3);
}

#[test]
fn a_partition_keeps_the_first_pods_as_they_are_even_when_they_are_made_anew() {
    let partition = |number: i64| json!({ "updateStrategy": { "rollingUpdate": { "partition": number } } });
    let mut world = running(3, &json!({}));
    world.apply(set(3, "i:2", &partition(2)));
    settle(&mut world);
    assert_eq!(images(&world), ["i:1", "i:1", "i:2"]);
    let pod = id("v1", "Pod", "db-0");
    world.remove(&pod);
    settle(&mut world);
    assert_eq!(images(&world), ["i:1", "i:1", "i:2"], "it is made of the revision that it had");
    assert_eq!(
        (&status(&world)["currentReplicas"], &status(&world)["updatedReplicas"]),
        (&json!(2), &json!(1))
    );
    world.apply(set(3, "i:2", &partition(0)));
    settle(&mut world);
    assert_eq!(images(&world), ["i:2"; 3]);
}

#[test]
fn on_delete_waits_for_somebody_to_delete_pods() {
    let spec = json!({ "updateStrategy": { "type": "OnDelete", "rollingUpdate": null } });
    let mut world = running(2, &spec);
    world.apply(set(2, "i:2", &spec));
    settle(&mut world);
    assert_eq!(images(&world), ["i:1", "i:1"]);
    world.remove(&id("v1", "Pod", "db-0"));
    settle(&mut world);
    assert_eq!(images(&world), ["i:2", "i:1"]);
}

#[test]
fn several_may_be_missing_and_those_that_never_serve_go_first() {
    let spec = json!({
        "podManagementPolicy": "Parallel",
        "updateStrategy": { "rollingUpdate": { "partition": 0, "maxUnavailable": "50%" } },
    });
    let mut world = running(5, &spec);
    world.apply(set(5, "i:2", &spec));
    assert_eq!(names(&world), ["db-0", "db-1", "db-2", "db-3-", "db-4-"]);
    settle(&mut world);
    assert_eq!(images(&world), ["i:2"; 5]);
    // None of a broken revision ever serves, so that all of them may go for the one that mends it.
    world.apply(set(5, "i:3", &spec));
    world.reap();
    world.apply(set(5, "i:4", &spec));
    assert_eq!(names(&world), ["db-0", "db-1", "db-2", "db-3-", "db-4-"]);
}

#[test]
fn an_earlier_template_takes_its_revision_up_again_and_old_ones_go() {
    let spec = json!({ "revisionHistoryLimit": 2 });
    let mut world = running(1, &spec);
    for image in ["i:2", "i:3", "i:1"] {
        world.apply(set(1, image, &spec));
        settle(&mut world);
    }
    let numbers = |world: &World| {
        let revisions = world.of("controllerrevisions", "db-");
        let mut numbers: Vec<_> =
            revisions.iter().map(|revision| revision["revision"].as_i64().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    };
    assert_eq!(numbers(&world), [2, 3, 4]);
    for image in ["i:4", "i:5"] {
        world.apply(set(1, image, &spec));
        settle(&mut world);
    }
    assert_eq!(numbers(&world), [4, 5, 6]);
    assert_eq!(images(&world), ["i:5"]);
}

#[test]
fn a_name_that_another_revision_has_is_counted_as_a_collision() {
    let mut other = World::new();
    other.apply(set(1, "i:1", &json!({})));
    let mut taken = other.of("controllerrevisions", "db-")[0].clone();
    taken["data"] = json!({ "spec": { "template": { "$patch": "replace" } } });
    taken["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "other", "uid": "other", "controller": true,
    }]);
    let mut world = World::new();
    world.apply(taken);
    world.apply(set(1, "i:1", &json!({})));
    assert_eq!(status(&world)["collisionCount"], 1);
    assert_eq!(world.of("controllerrevisions", "db-").len(), 2);
    assert_eq!(names(&world), ["db-0"]);
}

#[test]
fn pods_without_owner_are_taken_and_foreign_names_waited_for() {
    let mut world = World::new();
    let pod = |name: &str, labels: Value| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": "default", "labels": labels },
            "spec": { "containers": [{ "name": "c", "image": "i" }] },
        })
    };
    world.apply(pod("db-0", json!({ "app": "db" })));
    world.apply(pod("db-x", json!({ "app": "db" })));
    world.apply(pod("db-1", json!({ "app": "other" })));
    world.apply(set(2, "i:1", &json!({})));
    world.run("db-0", 1);
    let first = &world.pods("db-0")[0];
    assert_eq!(first["metadata"]["ownerReferences"][0]["name"], "db");
    assert_eq!(first["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"], "db-0");
    assert_eq!(world.pods("db-x")[0]["metadata"]["ownerReferences"], Value::Null);
    world.remove(&id("v1", "Pod", "db-1"));
    world.pass(Duration::from_secs(10));
    assert_eq!(world.pods("db-1")[0]["metadata"]["labels"]["app"], "db");
}

#[test]
fn revisions_without_owner_are_taken_and_a_set_that_goes_only_counts() {
    let mut world = running(1, &json!({}));
    let name = world.of("controllerrevisions", "db-")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let orphaned = json!({ "metadata": { "ownerReferences": null } });
    world.patch(&id("apps/v1", "ControllerRevision", &name), &orphaned);
    let revision = &world.of("controllerrevisions", "db-")[0];
    assert_eq!(revision["metadata"]["ownerReferences"][0]["name"], "db");
    let going = json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } });
    world.patch(&id("apps/v1", "StatefulSet", "db"), &going);
    world.remove(&id("v1", "Pod", "db-0"));
    assert!(names(&world).is_empty());
    assert_eq!(status(&world)["replicas"], 0);
}

/// A set of pods with a claim each.
fn with_claims(when_deleted: &str, when_scaled: &str) -> Value {
    json!({
        "persistentVolumeClaimRetentionPolicy": { "whenDeleted": when_deleted, "whenScaled": when_scaled },
        "volumeClaimTemplates": [{ "metadata": { "name": "data" }, "spec": {} }],
    })
}

fn owners(world: &World, claim: &str) -> Vec<String> {
    let claim = &world.of("persistentvolumeclaims", claim)[0];
    let owners = claim["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
    owners.iter().map(|owner| format!("{}/{}", owner["kind"], owner["name"]).replace('"', "")).collect()
}

#[test]
fn claims_come_before_their_pods_and_outlast_them() {
    let spec = with_claims("Retain", "Retain");
    let mut world = running(2, &spec);
    assert_eq!(world.of("persistentvolumeclaims", "data-db-").len(), 2);
    let volumes = &world.pods("db-1")[0]["spec"]["volumes"];
    assert_eq!(volumes[0]["persistentVolumeClaim"]["claimName"], "data-db-1");
    assert!(owners(&world, "data-db-1").is_empty());
    world.apply(set(1, "i:1", &spec));
    settle(&mut world);
    assert_eq!(world.of("persistentvolumeclaims", "data-db-").len(), 2);
    // A pod that waits for a node gets a claim that was deleted once more.
    world.apply(set(2, "i:1", &spec));
    world.remove(&id("v1", "PersistentVolumeClaim", "data-db-1"));
    assert_eq!(world.of("persistentvolumeclaims", "data-db-").len(), 2);
}

#[test]
fn claims_go_with_the_set_or_with_pods_that_are_too_many() {
    let spec = with_claims("Delete", "Delete");
    let mut world = running(2, &spec);
    assert_eq!(owners(&world, "data-db-1"), ["StatefulSet/db"]);
    world.apply(set(1, "i:1", &spec));
    assert_eq!(owners(&world, "data-db-0"), ["StatefulSet/db"]);
    assert_eq!(owners(&world, "data-db-1"), ["Pod/db-1"]);
    world.reap();
    // A claim that goes with a pod that is gone is not for the next.
    world.apply(set(2, "i:1", &spec));
    assert_eq!(names(&world), ["db-0"]);
    world.remove(&id("v1", "PersistentVolumeClaim", "data-db-1"));
    assert_eq!(names(&world), ["db-0", "db-1"]);
    let kept = with_claims("Retain", "Delete");
    world.apply(set(2, "i:1", &kept));
    settle(&mut world);
    assert!(owners(&world, "data-db-0").is_empty());
}

#[test]
fn what_is_refused_is_tried_again() {
    let mut world = World::new();
    world.refuses = Some("no room");
    world.apply(set(1, "i:1", &json!({})));
    assert!(names(&world).is_empty());
    world.refuses = None;
    world.pass(Duration::from_secs(60));
    assert_eq!(names(&world), ["db-0"]);
}

#[test]
fn a_pod_that_fails_at_once_is_replaced_ever_later() {
    let mut world = World::new();
    world.apply(set(1, "i:1", &json!({})));
    let second = Duration::from_secs(1);
    for held in [1, 2, 4] {
        world.end("db-0", 1, 1);
        assert_eq!(names(&world), ["db-0"], "kept for now");
        world.pass(second * (held - 1));
        assert_eq!(names(&world), ["db-0"], "kept for now");
        world.pass(second);
        assert_eq!(names(&world), ["db-0-"], "{held}");
        world.reap();
    }
}
