//! Warnings of changes.

use dunlin_link::rpc::Method;
use serde_json::{Value, json};

use super::{Fixture, Request};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn deployment() -> Value {
    let container = json!({"name": "c", "image": "dunlin.local/hello", "volumeDevices": [{"name": "v", "devicePath": "/d"}]});
    json!({
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [container], "runtimeClassName": "r"},
            },
        },
    })
}

#[tokio::test]
async fn what_has_no_effect_is_told_when_it_comes() {
    let fixture = Fixture::start().await;
    let of = async |request: Request| {
        let response = fixture.send(request).await;
        assert!(response.head.status < 300, "{}", response.head.status);
        response.head.warnings
    };
    let warnings = of(Request::new(Method::Post, DEPLOYMENTS).with_body(&deployment())).await;
    assert!(warnings.iter().any(|warning| warning.contains("runtimeClassName")), "{warnings:?}");
    assert!(warnings.iter().any(|warning| warning.contains("volumeDevices")), "{warnings:?}");

    let path = format!("{DEPLOYMENTS}/web");
    let patch = |spec: Value| {
        let patch = Request::new(Method::Patch, &path).of_type("application/merge-patch+json");
        patch.with_body(&json!({"spec": spec}))
    };
    assert_eq!(of(patch(json!({"replicas": 2}))).await, [""; 0]);
    let warnings = of(patch(json!({"template": {"spec": {"os": {"name": "windows"}}}}))).await;
    assert_eq!(warnings, ["spec.template.spec.os.name: accepted, but has no effect yet"]);
    // Who puts the whole object brings nothing new, either.
    let mut whole = fixture.get(&path).await;
    whole["spec"]["replicas"] = json!(3);
    assert_eq!(of(Request::new(Method::Put, &path).with_body(&whole)).await, [""; 0]);
}

#[tokio::test]
async fn a_scale_is_shown_as_a_scale() {
    let fixture = Fixture::start().await;
    fixture.create(DEPLOYMENTS, &deployment()).await;
    let mut ask = Request::new(Method::Get, &format!("{DEPLOYMENTS}/web/scale"));
    ask.accept = "application/json;as=Table;v=v1;g=meta.k8s.io".to_owned();
    let table = fixture.expect(200, ask).await;
    assert_eq!(table["kind"], "Table");
    let columns = table["columnDefinitions"].as_array().unwrap().iter().map(|column| &column["name"]);
    assert_eq!(columns.collect::<Vec<_>>(), ["Name", "Desired", "Available", "Age"]);
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    assert_eq!(cells[..3], [json!("web"), json!(1), json!(0)]);
}

#[tokio::test]
async fn labels_of_a_namespace_say_which_pods_it_takes() {
    const SAFE: &str = "/api/v1/namespaces/safe";
    let fixture = Fixture::start().await;
    let enforce =
        |level: &str| json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": level}}});
    let namespace =
        json!({"metadata": {"name": "safe", "labels": {"pod-security.kubernetes.io/warn": "baseline"}}});
    fixture.create("/api/v1/namespaces", &namespace).await;
    let pods = format!("{SAFE}/pods");
    let privileged = |name: &str| {
        let mut pod = super::pod(name);
        pod["metadata"]["namespace"] = json!("safe");
        pod["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
        Request::new(Method::Post, &pods).with_body(&pod)
    };
    let account = json!({"metadata": {"name": "default"}});
    // The cluster makes one, too, sooner or later.
    let accounts = format!("{SAFE}/serviceaccounts");
    fixture.send(Request::new(Method::Post, &accounts).with_body(&account)).await;
    let made = fixture.send(privileged("p")).await;
    assert_eq!(made.head.status, 201);
    let expected = "would violate PodSecurity \"baseline:latest\": privileged";
    assert!(
        made.head.warnings.iter().any(|warning| warning.starts_with(expected)),
        "{:?}",
        made.head.warnings
    );
    let patch = |level: &str| {
        Request::new(Method::Patch, SAFE).of_type("application/merge-patch+json").with_body(&enforce(level))
    };
    let changed = fixture.send(patch("baseline")).await;
    assert_eq!(changed.head.status, 200);
    assert_eq!(changed.head.warnings[1..], ["p: privileged"]);
    let refused = fixture.expect(403, privileged("q")).await;
    let message = refused["message"].as_str().unwrap();
    assert!(
        message.starts_with("pods \"q\" is forbidden: violates PodSecurity \"baseline:latest\""),
        "{message}"
    );
    fixture.expect(422, patch("strict")).await;
}
