//! Rollouts in a small cluster: their bounds, deadline, history and what is told.

mod offline;
mod rollback;

use std::time::Duration;

use serde_json::{Value, json};

use crate::controllers::world::{World, id};

fn deployment(replicas: i64, image: &str, strategy: Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "web", "namespace": "default" },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": "web" } },
            "strategy": strategy,
            "progressDeadlineSeconds": 600,
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "c", "image": image }] },
            },
        },
    })
}

fn rolling(surge: Value, unavailable: Value) -> Value {
    json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": surge, "maxUnavailable": unavailable } })
}

fn status(world: &World) -> Value {
    world.of("deployments", "web")[0]["status"].clone()
}

fn condition(world: &World, kind: &str) -> Value {
    let conditions = status(world)["conditions"].clone();
    conditions
        .as_array()
        .unwrap()
        .iter()
        .find(|condition| condition["type"] == kind)
        .cloned()
        .unwrap_or_default()
}

/// Revision and size of every set, by revision.
fn sets(world: &World) -> Vec<(String, i64)> {
    let revision = |set: &Value| {
        set["metadata"]["annotations"]["deployment.kubernetes.io/revision"].as_str().unwrap().to_owned()
    };
    let mut sets: Vec<_> = world
        .of("replicasets", "web-")
        .iter()
        .map(|set| (revision(set), set["spec"]["replicas"].as_i64().unwrap()))
        .collect();
    sets.sort();
    sets
}

fn pods(world: &World) -> (usize, usize) {
    let pods = world.pods("web-");
    let available = pods.iter().filter(|pod| {
        pod["status"]["conditions"][0]["status"] == "True" && pod["metadata"]["deletionTimestamp"].is_null()
    });
    let there = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    (there.count(), available.count())
}

#[test]
fn a_rollout_keeps_within_its_bounds_and_completes() {
    for (surge, unavailable, most, least) in [
        (json!(1), json!(0), 11, 10),
        (json!(0), json!(1), 10, 9),
        (json!("25%"), json!("25%"), 13, 8),
        (json!("100%"), json!(0), 20, 10),
        (json!(0), json!("100%"), 10, 0),
    ] {
        let mut world = World::new();
        world.apply(deployment(10, "i:1", rolling(surge.clone(), unavailable.clone())));
        world.run_all("web-");
        assert_eq!(status(&world)["availableReplicas"], 10);
        assert_eq!(condition(&world, "Progressing")["reason"], "NewReplicaSetAvailable");
        world.apply(deployment(10, "i:2", rolling(surge, unavailable)));
        for _ in 0..100 {
            let (there, available) = pods(&world);
            assert!(there <= most, "{there} pods, {most} allowed");
            assert!(available >= least, "{available} available, {least} needed");
            if sets(&world) == [("1".to_owned(), 0), ("2".to_owned(), 10)] && available == 10 {
                break;
            }
            world.run("web-", 1);
            world.reap();
        }
        world.run_all("web-");
        assert_eq!(sets(&world), [("1".to_owned(), 0), ("2".to_owned(), 10)]);
        assert_eq!(status(&world)["updatedReplicas"], 10);
        assert_eq!(condition(&world, "Progressing")["reason"], "NewReplicaSetAvailable");
        let writes = world.writes;
        world.pass(Duration::from_secs(3600));
        assert_eq!(world.writes, writes, "nothing is written at rest");
    }
}

#[test]
fn a_rollout_that_gets_on_no_further_misses_its_deadline() {
    let mut world = World::new();
    world.apply(deployment(4, "i:1", rolling(json!(1), json!(0))));
    world.run_all("web-");
    world.apply(deployment(4, "broken", rolling(json!(1), json!(0))));
    world.pass(Duration::from_secs(500));
    assert_eq!(condition(&world, "Progressing")["status"], "True");
    world.pass(Duration::from_secs(102));
    assert_eq!(condition(&world, "Progressing")["reason"], "ProgressDeadlineExceeded");
    assert_eq!(condition(&world, "Progressing")["status"], "False");
    assert_eq!(condition(&world, "Available")["status"], "True");
    assert_eq!(pods(&world).1, 4, "those that serve stay");
    world.apply(deployment(4, "i:1", rolling(json!(1), json!(0))));
    world.run_all("web-");
    assert_eq!(condition(&world, "Progressing")["reason"], "NewReplicaSetAvailable");
    assert_eq!(sets(&world), [("2".to_owned(), 0), ("3".to_owned(), 4)], "going back is a new revision");
    let newest =
        world.of("replicasets", "web-").into_iter().find(|set| set["spec"]["replicas"] == 4).unwrap();
    assert_eq!(newest["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"], "1");
}

#[test]
fn recreate_waits_for_the_last_old_pod() {
    let mut world = World::new();
    world.apply(deployment(3, "i:1", json!({ "type": "Recreate" })));
    world.run_all("web-");
    world.apply(deployment(3, "i:2", json!({ "type": "Recreate" })));
    assert_eq!(pods(&world).0, 0);
    assert_eq!(
        world.of("replicasets", "web-").len(),
        1,
        "no set of the new revision before the old pods are gone"
    );
    world.reap();
    world.run_all("web-");
    assert_eq!(pods(&world), (3, 3));
    assert_eq!(sets(&world), [("1".to_owned(), 0), ("2".to_owned(), 3)]);
}

#[test]
fn a_paused_deployment_scales_and_rolls_only_when_it_goes_on() {
    let mut world = World::new();
    world.apply(deployment(3, "i:1", rolling(json!(1), json!(0))));
    world.run_all("web-");
    let mut paused = deployment(5, "i:2", rolling(json!(1), json!(0)));
    paused["spec"]["paused"] = true.into();
    world.apply(paused);
    world.run_all("web-");
    assert_eq!(sets(&world), [("1".to_owned(), 5)]);
    assert_eq!(condition(&world, "Progressing")["reason"], "DeploymentPaused");
    world.patch(&id("apps/v1", "Deployment", "web"), &json!({ "spec": { "paused": false } }));
    for _ in 0..20 {
        world.run_all("web-");
        world.reap();
    }
    assert_eq!(sets(&world), [("1".to_owned(), 0), ("2".to_owned(), 5)]);
    assert_eq!(condition(&world, "Progressing")["reason"], "NewReplicaSetAvailable");
}

#[test]
fn scaling_in_the_middle_of_a_rollout_keeps_shares() {
    let mut world = World::new();
    world.apply(deployment(10, "i:1", rolling(json!(3), json!(2))));
    world.run_all("web-");
    world.apply(deployment(10, "broken", rolling(json!(3), json!(2))));
    world.reap();
    assert_eq!(sets(&world), [("1".to_owned(), 8), ("2".to_owned(), 5)]);
    // The example of Kubernetes' documentation: five more are shared out as 3 and 2.
    world.apply(deployment(15, "broken", rolling(json!(3), json!(2))));
    assert_eq!(sets(&world), [("1".to_owned(), 11), ("2".to_owned(), 7)]);
}

#[test]
fn only_so_many_old_sets_are_kept() {
    let mut world = World::new();
    for revision in 0..5 {
        let mut next = deployment(1, &format!("i:{revision}"), rolling(json!(1), json!(0)));
        next["spec"]["revisionHistoryLimit"] = 2.into();
        world.apply(next);
        for _ in 0..3 {
            world.run_all("web-");
            world.reap();
        }
    }
    let revisions: Vec<String> = sets(&world).into_iter().map(|(revision, _)| revision).collect();
    assert_eq!(revisions, ["3", "4", "5"]);
    let annotation = &world.of("deployments", "web")[0]["metadata"]["annotations"];
    assert_eq!(annotation["deployment.kubernetes.io/revision"], "5");
}

#[test]
fn a_set_that_is_in_the_way_is_a_collision() {
    let mut world = World::new();
    let object = deployment(1, "i:1", rolling(json!(1), json!(0)));
    let digest = crate::view::workload::TemplateDigest::of(&object["spec"]["template"]);
    let taken = format!("web-{}", digest.hash_label(0));
    world.apply(json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": { "name": taken, "namespace": "default", "labels": { "app": "other" } },
        "spec": {
            "replicas": 0, "selector": { "matchLabels": { "app": "other" } },
            "template": { "metadata": { "labels": { "app": "other" } }, "spec": {} },
        },
    }));
    world.apply(object);
    assert_eq!(status(&world)["collisionCount"], 1);
    assert_eq!(world.of("replicasets", "web-").len(), 2);
    assert_eq!(world.pods("web-").len(), 1);
}

#[test]
fn sets_without_owner_are_adopted_by_template() {
    let mut world = World::new();
    world.apply(deployment(2, "i:1", rolling(json!(1), json!(0))));
    world.run_all("web-");
    let name = world.of("replicasets", "web-")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let deployment_id = id("apps/v1", "Deployment", "web");
    world.remove(&deployment_id);
    world.patch(&id("apps/v1", "ReplicaSet", &name), &json!({ "metadata": { "ownerReferences": [] } }));
    world.apply(deployment(2, "i:1", rolling(json!(1), json!(0))));
    world.run_all("web-");
    assert_eq!(world.of("replicasets", "web-").len(), 1);
    let owner = &world.objects[&id("apps/v1", "ReplicaSet", &name)]["metadata"]["ownerReferences"][0];
    assert_eq!(owner["uid"], world.objects[&deployment_id]["metadata"]["uid"]);
}

#[test]
fn what_happens_to_sets_is_told() {
    let mut world = World::new();
    world.apply(deployment(2, "i:1", rolling(json!(1), json!(0))));
    world.run_all("web-");
    world.apply(deployment(4, "i:1", rolling(json!(1), json!(0))));
    let name = world.of("replicasets", "web-")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let told: Vec<_> =
        world.told.iter().map(|(reason, message)| (reason.as_str(), message.as_str())).collect();
    let first = format!("Scaled up replica set {name} from 0 to 2");
    let second = format!("Scaled up replica set {name} from 2 to 4");
    assert_eq!(told, [("ScalingReplicaSet", &*first), ("ScalingReplicaSet", &*second)]);
}

#[test]
fn what_keeps_a_set_from_being_made_is_said() {
    let mut world = World::new();
    world.refuses = Some("no more sets");
    world.apply(deployment(2, "i:1", rolling(json!(1), json!(0))));
    let progressing = condition(&world, "Progressing");
    assert_eq!(progressing["reason"], "ReplicaSetCreateError");
    assert!(progressing["message"].as_str().unwrap().ends_with(": no more sets"));
    world.refuses = None;
    world.pass(Duration::from_secs(60));
    world.run_all("web-");
    assert_eq!(condition(&world, "Progressing")["reason"], "NewReplicaSetAvailable");
}

#[test]
fn a_rollout_goes_on_that_is_scaled_and_told_to_recreate_in_the_middle() {
    let mut world = World::new();
    world.apply(deployment(2, "i:1", rolling(json!(1), json!(0))));
    world.run_all("web-");
    world.apply(deployment(2, "i:2", rolling(json!(1), json!(0))));
    assert_eq!(pods(&world).0, 3, "both revisions have pods");
    world.apply(deployment(1, "i:2", json!({ "type": "Recreate" })));
    world.reap();
    world.run_all("web-");
    assert_eq!(sets(&world), [("1".to_owned(), 0), ("2".to_owned(), 1)]);
    assert_eq!(status(&world)["availableReplicas"], 1);
}
