//! Namespace.

use serde_json::{Value, json};

use crate::{
    field::{FieldError, Path},
    kind::{Column, FieldLabel, FieldLabels, Kind, Subresource, age_cell, report},
    names::{self, NameRule},
    value::{has, list, object_mut, put, set, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    kind: "Namespace",
    plural: "namespaces",
    singular: "namespace",
    short_names: &["ns"],
    namespaced: false,
    schema: "io.k8s.api.core.v1.Namespace",
    subresources: &[Subresource { verbs: &["update"], ..Subresource::part("finalize") }, Subresource::STATUS],
    verbs: &["create", "delete", "get", "list", "patch", "update", "watch"],
    columns: &[Column::NAME, Column::shown("Status", "Whether it is active or being deleted."), Column::AGE],
    name_rule: NameRule::Label,
    fields: FieldLabels::Named(&[FieldLabel::path("status.phase")]),
    default,
    prepare_create: |object, _| {
        set(object, "status", json!({"phase": "Active"}));
        let finalizers = object_mut(object_mut(object, "spec"), "finalizers");
        *finalizers = json!(["kubernetes"]);
    },
    prepare_update: |new, old| {
        put(new, "status", old["status"].clone());
        let finalizers = old["spec"]["finalizers"].clone();
        put(object_mut(new, "spec"), "finalizers", finalizers);
    },
    validate,
    validate_status,
    row: |object, now| {
        vec![
            text(&object["metadata"], "name").into(),
            text(&object["status"], "phase").into(),
            age_cell(object, now),
        ]
    },
    ..Kind::BASE
};

/// The label by which selectors find a namespace by name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

fn default(object: &mut Value) {
    let name = text(&object["metadata"], "name").to_owned();
    if !name.is_empty() {
        set(object_mut(object_mut(object, "metadata"), "labels"), NAME_LABEL, name);
    }
}

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    for finalizer in list(&object["spec"], "finalizers").iter().filter_map(Value::as_str) {
        report(names::qualified_name(finalizer), &Path::new("spec.finalizers"), finalizer, errors);
    }
}

fn validate_status(new: &Value, _old: &Value, errors: &mut Vec<FieldError>) {
    let deleting = has(&new["metadata"], "deletionTimestamp");
    let phase = text(&new["status"], "phase");
    if deleting && phase != "Terminating" {
        let detail = "may only be 'Terminating' if `deletionTimestamp` is not empty";
        errors.push(FieldError::invalid("status.Phase", phase, detail));
    } else if !deleting && phase == "Terminating" {
        let detail = "may only be 'Active' if `deletionTimestamp` is empty";
        errors.push(FieldError::invalid("status.Phase", phase, detail));
    }
}
