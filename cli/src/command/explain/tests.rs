//! Pages of `explain`.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{Args, find, page, schema::Schema};

fn document() -> Value {
    let reference = |name: &str| json!([{"$ref": format!("#/components/schemas/dev.dunlin.{name}")}]);
    json!({"components": {"schemas": {
        "dev.dunlin.Gadget": {
            "description": "Gadget is a thing.",
            "type": "object",
            "required": ["spec"],
            "properties": {
                "spec": {"allOf": reference("Spec"), "default": {}, "description": "What it should be."},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}, "description": "Words."},
                "mode": {"type": "string", "enum": ["", "A", "B", "C", "D"]},
            },
            "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "Pod"}],
        },
        "dev.dunlin.Spec": {
            "description": "Spec holds parts.",
            "type": "object",
            "properties": {
                "parts": {"type": "array", "items": {"$ref": "#/components/schemas/dev.dunlin.Spec"}},
                "at": {"$ref": "#/components/schemas/dev.dunlin.Time"},
                "size": {"$ref": "#/components/schemas/dev.dunlin.Quantity"},
            },
        },
        "dev.dunlin.Time": {"type": "string", "format": "date-time"},
        "dev.dunlin.Quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    }}})
}

fn check(fields: &[&str], depth: page::Depth, expected: &Expect) {
    let document = document();
    let schema = find(Schema::of_kind(&document, "", "v1", "Pod").unwrap(), fields).unwrap();
    expected.assert_eq(&page::render(&schema, fields.last().copied(), depth));
}

#[test]
fn kinds_are_described_with_their_fields() {
    check(
        &[],
        page::Depth::One,
        &expect![[r#"
            DESCRIPTION:
                Gadget is a thing.
                
            FIELDS:
              labels	<map[string]string>
                Words.

              mode	<string>
              enum: "", A, B, C, ....
                <no description>

              spec	<Spec> -required-
                What it should be.


        "#]],
    );
}

#[test]
fn fields_are_described_with_what_they_hold() {
    check(
        &["spec", "parts"],
        page::Depth::One,
        &expect![[r#"
            FIELD: parts <[]Spec>


            DESCRIPTION:
                Spec holds parts.
                
            FIELDS:
              at	<string>
                <no description>

              parts	<[]Spec>
                <no description>

              size	<Quantity>
                <no description>


        "#]],
    );
    check(
        &["mode"],
        page::Depth::One,
        &expect![[r#"
            FIELD: mode <string>
            ENUM:
                ""
                A
                B
                C
                D

            DESCRIPTION:
                <empty>

        "#]],
    );
}

#[test]
fn structures_that_hold_themselves_are_shown_once() {
    check(
        &[],
        page::Depth::All,
        &expect![[r#"
            DESCRIPTION:
                Gadget is a thing.
                
            FIELDS:
              labels	<map[string]string>
              mode	<string>
              enum: "", A, B, C, ....
              spec	<Spec> -required-
                at	<string>
                parts	<[]Spec>
                size	<Quantity>

        "#]],
    );
}

#[test]
fn fields_that_are_not_there_are_named() {
    let document = document();
    let gadget = Schema::of_kind(&document, "", "v1", "Pod").unwrap();
    assert_eq!(find(gadget, &["spec", "foo", "bar"]).unwrap_err(), "foo");
    assert_eq!(find(gadget, &["labels", "x"]).unwrap_err(), "x");
    assert!(Schema::of_kind(&document, "", "v2", "Pod").is_none());
}

#[test]
fn paths_begin_with_a_kind_and_perhaps_its_group() {
    let check = |path: &str, expected: (&str, &[&str])| {
        let args = Args { path: path.to_owned(), recursive: false, api_version: None };
        let (kind, fields) = args.parse().unwrap();
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        assert_eq!((kind.kind, fields.as_slice()), expected, "{path}");
    };
    check("pods", ("Pod", &[]));
    check("po.spec.containers", ("Pod", &["spec", "containers"]));
    check("pods.v1..spec", ("Pod", &["spec"]));
    check("pods.spec.", ("Pod", &["spec"]));
    let args = Args { path: "pod".to_owned(), recursive: false, api_version: Some("v2".to_owned()) };
    assert_eq!(args.parse().unwrap_err().to_string(), "there is no pods in version \"v2\"");
}
