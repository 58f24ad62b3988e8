//! Automatic rollback of StatefulSets.

use std::time::Duration;

use serde_json::{Value, json};

use super::{images, names, set, status};
use crate::controllers::world::World;

fn guarded(image: &str, spec: &Value) -> Value {
    let mut object = set(3, image, spec);
    object["metadata"]["annotations"] =
        json!({ "dunlin.dev/auto-rollback": "true", "dunlin.dev/progress-deadline-seconds": "60" });
    object
}

fn condition(world: &World, kind: &str) -> Value {
    let conditions = status(world)["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default()
}

/// Lets pods go that are to, and new ones of this image run, until nothing changes.
fn run(world: &mut World, image: &str) {
    loop {
        let before = world.objects.clone();
        world.reap();
        for pod in world.pods("db-") {
            if pod["spec"]["containers"][0]["image"] == image && pod["status"]["phase"] != "Running" {
                let since = dunlin_api::time::format_time(world.now);
                let ready = json!({ "type": "Ready", "status": "True", "lastTransitionTime": since });
                let patch = json!({
                    "spec": { "nodeName": "n1" }, "status": { "phase": "Running", "conditions": [ready] },
                });
                world.patch_pod(pod["metadata"]["name"].as_str().unwrap(), &patch);
            }
        }
        if before == world.objects {
            return;
        }
    }
}

fn template(world: &World) -> Value {
    world.of("statefulsets", "db")[0]["spec"]["template"]["spec"]["containers"][0]["image"].clone()
}

#[test]
fn a_broken_revision_goes_back_once_and_is_not_tried_again() {
    for spec in [json!({}), json!({ "podManagementPolicy": "Parallel" })] {
        let mut world = World::new();
        world.apply(guarded("i:1", &spec));
        run(&mut world, "i:1");
        assert_eq!(condition(&world, "Progressing")["reason"], "NewRevisionAvailable");
        world.apply(guarded("broken", &spec));
        run(&mut world, "i:1");
        assert_eq!(images(&world), ["i:1", "i:1", "broken"]);
        world.pass(Duration::from_secs(59));
        assert_eq!(template(&world), "broken");
        world.pass(Duration::from_secs(2));
        run(&mut world, "i:1");
        assert_eq!(template(&world), "i:1");
        assert_eq!(images(&world), ["i:1"; 3], "the pod that never served makes way, also in order");
        let said = condition(&world, "RolledBack");
        assert_eq!((&said["status"], &said["reason"]), (&json!("True"), &json!("ProgressDeadlineExceeded")));
        let message = said["message"].as_str().unwrap();
        assert!(message.starts_with("revision 2 (ControllerRevision \"db-"), "{message}");
        assert!(message.contains("is rolled back to revision 1 (ControllerRevision \"db-"), "{message}");
        assert_eq!(world.told_of("Roll"), ["RollingBack", "RolledBack"]);

        world.apply(guarded("broken", &spec));
        run(&mut world, "i:1");
        world.pass(Duration::from_secs(3600));
        assert_eq!(template(&world), "broken", "what was applied stays");
        assert_eq!(images(&world), ["i:1"; 3]);
        assert_eq!(condition(&world, "RolledBack")["reason"], "NotTriedAgain");
        assert_ne!(status(&world)["currentRevision"], status(&world)["updateRevision"]);
        world.remove(&crate::controllers::world::id("v1", "Pod", "db-1"));
        run(&mut world, "i:1");
        assert_eq!(images(&world), ["i:1"; 3], "pods are made of what is kept");
        let writes = world.writes;
        world.pass(Duration::from_secs(3600));
        assert_eq!(world.writes, writes);

        world.apply(guarded("i:3", &spec));
        run(&mut world, "i:3");
        assert_eq!(images(&world), ["i:3"; 3]);
        assert_eq!(condition(&world, "RolledBack"), Value::Null);
        assert_eq!(world.told_of("Roll"), ["RollingBack", "RolledBack"]);
    }
}

#[test]
fn without_the_annotation_nothing_is_said_and_nothing_happens() {
    let mut world = World::new();
    world.apply(set(3, "i:1", &json!({})));
    run(&mut world, "i:1");
    world.apply(set(3, "broken", &json!({})));
    run(&mut world, "i:1");
    world.pass(Duration::from_secs(3600));
    assert_eq!(status(&world)["conditions"], Value::Null);
    assert_eq!(template(&world), "broken");
}

#[test]
fn a_stable_revision_that_fails_stays() {
    let mut world = World::new();
    world.apply(guarded("i:1", &json!({})));
    run(&mut world, "i:1");
    world.apply(guarded("i:2", &json!({})));
    run(&mut world, "i:2");
    world.apply(guarded("i:1", &json!({})));
    world.reap();
    world.pass(Duration::from_secs(61));
    world.pass(Duration::from_secs(3600));
    assert_eq!(template(&world), "i:1");
    assert_eq!(condition(&world, "RolledBack")["reason"], "StableRevisionFails");
    assert_eq!(names(&world), ["db-0", "db-1", "db-2"]);
}
