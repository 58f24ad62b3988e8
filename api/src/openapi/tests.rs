//! Whole documents, by themselves and against what Kubernetes itself serves.

use serde_json::{Value, json};

use super::{Descriptions, Document, Topic};
use crate::kind::{self, Kind};

mod oracle;

/// Those that every cluster has; other tests add kinds of their own.
fn kinds() -> Vec<&'static Kind> {
    kind::all().filter(|kind| !kind.group.ends_with(".dunlin.dev")).collect()
}

fn bytes(document: Document) -> Vec<u8> {
    document.flatten().collect()
}

fn v3(topic: &Topic) -> Value {
    serde_json::from_slice(&bytes(Document::v3(topic, &kinds(), "v1.36.0", Descriptions::NONE))).unwrap()
}

fn v2() -> Value {
    serde_json::from_slice(&bytes(Document::v2(&kinds(), "v1.36.0", Descriptions::NONE))).unwrap()
}

/// Every `$ref` in a document.
fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str));
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

fn check_references(document: &Value) {
    let mut found = Vec::new();
    references(document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let target = document.pointer(reference.trim_start_matches('#'));
        assert!(target.is_some(), "{reference}");
    }
}

#[test]
fn every_topic_has_a_document_whose_references_lead_somewhere() {
    for topic in Topic::all(&kinds()) {
        let document = v3(&topic);
        assert_eq!(document["openapi"], "3.0.0", "{topic:?}");
        assert!(!document["paths"].as_object().unwrap().is_empty(), "{topic:?}");
        if !matches!(topic, Topic::Issuer | Topic::Keys) {
            check_references(&document);
        }
    }
    check_references(&v2());
}

#[test]
fn documents_hold_what_their_paths_need_and_no_more() {
    let core = v3(&Topic::GroupVersion("", "v1"));
    let schemas = core["components"]["schemas"].as_object().unwrap();
    assert!(schemas.contains_key("io.k8s.api.core.v1.PodList"));
    assert!(schemas.contains_key("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"));
    assert!(!schemas.keys().any(|name| name.starts_with("io.k8s.api.batch.")));
    let version = v3(&Topic::Version);
    let schemas: Vec<_> = version["components"]["schemas"].as_object().unwrap().keys().collect();
    assert_eq!(schemas, ["io.k8s.apimachinery.pkg.version.Info"]);
}

#[test]
fn operations_say_what_clients_look_for() {
    let core = v3(&Topic::GroupVersion("", "v1"));
    let path = &core["paths"]["/api/v1/namespaces/{namespace}/configmaps/{name}"];
    let patch = &path["patch"];
    assert_eq!(patch["operationId"], "patchCoreV1NamespacedConfigMap");
    assert_eq!(patch["x-kubernetes-action"], "patch");
    let own = json!({"group": "", "version": "v1", "kind": "ConfigMap"});
    assert_eq!(patch["x-kubernetes-group-version-kind"], own);
    let parameters = patch["parameters"].as_array().unwrap().iter();
    let names: Vec<_> = parameters.map(|parameter| parameter["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation", "force"]);
    let common = path["parameters"].as_array().unwrap().iter();
    let common: Vec<_> = common.map(|parameter| parameter["name"].as_str().unwrap()).collect();
    assert_eq!(common, ["name", "namespace", "pretty"]);
    assert_eq!(patch["requestBody"]["required"], true);
    let deletion = &path["delete"];
    assert_eq!(deletion["requestBody"].get("required"), None);
}

#[test]
fn version_2_has_no_defaults_and_shares_parameters() {
    let mut document = v2();
    // One definition has a property of this name.
    let limits = document["definitions"].as_object_mut().and_then(|all| all.remove(LIMIT_RANGE_ITEM));
    assert!(limits.is_some_and(|limits| limits["properties"]["default"].is_object()));
    assert!(!document["definitions"].to_string().contains("\"default\":"));
    let parameters = &document["paths"]["/api/v1/pods"]["parameters"];
    assert_eq!(parameters[0], json!({"$ref": "#/parameters/allowWatchBookmarks"}));
    assert_eq!(document["security"], json!([{"BearerToken": []}]));
}

const LIMIT_RANGE_ITEM: &str = "io.k8s.api.core.v1.LimitRangeItem";

#[test]
fn no_part_is_large() {
    for topic in Topic::all(&kinds()) {
        for part in Document::v3(&topic, &kinds(), "v1.36.0", Descriptions::NONE) {
            assert!(part.len() < 64 << 10, "{topic:?}: {} bytes", part.len());
        }
    }
    for part in Document::v2_protobuf(&kinds(), "v1.36.0", Descriptions::NONE) {
        assert!(part.len() < 64 << 10, "{} bytes", part.len());
    }
}

#[test]
fn documents_follow_the_kinds() {
    let gadget: &'static Kind = Box::leak(Box::new(Kind {
        group: "openapi.dunlin.dev",
        kind: "Gadget",
        plural: "gadgets",
        singular: "gadget",
        schema: "io.k8s.api.core.v1.ConfigMap",
        ..Kind::BASE
    }));
    let topic = Topic::GroupVersion(gadget.group, gadget.version);
    assert!(!Topic::all(&kinds()).contains(&topic));
    assert!(Topic::all(&[gadget]).contains(&topic));
    let document = bytes(Document::v3(&topic, &[gadget], "v1.36.0", Descriptions::NONE));
    let document: Value = serde_json::from_slice(&document).unwrap();
    assert!(document["paths"].get("/apis/openapi.dunlin.dev/v1/namespaces/{namespace}/gadgets").is_some());
}
