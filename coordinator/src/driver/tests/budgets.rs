//! Budgets: what is found out about them, and what that makes of evictions.

use super::{Cluster, Kind, ObjectRef, Value, admin, eventually, json, kind, pod, reference};

fn budget() -> ObjectRef<'static> {
    ObjectRef { kind: kind_in("policy/v1", "PodDisruptionBudget"), namespace: "default", name: "b" }
}

fn kind_in(version: &str, name: &str) -> &'static Kind {
    kind::by_kind(version, name).unwrap()
}

async fn create(cluster: &Cluster, kind: &'static Kind, object: Value) -> Value {
    cluster.service.create(&admin(), kind, "default", object).await.unwrap()
}

async fn running(cluster: &Cluster, name: &str, owner: &Value) {
    let mut pod = pod(name);
    pod["metadata"]["labels"] = json!({"app": "web"});
    pod["metadata"]["ownerReferences"] = json!([owner]);
    pod["spec"]["nodeName"] = "n".into();
    cluster.create("Pod", pod).await;
    let ready = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    cluster.service.patch(&admin(), reference("Pod", name), "status", &ready).await.unwrap();
}

async fn until(cluster: &Cluster, wanted: impl Fn(&Value) -> bool) -> Value {
    let look = async || {
        let found = cluster.service.get(&admin(), budget()).await.ok();
        found.map(|budget| budget["status"].clone()).filter(|status| wanted(status))
    };
    eventually(look).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_follows_its_pods_and_what_their_controller_wants() {
    let cluster = Cluster::start().await;
    let spec = json!({"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}});
    create(&cluster, budget().kind, json!({"metadata": {"name": "b"}, "spec": spec})).await;
    let empty = until(&cluster, |status| status["observedGeneration"] == 1).await;
    assert_eq!((&empty["disruptionsAllowed"], &empty["expectedPods"]), (&json!(0), &json!(0)));
    let noted = async || {
        let (events, _) = cluster
            .service
            .list(&admin(), kind_in("v1", "Event"), "default", Default::default())
            .await
            .unwrap();
        events.into_iter().find(|event| event["reason"] == "NoPods")
    };
    let noted = eventually(noted).await;
    assert_eq!(noted["involvedObject"]["apiVersion"], "policy/v1");

    let selector = json!({"matchLabels": {"app": "web"}});
    let container = json!({"name": "c", "image": "x"});
    let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}});
    let spec = json!({"replicas": 2, "selector": selector, "template": template});
    let set = ObjectRef { kind: kind_in("apps/v1", "ReplicaSet"), namespace: "default", name: "rs" };
    let object = create(&cluster, set.kind, json!({"metadata": {"name": "rs"}, "spec": spec})).await;
    let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "controller": true,
        "uid": object["metadata"]["uid"]});
    running(&cluster, "p", &owner).await;
    running(&cluster, "q", &owner).await;
    let full = until(&cluster, |status| status["disruptionsAllowed"] == 1).await;
    assert_eq!((&full["expectedPods"], &full["desiredHealthy"]), (&json!(2), &json!(1)));
    assert_eq!(full["conditions"][0]["reason"], "SufficientPods");

    let more = json!({"spec": {"replicas": 3}});
    cluster.service.patch(&admin(), set, "", &more).await.unwrap();
    until(&cluster, |status| status["disruptionsAllowed"] == 0 && status["expectedPods"] == 3).await;
    cluster.service.delete(&admin(), set, json!({"propagationPolicy": "Orphan"})).await.unwrap();
    // Without a controller nothing is known of how many there should be.
    until(&cluster, |status| status["conditions"][0]["reason"] != "SufficientPods").await;
    cluster.stop().await;
}
