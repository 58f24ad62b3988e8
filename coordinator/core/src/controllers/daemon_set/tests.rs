//! DaemonSets in a small cluster: which nodes have a pod, how failed ones come back, how old ones make way, and the history.

mod offline;
mod rollback;

use std::time::Duration;

use serde_json::{Value, json};

use crate::controllers::world::{World, id};

fn set(image: &str, spec: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": { "name": "agent", "namespace": "default" },
        "spec": {
            "selector": { "matchLabels": { "app": "agent" } },
            "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 1, "maxSurge": 0 } },
            "template": {
                "metadata": { "labels": { "app": "agent" } },
                "spec": { "containers": [{ "name": "c", "image": image }] },
            },
        },
    });
    dunlin_api::patch::merge(&mut object["spec"], spec.clone());
    object
}

fn node(name: &str, labels: Value, taints: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": name, "namespace": "default", "labels": labels },
        "spec": { "taints": taints },
    })
}

fn plain(name: &str) -> Value {
    node(name, json!({}), json!([]))
}

/// A world with so many nodes, `n1` the first.
fn world(nodes: usize) -> World {
    let mut world = World::new();
    (1..=nodes).for_each(|number| world.apply(plain(&format!("n{number}"))));
    world
}

/// The same where a DaemonSet runs everywhere.
fn running(nodes: usize, spec: &Value) -> World {
    let mut world = world(nodes);
    world.apply(set("i:1", spec));
    settle(&mut world);
    world
}

/// Lets pods that are to go do so and new ones run, until nothing changes.
fn settle(world: &mut World) {
    loop {
        let before = world.objects.clone();
        world.reap();
        world.run_all("agent-");
        if before == world.objects {
            return;
        }
    }
}

fn status(world: &World) -> Value {
    world.of("daemonsets", "agent")[0]["status"].clone()
}

/// Node and image of each pod, with a mark at those that are about to go.
fn pods(world: &World) -> Vec<String> {
    let terms =
        "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0";
    let shown = |pod: &Value| {
        let node = pod.pointer(&format!("{terms}/matchFields/0/values/0")).unwrap_or(&Value::Null);
        let image = &pod["spec"]["containers"][0]["image"];
        let mark = if pod["metadata"]["deletionTimestamp"].is_null() { "" } else { " -" };
        format!("{} {}{mark}", node.as_str().unwrap_or("?"), image.as_str().unwrap())
    };
    let mut pods: Vec<String> =
        world.pods("agent-").iter().filter(|pod| pod["kind"] == "Pod").map(shown).collect();
    pods.sort_unstable();
    pods
}

#[test]
fn every_node_gets_a_pod_and_a_new_one_as_well() {
    let mut world = world(2);
    world.apply(set("i:1", &json!({})));
    assert_eq!(pods(&world), ["n1 i:1", "n2 i:1"]);
    settle(&mut world);
    let expected = json!({
        "observedGeneration": 1, "desiredNumberScheduled": 2, "currentNumberScheduled": 2, "updatedNumberScheduled": 2,
        "numberMisscheduled": 0, "numberReady": 2, "numberAvailable": 2,
    });
    assert_eq!(status(&world), expected);
    let writes = world.writes;
    world.pass(Duration::from_secs(3600));
    assert_eq!(world.writes, writes, "nothing is written at rest");
    world.apply(plain("n3"));
    assert_eq!(pods(&world), ["n1 i:1", "n2 i:1", "n3 i:1"]);
    assert_eq!(status(&world)["numberUnavailable"], 1);
    // A pod that waits for a node that is gone goes as well.
    world.remove(&id("v1", "Node", "n3"));
    assert_eq!(pods(&world), ["n1 i:1", "n2 i:1", "n3 i:1 -"]);
    assert_eq!(status(&world)["desiredNumberScheduled"], 2);
}

#[test]
fn labels_and_taints_decide_where_pods_are() {
    let spec = json!({ "template": { "spec": { "nodeSelector": { "disk": "fast" } } } });
    let mut world = world(1);
    world.apply(node("n2", json!({ "disk": "fast" }), json!([])));
    world.apply(set("i:1", &spec));
    assert_eq!(pods(&world), ["n2 i:1"]);
    world.apply(node("n1", json!({ "disk": "fast" }), json!([])));
    settle(&mut world);
    assert_eq!(pods(&world), ["n1 i:1", "n2 i:1"]);
    // A taint that keeps pods out lets those stay that are there, but counts them apart.
    let taint = |key: &str, effect: &str| json!([{ "key": key, "effect": effect }]);
    world.apply(node("n2", json!({ "disk": "fast" }), taint("k", "NoSchedule")));
    assert_eq!(pods(&world), ["n1 i:1", "n2 i:1"]);
    assert_eq!(
        (&status(&world)["desiredNumberScheduled"], &status(&world)["numberMisscheduled"]),
        (&json!(1), &json!(1))
    );
    world.apply(node("n2", json!({ "disk": "fast" }), taint("k", "NoExecute")));
    assert_eq!(pods(&world), ["n1 i:1", "n2 i:1 -"]);
    // What all of these pods tolerate changes nothing.
    for key in ["unschedulable", "memory-pressure", "disk-pressure", "pid-pressure"] {
        world.apply(node(
            "n1",
            json!({ "disk": "fast" }),
            taint(&format!("node.kubernetes.io/{key}"), "NoSchedule"),
        ));
        assert_eq!(pods(&world)[0], "n1 i:1");
        assert_eq!(status(&world)["desiredNumberScheduled"], 1, "{key}");
    }
    world.apply(node("n1", json!({ "disk": "slow" }), json!([])));
    assert_eq!(pods(&world), ["n1 i:1 -", "n2 i:1 -"]);
}

#[test]
fn a_change_of_a_node_that_means_nothing_touches_no_daemon_set() {
    let mut world = running(2, &json!({}));
    let key = crate::reconciler::Key::Workload(id("apps/v1", "DaemonSet", "agent"));
    let mut changed = plain("n1");
    changed["status"] = json!({ "conditions": [{ "type": "Ready", "status": "True" }] });
    let name = dunlin_link::NodeName::new("n1");
    world.reconciler.fold_node(&name, changed.to_string().as_bytes()).unwrap();
    assert!(!world.reconciler.take_due(world.now).contains(&key));
}

#[test]
fn failed_pods_are_replaced_ever_later_and_those_that_succeeded_at_once() {
    let mut world = running(1, &json!({}));
    let fail = |world: &mut World| {
        world.reap();
        world.run_all("agent-");
        world.end("agent-", 1, 1);
    };
    fail(&mut world);
    // One that has ended does not keep the next back.
    assert_eq!(pods(&world), ["n1 i:1", "n1 i:1 -"]);
    fail(&mut world);
    assert_eq!(pods(&world), ["n1 i:1"], "it has to wait");
    world.pass(Duration::from_secs(1));
    assert_eq!(pods(&world), ["n1 i:1", "n1 i:1 -"]);
    fail(&mut world);
    world.pass(Duration::from_secs(1));
    assert_eq!(pods(&world), ["n1 i:1"]);
    world.pass(Duration::from_secs(1));
    assert_eq!(pods(&world), ["n1 i:1", "n1 i:1 -"]);
    let failed = |world: &World| world.told.iter().filter(|(reason, _)| reason == "FailedDaemonPod").count();
    assert_eq!(failed(&world), 3);
    world.reap();
    world.run_all("agent-");
    world.end("agent-", 1, 0);
    assert_eq!(pods(&world), ["n1 i:1", "n1 i:1 -"]);
}

#[test]
fn pods_that_fail_at_once_do_not_pile_up_where_two_may_stand() {
    let spec = json!({ "updateStrategy": { "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } } });
    let mut world = running(1, &spec);
    for _ in 0..3 {
        world.run_all("agent-");
        world.end("agent-", 1, 1);
        world.reap();
    }
    assert_eq!(pods(&world), ["n1 i:1"]);
}

#[test]
fn a_rollout_takes_one_after_the_other() {
    let mut world = running(3, &json!({}));
    world.apply(set("i:2", &json!({})));
    assert_eq!(pods(&world), ["n1 i:1 -", "n2 i:1", "n3 i:1"]);
    assert_eq!(status(&world)["updatedNumberScheduled"], Value::Null);
    world.reap();
    assert_eq!(pods(&world), ["n1 i:2", "n2 i:1", "n3 i:1"], "the next waits until it serves");
    world.run_all("agent-");
    assert_eq!(pods(&world), ["n1 i:2", "n2 i:1 -", "n3 i:1"]);
    settle(&mut world);
    assert_eq!(pods(&world), ["n1 i:2", "n2 i:2", "n3 i:2"]);
    assert_eq!(status(&world)["updatedNumberScheduled"], 3);
    let revisions = world.of("controllerrevisions", "agent-");
    assert_eq!(revisions.len(), 2);
    let labels = &revisions[0]["metadata"]["labels"];
    assert_eq!(
        revisions[0]["metadata"]["name"],
        format!("agent-{}", labels["controller-revision-hash"].as_str().unwrap())
    );
}

#[test]
fn pods_that_do_not_serve_make_way_at_once_and_several_may_be_missing() {
    let spec = json!({ "updateStrategy": { "rollingUpdate": { "maxUnavailable": "50%" } } });
    let mut world = running(4, &spec);
    world.apply(set("i:2", &spec));
    world.reap();
    assert_eq!(pods(&world), ["n1 i:2", "n2 i:2", "n3 i:1", "n4 i:1"]);
    world.apply(set("i:3", &spec));
    assert_eq!(pods(&world), ["n1 i:2 -", "n2 i:2 -", "n3 i:1", "n4 i:1"]);
}

#[test]
fn with_a_surge_the_next_comes_beside_the_old_one() {
    let spec = json!({
        "minReadySeconds": 5, "updateStrategy": { "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } },
    });
    let mut world = running(2, &spec);
    world.pass(Duration::from_secs(5));
    assert_eq!(status(&world)["numberAvailable"], 2);
    world.apply(set("i:2", &spec));
    assert_eq!(pods(&world), ["n1 i:1", "n1 i:2", "n2 i:1"]);
    world.run_all("agent-");
    assert_eq!(pods(&world), ["n1 i:1", "n1 i:2", "n2 i:1"], "it has to have served for a while");
    world.pass(Duration::from_secs(5));
    assert_eq!(pods(&world), ["n1 i:1 -", "n1 i:2", "n2 i:1", "n2 i:2"]);
    world.reap();
    assert_eq!(pods(&world), ["n1 i:2", "n2 i:1", "n2 i:2"]);
    world.run_all("agent-");
    world.pass(Duration::from_secs(5));
    settle(&mut world);
    assert_eq!(pods(&world), ["n1 i:2", "n2 i:2"]);
}

#[test]
fn on_delete_waits_for_somebody_to_delete_pods() {
    let spec = json!({ "updateStrategy": { "type": "OnDelete", "rollingUpdate": null } });
    let mut world = running(2, &spec);
    world.apply(set("i:2", &spec));
    settle(&mut world);
    assert_eq!(pods(&world), ["n1 i:1", "n2 i:1"]);
    let first = world.pods("agent-")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    world.remove(&id("v1", "Pod", &first));
    settle(&mut world);
    assert_eq!(pods(&world), ["n1 i:2", "n2 i:1"]);
}

#[test]
fn an_earlier_template_takes_its_revision_up_again_and_old_ones_go() {
    let spec = json!({ "revisionHistoryLimit": 1 });
    let mut world = running(1, &spec);
    for image in ["i:2", "i:1", "i:3"] {
        world.apply(set(image, &spec));
        settle(&mut world);
    }
    let mut numbers: Vec<_> = world
        .of("controllerrevisions", "agent-")
        .iter()
        .map(|revision| revision["revision"].as_i64().unwrap())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [3, 4]);
}

#[test]
fn two_revisions_of_one_template_become_one() {
    let mut world = running(1, &json!({}));
    let mut twin = world.of("controllerrevisions", "agent-")[0].clone();
    let hash = twin["metadata"]["labels"]["controller-revision-hash"].clone();
    twin["metadata"]["name"] = "agent-twin".into();
    twin["metadata"]["labels"]["controller-revision-hash"] = "twin".into();
    twin["revision"] = 0.into();
    world.apply(twin);
    assert_eq!(world.of("controllerrevisions", "agent-").len(), 1);
    assert_eq!(world.pods("agent-")[0]["metadata"]["labels"]["controller-revision-hash"], hash);
    assert_eq!(pods(&world), ["n1 i:1"], "its pod is as good as before");
}

#[test]
fn hundreds_of_nodes_are_rolled_in_steps() {
    let mut world = world(400);
    let spec = json!({ "updateStrategy": { "rollingUpdate": { "maxUnavailable": "100%" } } });
    world.apply(set("i:1", &spec));
    settle(&mut world);
    assert_eq!(status(&world)["numberAvailable"], 400);
    world.apply(set("i:2", &spec));
    settle(&mut world);
    assert_eq!(status(&world)["updatedNumberScheduled"], 400);
}
