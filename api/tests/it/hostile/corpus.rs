//! Inputs that make sense, for mutations to start from: the project's own recorded cases.

use dunlin_api::{
    kind,
    pipeline::{self, FieldValidation},
    protobuf,
};

use crate::case::Case;

/// The corpus of a decoder.
pub(super) fn of(decoder: &str) -> Vec<Vec<u8>> {
    let texts = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    match decoder {
        "json" => bodies(),
        "yaml" => bodies().iter().filter_map(|json| yaml(json)).chain(texts(YAML) as Vec<_>).collect(),
        "protobuf" => bodies().iter().filter_map(|json| protobuf(json)).collect(),
        "merge_patch" => patches("application/merge-patch+json"),
        "json_patch" => {
            patches("application/json-patch+json").into_iter().chain(texts(JSON_PATCHES) as Vec<_>).collect()
        }
        "strategic_patch" => patches("application/strategic-merge-patch+json"),
        "apply" => bodies().into_iter().chain(patches("application/apply-patch+yaml")).collect(),
        "labels" => texts(LABELS),
        "fields" => texts(FIELDS),
        "quantity" => texts(QUANTITIES),
        "times" => texts(TIMES),
        _ => Vec::new(),
    }
}

/// Bodies of creates.
fn bodies() -> Vec<Vec<u8>> {
    let files = [include_str!("../../golden/defaulting.json"), include_str!("../../golden/validation.json")];
    let cases = files.iter().flat_map(|file| Case::parse_all(file)).collect::<Vec<_>>();
    let requests = cases.iter().flat_map(Case::requests).filter(|request| request.method == "POST");
    requests.map(|request| request.body().into_bytes()).filter(|body| body.len() > 2).collect()
}

fn patches(content_type: &str) -> Vec<Vec<u8>> {
    let files = [include_str!("../../golden/patch.json"), include_str!("../../golden/apply.json")];
    let cases = files.iter().flat_map(|file| Case::parse_all(file)).collect::<Vec<_>>();
    let is_meant = |request: &&Case| request.content_type.as_deref() == Some(content_type);
    cases
        .iter()
        .flat_map(Case::requests)
        .filter(is_meant)
        .map(|request| request.body().into_bytes())
        .collect()
}

fn yaml(json: &[u8]) -> Option<Vec<u8>> {
    let value: serde_json::Value = serde_json::from_slice(json).ok()?;
    serde_norway::to_string(&value).ok().map(String::into_bytes)
}

fn protobuf(json: &[u8]) -> Option<Vec<u8>> {
    let value: serde_json::Value = serde_json::from_slice(json).ok()?;
    let kind = kind::by_kind(value["apiVersion"].as_str()?, value["kind"].as_str()?)?;
    let accepted = pipeline::accept(kind, value, FieldValidation::Ignore).ok()?;
    protobuf::encode(&accepted.object).ok()
}

const YAML: &[&str] = &[
    "a: &a [x, x]\nb: &b [*a, *a]\nmetadata:\n  name: c\n  labels: {a: b}\ndata:\n  ? k\n  : |\n    text\n",
    "kind: ConfigMap\napiVersion: v1\nmetadata: {name: n}\ndata: {a: \"1\", b: !!str 2, c: >-\n  folded\n  text}\n",
];

const JSON_PATCHES: &[&str] = &[
    r#"[{"op":"add","path":"/metadata/labels/a~1b","value":"c"},{"op":"remove","path":"/metadata/annotations"}]"#,
    r#"[{"op":"test","path":"/spec/containers/0/name","value":"c"},{"op":"replace","path":"/spec/containers/-1","value":{}}]"#,
    r#"[{"op":"copy","from":"/spec","path":"/status"},{"op":"move","from":"/spec/containers/0","path":"/spec/containers/-"}]"#,
];

const LABELS: &[&str] =
    &["app=a,tier!=b", "app in (a,b),tier notin (c),!other,there", "n>1,m<2,a==b", "example.com/name=value"];

const FIELDS: &[&str] =
    &["metadata.name=p,metadata.namespace!=x", "status.phase=Running,spec.nodeName=n\\,m", "a==b"];

const QUANTITIES: &[&str] = &["1", "500m", "1.5Gi", "12e6", "-0.1n", "9223372036854775807Ki", "+.5E"];

const TIMES: &[&str] = &[
    "2026-01-02T03:04:05Z",
    "2026-01-02T03:04:05.123456+01:00",
    "1h30m",
    "30d",
    "500ms",
    "-1",
    "1677-09-21T00:12:43Z",
];
