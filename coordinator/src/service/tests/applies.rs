//! Who owns what after writes of every kind: clients, components, nodes.

use dunlin_link::{NodeName, rpc::Method};
use serde_json::{Value, json};

use super::{CONFIG_MAPS, Fixture, PODS, Request, pod};
use crate::service::{ObjectRef, User};

const APPLY: &str = "application/apply-patch+yaml";

fn apply(path: &str, manager: &str, config: &str) -> Request {
    let mut request = Request::new(Method::Patch, path).with_query("fieldManager", manager);
    request.content_type = APPLY.to_owned();
    request.body = config.into();
    request
}

/// Manager, operation and subresource of each entry.
fn managers(object: &Value) -> Vec<String> {
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let line = |entry: &Value| {
        format!("{} {} {}", text(entry, "manager"), text(entry, "operation"), text(entry, "subresource"))
    };
    object["metadata"]["managedFields"].as_array().into_iter().flatten().map(line).collect()
}

#[tokio::test]
async fn writers_are_known_by_their_own_name_or_their_programs() {
    let fixture = Fixture::start().await;
    let map = fixture.create(CONFIG_MAPS, &json!({"metadata": {"name": "c"}, "data": {"a": "1"}})).await;
    assert_eq!(managers(&map), ["golden Update "]);
    let path = format!("{CONFIG_MAPS}/c");
    let mut patch = Request::new(Method::Patch, &path)
        .with_query("fieldManager", "me")
        .with_body(&json!({"data": {"b": "1"}}));
    patch.content_type = "application/merge-patch+json".to_owned();
    assert_eq!(managers(&fixture.expect(200, patch).await), ["golden Update ", "me Update "]);
    let namespace = fixture.get("/api/v1/namespaces/default").await;
    assert_eq!(managers(&namespace), ["dunlin-controllers Update "]);
    let bad = Request::new(Method::Patch, &path).with_query("fieldManager", "a\nb").with_body(&json!({}));
    let refused = fixture.expect(422, bad).await;
    assert_eq!(refused["details"]["causes"][0]["field"], "fieldManager");
}

#[tokio::test]
async fn components_and_nodes_are_managers() {
    let fixture = Fixture::start().await;
    let node = NodeName::new("n1");
    let service = &fixture.service;
    fixture.create("/api/v1/nodes", &json!({"metadata": {"name": "n1"}})).await;
    let created = fixture.create(PODS, &pod("p")).await;
    let uid = created["metadata"]["uid"].as_str().unwrap();
    service.bind(&User::scheduler(), "default", "p", uid, &node).await.unwrap();
    let object = ObjectRef { kind: crate::service::get::pod_kind(), namespace: "default", name: "p" };
    let report = |phase: &'static str| {
        move |pod: &mut Value| {
            pod["status"]["phase"] = phase.into();
            true
        }
    };
    let user = User::node(&node);
    let running = service.modify(&user, object, "status", None, report("Running")).await.unwrap();
    let expected = ["dunlin-node Update status", "dunlin-scheduler Update binding", "golden Update "];
    assert_eq!(managers(&running), expected);
    // A report of the same kind changes nobody's fields, and one that says nothing new writes nothing.
    let failed = service.modify(&user, object, "status", None, report("Failed")).await.unwrap();
    assert_eq!(failed["metadata"]["managedFields"], running["metadata"]["managedFields"]);
    let again = service.modify(&user, object, "status", None, report("Failed")).await.unwrap();
    assert_eq!(again, failed);
}

#[tokio::test]
async fn applies_make_change_and_empty_objects() {
    let fixture = Fixture::start().await;
    let path = format!("{CONFIG_MAPS}/c");
    let head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n";
    let made = fixture.expect(201, apply(&path, "m", &format!("{head}data: {{a: \"1\", b: \"2\"}}"))).await;
    let same = fixture.expect(200, apply(&path, "m", &format!("{head}data: {{a: \"1\", b: \"2\"}}"))).await;
    assert_eq!(made, same);
    let changed = fixture.expect(200, apply(&path, "m", &format!("{head}data: {{a: \"1\"}}"))).await;
    assert_eq!(changed["data"], json!({"a": "1"}));
    assert_eq!(fixture.get(&path).await, changed);
    let refused = fixture.expect(409, apply(&path, "n", &format!("{head}data: {{a: \"2\"}}"))).await;
    assert_eq!(refused["message"], "Apply failed with 1 conflict: conflict with \"m\": .data.a");
    let forced = apply(&path, "n", &format!("{head}data: {{a: \"2\"}}")).with_query("force", "true");
    assert_eq!(managers(&fixture.expect(200, forced).await), ["n Apply "]);
    // The status is part of what is there.
    let status = format!("{PODS}/missing/status");
    fixture.expect(404, apply(&status, "m", "apiVersion: v1\nkind: Pod\nmetadata: {name: missing}")).await;
    let elsewhere = "/api/v1/namespaces/nowhere/configmaps/c";
    fixture.expect(404, apply(elsewhere, "m", head)).await;
    let none = Request::new(Method::Patch, &path).with_query("force", "true");
    let mut none = Request { body: head.into(), ..none };
    none.content_type = APPLY.to_owned();
    let refused = fixture.expect(422, none).await;
    assert_eq!(refused["details"]["causes"][0]["field"], "fieldManager");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_apply_at_once_all_get_their_part() {
    let fixture = std::sync::Arc::new(Fixture::start().await);
    let path = format!("{CONFIG_MAPS}/c");
    let writers = (0..8).map(|writer| {
        let (fixture, path) = (std::sync::Arc::clone(&fixture), path.clone());
        tokio::spawn(async move {
            let config =
                format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata: {{k{writer}: v}}");
            fixture.send(apply(&path, &format!("m{writer}"), &config)).await.head.status
        })
    });
    let mut created = 0;
    for writer in writers.collect::<Vec<_>>() {
        let status = writer.await.unwrap();
        assert!(matches!(status, 200 | 201), "{status}");
        created += usize::from(status == 201);
    }
    assert_eq!(created, 1);
    let map = fixture.get(&path).await;
    assert_eq!((map["data"].as_object().unwrap().len(), managers(&map).len()), (8, 8));
}

#[tokio::test]
async fn an_annotation_that_its_own_manager_keeps_follows_what_kubectl_applies() {
    let fixture = Fixture::start().await;
    let last_applied = "kubectl.kubernetes.io/last-applied-configuration";
    let config = |data: &Value| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data}).to_string()
    };
    let annotation = config(&json!({"a": "1", "b": "1"}));
    // As a migration from client-side apply leaves it.
    let entry = |manager: &str, fields: Value| json!({"manager": manager, "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields});
    let keeps = json!({"f:metadata": {"f:annotations": {format!("f:{last_applied}"): {}}}});
    let applied =
        json!({"f:data": {".": {}, "f:a": {}, "f:b": {}}, "f:metadata": {"f:annotations": {".": {}}}});
    let managed = [entry("kubectl-last-applied", keeps), entry("kubectl", applied)];
    let map = json!({
        "metadata": {"name": "c", "annotations": {last_applied: annotation}, "managedFields": managed},
        "data": {"a": "1", "b": "1"},
    });
    fixture.create(CONFIG_MAPS, &map).await;
    let path = format!("{CONFIG_MAPS}/c");
    let mut patch = Request::new(Method::Patch, &path)
        .with_body(&json!([{"op": "replace", "path": "/metadata/managedFields", "value": managed}]));
    patch.content_type = "application/json-patch+json".to_owned();
    fixture.expect(200, patch).await;
    let map = fixture.expect(200, apply(&path, "kubectl", &config(&json!({"a": "2"})))).await;
    assert_eq!(map["data"], json!({"a": "2"}));
    let now = map["metadata"]["annotations"][last_applied].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(now).unwrap()["data"], json!({"a": "2"}), "{map}");
}
