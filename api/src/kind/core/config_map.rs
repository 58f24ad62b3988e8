//! ConfigMap.

use serde_json::Value;

use crate::{
    field::{FieldError, Path},
    kind::{Column, Kind, age_cell, report},
    names,
    value::{entries, is_true, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    kind: "ConfigMap",
    plural: "configmaps",
    singular: "configmap",
    short_names: &["cm"],
    schema: "io.k8s.api.core.v1.ConfigMap",
    columns: &[Column::NAME, Column::shown("Data", "Number of keys."), Column::AGE],
    validate,
    validate_update,
    row: |object, now| {
        let keys = entries(object, "data").count() + entries(object, "binaryData").count();
        vec![text(&object["metadata"], "name").into(), keys.into(), age_cell(object, now)]
    },
    ..Kind::BASE
};

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    let mut size = 0;
    for (key, value) in entries(object, "data") {
        report(names::config_key(key), &Path::new("data").key(key), key, errors);
        if !object["binaryData"][key].is_null() {
            let detail = "duplicate of key present in binaryData";
            errors.push(FieldError::invalid(Path::new("data").key(key), key.as_str(), detail));
        }
        size += value.as_str().map_or(0, str::len);
    }
    for (key, value) in entries(object, "binaryData") {
        report(names::config_key(key), &Path::new("binaryData").key(key), key, errors);
        size += value.as_str().map_or(0, |text| text.len() / 4 * 3);
    }
    if size > SIZE_LIMIT_BYTES {
        errors.push(FieldError::too_long("", SIZE_LIMIT_BYTES));
    }
}

fn validate_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    check_immutable(new, old, &["data", "binaryData"], errors);
}

/// Once `immutable` is set it stays, and so do the fields.
pub(super) fn check_immutable(new: &Value, old: &Value, fields: &[&str], errors: &mut Vec<FieldError>) {
    if !is_true(old, "immutable") {
        return;
    }
    let detail = "field is immutable when `immutable` is set";
    if !is_true(new, "immutable") {
        errors.push(FieldError::forbidden("immutable", detail));
    }
    for field in fields {
        if new[*field] != old[*field] {
            errors.push(FieldError::forbidden(*field, detail));
        }
    }
}

/// What one Secret or ConfigMap may hold.
pub(super) const SIZE_LIMIT_BYTES: usize = 1024 * 1024;
