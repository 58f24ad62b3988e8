//! Automatic rollback of DaemonSets.

use std::time::Duration;

use serde_json::{Value, json};

use super::{pods, set, status};
use crate::controllers::world::World;

fn guarded(image: &str, spec: &Value) -> Value {
    let mut object = set(image, spec);
    object["metadata"]["annotations"] =
        json!({ "dunlin.dev/auto-rollback": "true", "dunlin.dev/progress-deadline-seconds": "60" });
    object
}

/// A world with these nodes, where the first revision runs everywhere.
fn running(nodes: &[&str], spec: &Value) -> World {
    let mut world = World::new();
    nodes.iter().for_each(|node| world.node(node, "True"));
    world.apply(guarded("i:1", spec));
    run(&mut world, "i:1");
    world
}

fn pinned_to(pod: &Value) -> Value {
    let terms =
        "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    pod.pointer(&format!("{terms}/0/matchFields/0/values/0")).cloned().unwrap()
}

/// Lets pods go that are to, and those of this image run, until nothing changes.
fn run(world: &mut World, image: &str) {
    loop {
        let before = world.objects.clone();
        world.reap();
        for pod in world.pods("agent-") {
            if pod["spec"]["containers"][0]["image"] == image && pod["status"]["phase"] != "Running" {
                serve(world, &pod);
            }
        }
        if before == world.objects {
            return;
        }
    }
}

fn serve(world: &mut World, pod: &Value) {
    let since = dunlin_api::time::format_time(world.now);
    let ready = json!({ "type": "Ready", "status": "True", "lastTransitionTime": since });
    let patch = json!({
        "spec": { "nodeName": pinned_to(pod) }, "status": { "phase": "Running", "conditions": [ready] },
    });
    world.patch_pod(pod["metadata"]["name"].as_str().unwrap(), &patch);
}

/// Takes a node offline with what runs there.
fn lose(world: &mut World, node: &str) {
    world.node(node, "Unknown");
    ready(world, node, ("False", "NodeNotReady"));
}

/// Lets it come back.
fn find(world: &mut World, node: &str) {
    world.node(node, "True");
    ready(world, node, ("True", ""));
}

fn ready(world: &mut World, node: &str, (status, reason): (&str, &str)) {
    let since = dunlin_api::time::format_time(world.now);
    let condition =
        json!({ "type": "Ready", "status": status, "reason": reason, "lastTransitionTime": since });
    for pod in world.pods("agent-").into_iter().filter(|pod| pod["spec"]["nodeName"] == node) {
        world.patch_pod(
            pod["metadata"]["name"].as_str().unwrap(),
            &json!({ "status": { "conditions": [condition] } }),
        );
    }
}

fn condition(world: &World, kind: &str) -> Value {
    let conditions = status(world)["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default()
}

fn template(world: &World) -> Value {
    world.of("daemonsets", "agent")[0]["spec"]["template"]["spec"]["containers"][0]["image"].clone()
}

#[test]
fn a_broken_revision_goes_back_once_and_is_not_tried_again() {
    let surging = json!({ "updateStrategy": { "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } } });
    for spec in [json!({}), surging] {
        let mut world = running(&["n1", "n2", "n3"], &spec);
        assert_eq!(condition(&world, "Progressing")["reason"], "NewRevisionAvailable");
        world.apply(guarded("broken", &spec));
        run(&mut world, "i:1");
        let broken = pods(&world).iter().filter(|pod| pod.contains("broken")).count();
        assert_eq!(broken, 1, "{:?}", pods(&world));
        world.pass(Duration::from_secs(59));
        assert_eq!(template(&world), "broken");
        world.pass(Duration::from_secs(2));
        run(&mut world, "i:1");
        assert_eq!(template(&world), "i:1");
        assert_eq!(pods(&world), ["n1 i:1", "n2 i:1", "n3 i:1"]);
        let said = condition(&world, "RolledBack");
        assert_eq!((&said["status"], &said["reason"]), (&json!("True"), &json!("ProgressDeadlineExceeded")));
        let message = said["message"].as_str().unwrap();
        assert!(message.starts_with("revision 2 (ControllerRevision \"agent-"), "{message}");
        assert!(message.contains("is rolled back to revision 1 (ControllerRevision \"agent-"), "{message}");
        assert!(message.contains("on 0 of 3 nodes") || message.contains("on 2 of 3 nodes"), "{message}");
        assert_eq!(world.told_of("Roll"), ["RollingBack", "RolledBack"]);

        // Somebody applies it again, and what it is kept from says so and runs everywhere, new nodes included.
        world.apply(guarded("broken", &spec));
        run(&mut world, "i:1");
        world.pass(Duration::from_secs(3600));
        world.node("n4", "True");
        run(&mut world, "i:1");
        assert_eq!(template(&world), "broken", "what was applied stays");
        assert_eq!(pods(&world), ["n1 i:1", "n2 i:1", "n3 i:1", "n4 i:1"]);
        assert_eq!(condition(&world, "RolledBack")["reason"], "NotTriedAgain");
        assert_eq!(status(&world)["updatedNumberScheduled"], Value::Null);
        let writes = world.writes;
        world.pass(Duration::from_secs(3600));
        assert_eq!(world.writes, writes);

        world.apply(guarded("i:3", &spec));
        assert_eq!(condition(&world, "RolledBack"), Value::Null, "it is about what nobody tries any more");
        run(&mut world, "i:3");
        assert_eq!(pods(&world), ["n1 i:3", "n2 i:3", "n3 i:3", "n4 i:3"]);
        assert_eq!(condition(&world, "RolledBack"), Value::Null);
        assert_eq!(world.told_of("Roll"), ["RollingBack", "RolledBack"]);
    }
}

#[test]
fn what_is_kept_runs_where_its_own_template_says() {
    let mut world = running(&["n1", "n2"], &json!({}));
    let elsewhere = json!({ "template": { "spec": { "nodeSelector": { "kubernetes.io/hostname": "n2" } } } });
    world.apply(guarded("broken", &elsewhere));
    run(&mut world, "i:1");
    assert_eq!(pods(&world), ["n2 broken"]);
    world.pass(Duration::from_secs(61));
    run(&mut world, "i:1");
    assert_eq!(pods(&world), ["n1 i:1", "n2 i:1"]);
    world.apply(guarded("broken", &elsewhere));
    run(&mut world, "i:1");
    assert_eq!(pods(&world), ["n1 i:1", "n2 i:1"]);
    world.node("n3", "True");
    run(&mut world, "i:1");
    assert_eq!(pods(&world), ["n1 i:1", "n2 i:1", "n3 i:1"], "a node that only the kept template wants");
}

#[test]
fn pods_that_keep_crashing_are_not_waited_for() {
    let mut world = running(&["n1", "n2"], &json!({}));
    world.apply(guarded("broken", &json!({})));
    run(&mut world, "i:1");
    let broken =
        world.pods("agent-").into_iter().find(|pod| pod["spec"]["containers"][0]["image"] == "broken");
    let broken = broken.unwrap();
    let waiting = json!({ "waiting": { "reason": "CrashLoopBackOff" } });
    let crashed = json!({
        "spec": { "nodeName": pinned_to(&broken) },
        "status": {
            "phase": "Running", "conditions": [{ "type": "Ready", "status": "False" }],
            "containerStatuses": [{ "name": "c", "restartCount": 5, "state": waiting }],
        },
    });
    world.patch_pod(broken["metadata"]["name"].as_str().unwrap(), &crashed);
    run(&mut world, "i:1");
    assert_eq!(template(&world), "i:1");
    let message = condition(&world, "RolledBack")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("was restarted 5 times"), "{message}");
    assert!(message.contains("is in CrashLoopBackOff"), "{message}");
}

#[test]
fn offline_nodes_miss_no_deadline_and_go_through_it_when_they_are_back() {
    let mut world = running(&["n1", "n2", "n3"], &json!({}));
    lose(&mut world, "n2");
    lose(&mut world, "n3");
    world.apply(guarded("i:2", &json!({})));
    run(&mut world, "i:2");
    world.pass(Duration::from_secs(3600));
    assert_eq!(template(&world), "i:2");
    assert_eq!(condition(&world, "Progressing")["reason"], "NewRevisionAvailable");
    assert_eq!(condition(&world, "RolledBack"), Value::Null);
    // The next is broken: one node is enough to know it, and those that are offline never see it.
    world.apply(guarded("broken", &json!({})));
    run(&mut world, "i:2");
    world.pass(Duration::from_secs(61));
    run(&mut world, "i:2");
    assert_eq!(pods(&world), ["n1 i:2", "n2 i:1", "n3 i:1"]);
    let message = condition(&world, "RolledBack")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("on 0 of 1 nodes"), "{message}");
    find(&mut world, "n2");
    assert_eq!(condition(&world, "Progressing")["reason"], "RevisionUpdated", "its turn has come");
    run(&mut world, "i:2");
    assert_eq!(pods(&world), ["n1 i:2", "n2 i:2", "n3 i:1"]);
    assert_eq!(condition(&world, "Progressing")["reason"], "NewRevisionAvailable");
}

#[test]
fn nodes_that_come_and_go_are_no_progress() {
    let spec = json!({ "updateStrategy": { "rollingUpdate": { "maxUnavailable": 1 } } });
    let mut world = running(&["n1", "n2", "n3"], &spec);
    world.apply(guarded("i:2", &spec));
    // The first node takes the new revision well, the second does not.
    world.reap();
    let first = world.pods("agent-").into_iter().find(|pod| pinned_to(pod) == "n1").unwrap();
    serve(&mut world, &first);
    world.reap();
    for _ in 0..7 {
        lose(&mut world, "n1");
        world.pass(Duration::from_secs(5));
        find(&mut world, "n1");
        world.pass(Duration::from_secs(5));
    }
    run(&mut world, "i:1");
    assert_eq!(template(&world), "i:1");
    assert_eq!(pods(&world), ["n1 i:1", "n2 i:1", "n3 i:1"]);
}

#[test]
fn the_revision_to_go_back_to_outlives_the_limit_of_the_history() {
    let spec = json!({ "revisionHistoryLimit": 0 });
    let mut world = running(&["n1"], &spec);
    for image in ["broken:1", "broken:2"] {
        world.apply(guarded(image, &spec));
        world.reap();
    }
    world.pass(Duration::from_secs(61));
    run(&mut world, "i:1");
    assert_eq!(template(&world), "i:1");
    assert_eq!(pods(&world), ["n1 i:1"]);
}

#[test]
fn a_stable_revision_that_fails_stays() {
    let mut world = running(&["n1", "n2"], &json!({}));
    world.apply(guarded("i:2", &json!({})));
    run(&mut world, "i:2");
    world.apply(guarded("i:1", &json!({})));
    world.reap();
    world.pass(Duration::from_secs(61));
    world.pass(Duration::from_secs(3600));
    assert_eq!(template(&world), "i:1");
    assert_eq!(condition(&world, "RolledBack")["reason"], "StableRevisionFails");
    assert_eq!(world.told_of("Roll"), ["NotRolledBack"]);
}

#[test]
fn without_the_annotation_nothing_is_said_and_nothing_happens() {
    let mut world = World::new();
    world.node("n1", "True");
    world.apply(set("i:1", &json!({})));
    run(&mut world, "i:1");
    world.apply(set("broken", &json!({})));
    run(&mut world, "i:1");
    world.pass(Duration::from_secs(3600));
    assert_eq!(status(&world)["conditions"], Value::Null);
    assert_eq!(template(&world), "broken");
}
