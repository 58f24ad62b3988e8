//! VolumeAttributesClass.

use serde_json::Value;

use super::{INERT, check_not_updated, check_parameters, check_provisioner, storage_class::name_cell};
use crate::{
    field::{FieldError, Path},
    kind::{Column, Kind, Removed, age_cell},
    value::{entries, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    group: "storage.k8s.io",
    kind: "VolumeAttributesClass",
    plural: "volumeattributesclasses",
    singular: "volumeattributesclass",
    short_names: &["vac"],
    namespaced: false,
    schema: "io.k8s.api.storage.v1.VolumeAttributesClass",
    removed: Removed::LastState,
    columns: &[Column::NAME, Column::shown("DriverName", "Whose volumes it is for."), Column::AGE],
    inert: INERT,
    validate,
    validate_update: |new, old, errors| {
        for key in ["driverName", "parameters"] {
            check_not_updated(new, old, key, errors);
        }
    },
    row: |object, now| vec![name_cell(object), text(object, "driverName").into(), age_cell(object, now)],
    ..Kind::BASE
};

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    check_provisioner(text(object, "driverName"), &Path::new("driverName"), errors);
    if entries(object, "parameters").next().is_none() {
        errors.push(FieldError::required("parameters", "must contain at least one attribute"));
    }
    check_parameters(object, &Path::new("parameters"), errors);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn classes_say_something() {
        let mut errors = Vec::new();
        validate(&json!({"driverName": "d.example", "parameters": {"a": "b"}}), &mut errors);
        assert_eq!(errors, []);
        validate(&json!({}), &mut errors);
        let fields: Vec<_> = errors.iter().map(FieldError::field).collect();
        assert_eq!(fields, ["driverName", "parameters"]);
    }
}
