//! Objects of kinds that have several versions, and the number of their replicas.

use dunlin_link::rpc::Method;
use serde_json::{Value, json};

use super::{Fixture, Request};

fn autoscalers(version: &str) -> String {
    format!("/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers")
}

fn patch(path: &str, content_type: &str, body: &Value) -> Request {
    let mut request = Request::new(Method::Patch, path).with_body(body);
    request.content_type = format!("application/{content_type}+json");
    request
}

fn autoscaler(name: &str) -> Value {
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"});
    json!({"metadata": {"name": name}, "spec": {"scaleTargetRef": target, "maxReplicas": 5}})
}

fn cpu(object: &Value) -> &Value {
    &object["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaler_is_read_and_written_in_either_version() {
    let fixture = Fixture::start().await;
    let mut first = autoscaler("h");
    first["spec"]["targetCPUUtilizationPercentage"] = json!(50);
    let created = fixture.create(&autoscalers("v1"), &first).await;
    assert_eq!(created["apiVersion"], "autoscaling/v1");
    assert_eq!(created["spec"]["targetCPUUtilizationPercentage"], 50);
    let path = |version: &str| format!("{}/h", autoscalers(version));

    let second = fixture.get(&path("v2")).await;
    assert_eq!((&second["apiVersion"], cpu(&second)), (&json!("autoscaling/v2"), &json!(50)));
    assert_eq!(second["metadata"]["uid"], created["metadata"]["uid"]);

    // What version 1 has no field for is in annotations, and not lost when version 1 writes.
    let memory = json!({"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 70}}});
    let metrics = json!([memory, second["spec"]["metrics"][0]]);
    fixture.expect(200, patch(&path("v2"), "merge-patch", &json!({"spec": {"metrics": metrics}}))).await;
    let first = fixture.get(&path("v1")).await;
    let annotation = &first["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"];
    assert_eq!(
        *annotation,
        "[{\"type\":\"Resource\",\"resource\":{\"name\":\"memory\",\"targetAverageUtilization\":70}}]"
    );
    let change = json!({"spec": {"targetCPUUtilizationPercentage": 60}});
    let changed = fixture.expect(200, patch(&path("v1"), "strategic-merge-patch", &change)).await;
    assert_eq!(changed["apiVersion"], "autoscaling/v1");
    let second = fixture.get(&path("v2")).await;
    assert_eq!(second["spec"]["metrics"][0], memory);
    assert!(second["metadata"]["annotations"].is_null());
    assert_eq!(second["spec"]["metrics"][1]["resource"]["target"]["averageUtilization"], 60);

    let mut whole = fixture.get(&path("v1")).await;
    whole["spec"]["maxReplicas"] = json!(9);
    fixture.expect(200, Request::new(Method::Put, &path("v1")).with_body(&whole)).await;
    let again = fixture.expect(409, Request::new(Method::Put, &path("v1")).with_body(&whole)).await;
    assert_eq!(again["reason"], "Conflict");
    assert_eq!(fixture.get(&path("v2")).await["spec"]["maxReplicas"], 9);

    let removed = fixture.expect(200, Request::new(Method::Delete, &path("v1"))).await;
    assert_eq!(removed["details"]["uid"], created["metadata"]["uid"]);
    fixture.expect(404, Request::new(Method::Get, &path("v2"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_tables_come_in_the_version_asked_for() {
    let fixture = Fixture::start().await;
    fixture.create(&autoscalers("v2"), &autoscaler("a")).await;
    fixture.create(&autoscalers("v1"), &autoscaler("b")).await;
    let list = fixture.get(&autoscalers("v1")).await;
    assert_eq!(
        (&list["kind"], &list["apiVersion"]),
        (&json!("HorizontalPodAutoscalerList"), &json!("autoscaling/v1"))
    );
    for item in list["items"].as_array().unwrap() {
        assert_eq!(item["spec"]["targetCPUUtilizationPercentage"], 80);
        assert!(item.get("apiVersion").is_none());
    }
    let page = Request::new(Method::Get, &autoscalers("v1")).with_query("limit", "1");
    assert_eq!(fixture.expect(200, page).await["items"][0]["metadata"]["name"], "a");
    for version in ["v1", "v2"] {
        let mut request = Request::new(Method::Get, &autoscalers(version));
        request.accept = "application/json;as=Table;v=v1;g=meta.k8s.io".to_owned();
        let table = fixture.expect(200, request).await;
        assert_eq!(table["rows"][1]["cells"][2], "cpu: <unknown>/80%", "{version}");
        assert_eq!(table["rows"].as_array().unwrap().len(), 2);
    }
}

/// What a watch from the start tells within a second.
async fn watched(fixture: &Fixture, path: &str) -> Vec<Value> {
    let request = Request::new(Method::Get, path)
        .with_query("watch", "1")
        .with_query("resourceVersion", "0")
        .with_query("timeoutSeconds", "1");
    let told = fixture.send(request).await.into_bytes().await.unwrap();
    let lines = told.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_tell_in_the_version_asked_for() {
    let fixture = Fixture::start().await;
    fixture.create(&autoscalers("v2"), &autoscaler("a")).await;
    let told = watched(&fixture, &autoscalers("v1")).await;
    assert_eq!(told[0]["type"], "ADDED");
    assert_eq!(told[0]["object"]["apiVersion"], "autoscaling/v1");
    assert_eq!(told[0]["object"]["spec"]["targetCPUUtilizationPercentage"], 80);
    let told = watched(&fixture, &autoscalers("v2")).await;
    assert_eq!(cpu(&told[0]["object"]), &json!(80));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_both_groups_are_the_same_objects() {
    let fixture = Fixture::start().await;
    let (old, new) =
        ("/api/v1/namespaces/default/events", "/apis/events.k8s.io/v1/namespaces/default/events");
    let involved = json!({"kind": "Pod", "namespace": "default", "name": "p"});
    let event = json!({"metadata": {"name": "a"}, "involvedObject": involved, "reason": "R", "message": "m", "type": "Normal"});
    let created = fixture.create(old, &event).await;
    let read = fixture.get(&format!("{new}/a")).await;
    assert_eq!((&read["note"], &read["regarding"]), (&json!("m"), &involved));
    assert_eq!(read["metadata"]["uid"], created["metadata"]["uid"]);
    assert!(read.get("message").is_none());

    let event = json!({"metadata": {"name": "b"}, "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "a.b/c",
        "reportingInstance": "i", "action": "A", "reason": "R", "type": "Normal", "regarding": involved, "note": "n"});
    fixture.create(new, &event).await;
    assert_eq!(fixture.get(&format!("{old}/b")).await["message"], "n");
    let mut incomplete = event;
    incomplete["metadata"]["name"] = json!("c");
    incomplete["deprecatedCount"] = json!(1);
    let refused = fixture.expect(422, Request::new(Method::Post, new).with_body(&incomplete)).await;
    assert_eq!(refused["message"], "Event \"c\" is invalid: count: Invalid value: \"\": needs to be unset");

    let about = Request::new(Method::Get, new).with_query("fieldSelector", "regarding.name=p");
    assert_eq!(fixture.expect(200, about).await["items"].as_array().unwrap().len(), 2);
    let told = watched(&fixture, new).await;
    assert!(told.iter().all(|event| event["object"]["apiVersion"] == "events.k8s.io/v1"), "{told:?}");
    fixture.expect(200, Request::new(Method::Delete, new)).await;
    assert_eq!(fixture.get(old).await["items"], json!([]));
}

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn deployment() -> Value {
    let template =
        json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    json!({"metadata": {"name": "d"}, "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "a"}}, "template": template}})
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_are_read_and_written_as_a_scale() {
    let fixture = Fixture::start().await;
    let created = fixture.create(DEPLOYMENTS, &deployment()).await;
    let path = format!("{DEPLOYMENTS}/d/scale");
    let scale = fixture.get(&path).await;
    let expected = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {"name": "d", "namespace": "default", "uid": created["metadata"]["uid"],
            "resourceVersion": created["metadata"]["resourceVersion"],
            "creationTimestamp": created["metadata"]["creationTimestamp"]},
        "spec": {"replicas": 2}, "status": {"replicas": 0, "selector": "app=a"},
    });
    assert_eq!(scale, expected);

    let mut three = scale.clone();
    three["spec"]["replicas"] = json!(3);
    let put = |scale: &Value| Request::new(Method::Put, &path).with_body(scale);
    let dry = fixture.expect(200, put(&three).with_query("dryRun", "All")).await;
    assert_eq!(dry["spec"]["replicas"], 3);
    assert_eq!(fixture.get(&path).await["spec"]["replicas"], 2);
    assert_eq!(fixture.expect(200, put(&three)).await["spec"]["replicas"], 3);
    assert_eq!(fixture.get(&format!("{DEPLOYMENTS}/d")).await["metadata"]["generation"], 2);
    let late = fixture.expect(409, put(&three)).await;
    assert!(late["message"].as_str().unwrap().contains("the object has been modified"), "{late}");

    let patches = [
        ("merge-patch", json!({"spec": {"replicas": 4}}), 4),
        ("strategic-merge-patch", json!({"spec": {"replicas": 5}}), 5),
        ("json-patch", json!([{"op": "replace", "path": "/spec/replicas", "value": 6}]), 6),
    ];
    for (kind, body, expected) in patches {
        let scale = fixture.expect(200, patch(&path, kind, &body)).await;
        assert_eq!(scale["spec"]["replicas"], expected, "{kind}");
    }
    let before = fixture.get(&format!("{DEPLOYMENTS}/d")).await;
    fixture.expect(200, patch(&path, "merge-patch", &json!({"spec": {"replicas": 6}}))).await;
    assert_eq!(fixture.get(&format!("{DEPLOYMENTS}/d")).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scale_that_makes_no_sense_is_refused() {
    let fixture = Fixture::start().await;
    fixture.create(DEPLOYMENTS, &deployment()).await;
    let path = format!("{DEPLOYMENTS}/d/scale");
    let negative = fixture.expect(422, patch(&path, "merge-patch", &json!({"spec": {"replicas": -1}}))).await;
    let expected = "Scale.autoscaling \"d\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0";
    assert_eq!(negative["message"], expected);
    for (metadata, code) in [
        (json!({"name": "e"}), 400),
        (json!({"namespace": "kube-system"}), 400),
        (json!({"uid": "another"}), 409),
    ] {
        let scale = json!({"metadata": metadata, "spec": {"replicas": 3}});
        fixture.expect(code, Request::new(Method::Put, &path).with_body(&scale)).await;
    }
    assert_eq!(fixture.get(&path).await["spec"]["replicas"], 2);
    let other = json!({"apiVersion": "v1", "kind": "Pod"});
    fixture.expect(400, Request::new(Method::Put, &path).with_body(&other)).await;
    fixture.expect(404, Request::new(Method::Get, &format!("{DEPLOYMENTS}/e/scale"))).await;
    fixture.create(super::PODS, &super::pod("p")).await;
    fixture.expect(404, Request::new(Method::Get, &format!("{}/p/scale", super::PODS))).await;
}
