//! Automatic rollback: once, to what was stable, and never in a loop.

use std::time::Duration;

use serde_json::{Value, json};

use super::{condition, deployment, rolling, sets, status};
use crate::controllers::world::{World, id};

fn guarded(image: &str) -> Value {
    let mut object = deployment(4, image, rolling(json!(1), json!(0)));
    object["metadata"]["annotations"] = json!({ "dunlin.dev/auto-rollback": "true" });
    object
}

/// Runs what comes of the image, until nothing changes.
fn run(world: &mut World, image: &str) {
    for _ in 0..100 {
        let before = world.objects.clone();
        let pods = world.pods("web-").into_iter();
        let waiting = pods.filter(|pod| {
            pod["spec"]["containers"][0]["image"] == image && pod["status"]["phase"] != "Running"
        });
        for pod in waiting.collect::<Vec<_>>() {
            run_on(world, pod["metadata"]["name"].as_str().unwrap(), "n1");
        }
        world.reap();
        if before == world.objects {
            return;
        }
    }
    panic!("pods come and go without an end");
}

pub(super) fn run_on(world: &mut World, pod: &str, node: &str) {
    let since = dunlin_api::time::format_time(world.now);
    world.patch_pod(
        pod,
        &json!({
            "spec": { "nodeName": node },
            "status": { "phase": "Running", "conditions": [
                { "type": "Ready", "status": "True", "lastTransitionTime": since },
            ] },
        }),
    );
}

fn image(world: &World) -> Value {
    world.of("deployments", "web")[0]["spec"]["template"]["spec"]["containers"][0]["image"].clone()
}

/// Names of events, but those about sizes.
fn told(world: &World) -> Vec<&str> {
    let reasons = world.told.iter().map(|(reason, _)| reason.as_str());
    reasons.filter(|reason| !reason.starts_with("Scaling")).collect()
}

/// A Deployment whose second revision is broken, at the moment in which it was rolled back.
fn rolled_back() -> World {
    let mut world = World::new();
    world.apply(guarded("i:1"));
    run(&mut world, "i:1");
    world.apply(guarded("broken"));
    world.pass(Duration::from_secs(602));
    run(&mut world, "i:1");
    world
}

#[test]
fn a_missed_deadline_goes_back_to_what_was_stable() {
    let mut world = rolled_back();
    assert_eq!(image(&world), "i:1");
    assert_eq!(sets(&world), [("2".to_owned(), 0), ("3".to_owned(), 4)]);
    let said = condition(&world, "RolledBack");
    assert_eq!((&said["status"], &said["reason"]), (&json!("True"), &json!("ProgressDeadlineExceeded")));
    let message = said["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("revision 2 (ReplicaSet \"web-"), "{message}");
    assert!(message.contains(" is rolled back to revision 1 (ReplicaSet \"web-"), "{message}");
    assert!(message.ends_with("has timed out progressing; 0 of 1 new pods are available"), "{message}");
    assert_eq!(condition(&world, "Progressing")["reason"], "NewReplicaSetAvailable");
    assert_eq!(told(&world), ["RollingBack", "RolledBack"]);
    let (writes, before) = (world.writes, world.objects.clone());
    world.pass(Duration::from_secs(7200));
    assert_eq!((world.writes, &world.objects), (writes, &before), "and stays there");
}

#[test]
fn what_was_rolled_back_from_is_not_tried_again_until_the_template_changes() {
    let mut world = rolled_back();
    world.apply(guarded("broken"));
    world.pass(Duration::from_secs(7200));
    run(&mut world, "i:1");
    assert_eq!(image(&world), "broken", "what was applied stays, so that nobody fights over it");
    assert_eq!(sets(&world), [("2".to_owned(), 0), ("3".to_owned(), 4)]);
    assert_eq!(condition(&world, "RolledBack")["reason"], "NotTriedAgain");
    assert_eq!(condition(&world, "Progressing")["reason"], "ProgressDeadlineExceeded");
    assert_eq!(condition(&world, "Available")["status"], "True");
    assert_eq!(status(&world)["updatedReplicas"], Value::Null);
    let mut larger = guarded("broken");
    larger["spec"]["replicas"] = 6.into();
    world.apply(larger.clone());
    run(&mut world, "i:1");
    assert_eq!(sets(&world), [("2".to_owned(), 0), ("3".to_owned(), 6)], "it can be scaled meanwhile");
    larger["spec"]["template"]["spec"]["containers"][0]["image"] = "i:3".into();
    world.apply(larger);
    run(&mut world, "i:3");
    assert_eq!(sets(&world), [("2".to_owned(), 0), ("3".to_owned(), 0), ("4".to_owned(), 6)]);
    assert_eq!(condition(&world, "RolledBack"), Value::Null);
    assert_eq!(condition(&world, "Progressing")["reason"], "NewReplicaSetAvailable");
    assert_eq!(told(&world), ["RollingBack", "RolledBack"]);
}

#[test]
fn the_annotation_may_come_with_the_template_that_is_broken() {
    let mut world = World::new();
    let mut plain = guarded("i:1");
    plain["metadata"]["annotations"] = json!({});
    world.apply(plain);
    run(&mut world, "i:1");
    world.apply(guarded("broken"));
    world.pass(Duration::from_secs(602));
    run(&mut world, "i:1");
    assert_eq!(sets(&world), [("2".to_owned(), 0), ("3".to_owned(), 4)]);
}

#[test]
fn a_stable_revision_that_fails_stays() {
    let mut world = rolled_back();
    // Its pods are gone, and new ones do not come up any more.
    world.apply(guarded("i:3"));
    run(&mut world, "i:3");
    let mut back = guarded("i:1");
    back["spec"]["replicas"] = 5.into();
    world.apply(back);
    world.pass(Duration::from_secs(602));
    world.pass(Duration::from_secs(7200));
    assert_eq!(image(&world), "i:1");
    let said = condition(&world, "RolledBack");
    assert_eq!((&said["status"], &said["reason"]), (&json!("False"), &json!("StableRevisionFails")));
    assert_eq!(told(&world), ["RollingBack", "RolledBack", "NotRolledBack"]);
}

#[test]
fn a_first_revision_has_nothing_to_go_back_to() {
    let mut world = World::new();
    world.apply(guarded("broken"));
    world.pass(Duration::from_secs(602));
    world.pass(Duration::from_secs(7200));
    let said = condition(&world, "RolledBack");
    assert_eq!((&said["status"], &said["reason"]), (&json!("False"), &json!("NoStableRevision")));
    assert_eq!(told(&world), ["NotRolledBack"]);
}

#[test]
fn pods_that_keep_crashing_are_not_waited_for() {
    let check = |policy: &str, expected: &[(&str, i64)]| {
        let mut world = World::new();
        let of = |image: &str| {
            let mut object = guarded(image);
            object["metadata"]["annotations"]["dunlin.dev/auto-rollback"] = policy.into();
            object
        };
        world.apply(of("i:1"));
        run(&mut world, "i:1");
        world.apply(of("crasher"));
        let crashed = |count: u32| {
            json!({ "status": { "phase": "Running", "containerStatuses": [
                { "name": "c", "restartCount": count, "state": { "waiting": { "reason": "CrashLoopBackOff" } } },
            ] } })
        };
        let pods = world.pods("web-");
        let pod = pods.iter().find(|pod| pod["spec"]["containers"][0]["image"] == "crasher").unwrap();
        let name = pod["metadata"]["name"].as_str().unwrap();
        for count in 1..=5 {
            world.patch_pod(name, &crashed(count));
        }
        run(&mut world, "i:1");
        let expected: Vec<_> =
            expected.iter().map(|(revision, size)| ((*revision).to_owned(), *size)).collect();
        assert_eq!(sets(&world), expected);
        world
    };
    let world = check("true", &[("2", 0), ("3", 4)]);
    let message = condition(&world, "RolledBack")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("keeps crashing: pod web-"), "{message}");
    assert!(message.contains("was restarted 5 times; 0 of 1 new pods are available, pod web-"), "{message}");
    assert!(message.ends_with(" is in CrashLoopBackOff"), "{message}");
    check("deadline", &[("1", 4), ("2", 1)]);
}

#[test]
fn conditions_of_others_and_the_own_survive() {
    let mut world = rolled_back();
    let mut conditions = status(&world)["conditions"].clone();
    conditions.as_array_mut().unwrap().push(json!({ "type": "Mine", "status": "True", "reason": "Because" }));
    world.patch(&id("apps/v1", "Deployment", "web"), &json!({ "status": { "conditions": conditions } }));
    let mut larger = guarded("i:1");
    larger["spec"]["replicas"] = 5.into();
    world.apply(larger);
    run(&mut world, "i:1");
    assert_eq!(status(&world)["availableReplicas"], 5);
    assert_eq!(condition(&world, "Mine")["reason"], "Because");
    assert_eq!(condition(&world, "RolledBack")["status"], "True");
}

#[test]
fn history_keeps_what_a_rollback_needs() {
    let mut world = World::new();
    let of = |image: &str| {
        let mut object = guarded(image);
        object["spec"]["revisionHistoryLimit"] = 0.into();
        object
    };
    world.apply(of("i:1"));
    run(&mut world, "i:1");
    world.apply(of("broken"));
    world.pass(Duration::from_secs(602));
    run(&mut world, "i:1");
    world.apply(of("broken"));
    world.pass(Duration::from_secs(7200));
    run(&mut world, "i:1");
    assert_eq!(sets(&world), [("2".to_owned(), 0), ("3".to_owned(), 4)]);
    assert_eq!(told(&world), ["RollingBack", "RolledBack"]);
}
