//! Autoscalers on a real store, with the rights of the controller's default role.

use dunlin_coordinator_core::controllers::tell::Component;

use super::{Cluster, Kind, ObjectRef, Value, admin, eventually, json, kind};

fn of(version: &str, name: &str) -> &'static Kind {
    kind::by_kind(version, name).unwrap()
}

async fn get(cluster: &Cluster, version: &str, kind: &str) -> Value {
    let object = ObjectRef { kind: of(version, kind), namespace: "default", name: "web" };
    cluster.service.get(&admin(), object).await.unwrap()
}

fn condition(autoscaler: &Value, kind: &str) -> (String, String) {
    let conditions = autoscaler["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default();
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_is_kept_within_bounds_and_measured() {
    let cluster = Cluster::start().await;
    let template = json!({
        "metadata": { "labels": { "app": "web" } },
        "spec": { "containers": [{ "name": "c", "image": "i" }] },
    });
    let spec =
        json!({ "replicas": 1, "selector": { "matchLabels": { "app": "web" } }, "template": template });
    let deployment = json!({ "metadata": { "name": "web" }, "spec": spec });
    let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" });
    let spec = json!({ "scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 5 });
    let autoscaler = json!({ "metadata": { "name": "web" }, "spec": spec });
    let service = &cluster.service;
    service.create(&admin(), of("apps/v1", "Deployment"), "default", deployment).await.unwrap();
    let autoscalers = of("autoscaling/v2", "HorizontalPodAutoscaler");
    service.create(&admin(), autoscalers, "default", autoscaler).await.unwrap();
    let scaled = eventually(async || {
        let deployment = get(&cluster, "apps/v1", "Deployment").await;
        (deployment["spec"]["replicas"] == 2).then_some(deployment)
    });
    scaled.await;
    let rescaled = eventually(async || {
        let stored = get(&cluster, "autoscaling/v2", "HorizontalPodAutoscaler").await;
        let (status, reason) = condition(&stored, "AbleToScale");
        (status == "True" && reason == "SucceededRescale").then_some(stored)
    })
    .await;
    assert_eq!(
        (&rescaled["status"]["currentReplicas"], &rescaled["status"]["desiredReplicas"]),
        (&json!(1), &json!(2))
    );
    assert!(rescaled["status"]["lastScaleTime"].is_string());
    // What is changed is looked at at once: now nothing tells what pods use.
    let autoscaler = ObjectRef { kind: autoscalers, namespace: "default", name: "web" };
    let patch = json!({ "spec": { "maxReplicas": 6 } });
    service.patch(&admin(), autoscaler, "", &patch).await.unwrap();
    let blind = eventually(async || {
        let stored = get(&cluster, "autoscaling/v2", "HorizontalPodAutoscaler").await;
        (condition(&stored, "ScalingActive").0 == "False").then_some(stored)
    })
    .await;
    assert_eq!(condition(&blind, "ScalingActive").1, "FailedGetResourceMetric");
    let told = eventually(async || {
        let events =
            service.list(&admin(), of("v1", "Event"), "default", Default::default()).await.unwrap().0;
        events.into_iter().find(|event| event["reason"] == "SuccessfulRescale")
    });
    let told = told.await;
    assert_eq!(told["source"]["component"], Component::HorizontalPodAutoscaler.name());
    assert_eq!(told["message"], "New size: 2; reason: Current number of replicas below Spec.MinReplicas");
}
