//! Tests of decoding.

use serde_json::json;

use super::*;
use crate::schema;

fn check_error(body: &str, format: Format, expected: &str) {
    let error = document(body.as_bytes(), format, None).unwrap_err();
    let shown = &body[..body.len().min(100)];
    assert_eq!(error.to_string(), expected, "{shown}");
}

#[test]
fn errors_speak_kubernetes() {
    check_error(r#"{"a":"#, Format::Json, "unexpected end of JSON input");
    check_error(r#"{} {}"#, Format::Json, "invalid character '{' after top-level value");
    check_error("x", Format::Json, "invalid character 'x' looking for beginning of value");
    check_error("{a}", Format::Json, "invalid character 'a' looking for beginning of object key string");
    check_error("[1 2]", Format::Json, "invalid character '2' after array element");
    check_error("a: b: c", Format::Yaml, "yaml: mapping values are not allowed in this context");
    check_error(
        "a: b\nc: d: e",
        Format::Yaml,
        "yaml: line 2: mapping values are not allowed in this context",
    );
    check_error(&"[".repeat(200), Format::Json, "exceeded max depth at line 1 column 101");
}

#[test]
fn duplicates_and_unknown_fields_are_noted_in_order() {
    let body = r#"{"metadata":{"name":"a","name":"b"},"Data":{},"data":{"x":"1","x":"2"},"zz":1}"#;
    let definition = schema::definition("io.k8s.api.core.v1.ConfigMap");
    let document = document(body.as_bytes(), Format::Json, definition).unwrap();
    assert_eq!(document.duplicates, [r#"duplicate field "metadata.name""#, r#"duplicate field "data.x""#]);
    assert_eq!(document.unknown, [r#"unknown field "Data""#, r#"unknown field "zz""#]);
    assert_eq!(document.value["metadata"]["name"], "b");
}

#[test]
fn yaml_notes_duplicates_too() {
    let definition = schema::definition("io.k8s.api.core.v1.ConfigMap");
    let document = document(b"data:\n  a: x\n  a: z\nfoo: 1\n", Format::Yaml, definition).unwrap();
    assert_eq!(document.duplicates, [r#"duplicate field "data.a""#]);
    assert_eq!(document.unknown, [r#"unknown field "foo""#]);
    assert_eq!(document.value["data"]["a"], "z");
}

#[test]
fn aliases_cannot_expand_without_bound() {
    let bomb = format!("a: &a \"{}\"\nb: [{}]\n", "x".repeat(1_000_000), vec!["*a"; 50].join(", "));
    check_error(&bomb, Format::Yaml, "yaml: b[2]: document contains excessive aliasing");
    let fine = document(b"a: &a [1, 2]\nb: *a\n", Format::Yaml, None).unwrap();
    assert_eq!(fine.value, json!({"a": [1, 2], "b": [1, 2]}));
}

#[test]
fn yaml_keys_of_other_types_become_text() {
    let document = document(b"1: yes\ntrue: [null, 1.5]\n", Format::Yaml, None).unwrap();
    assert_eq!(document.value, json!({"1": true, "true": [null, 1.5]}));
}
