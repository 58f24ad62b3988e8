//! CSINode: the drivers of a node.

use serde_json::Value;

use super::{INERT, check_driver_name};
use crate::{
    field::{FieldError, Path},
    kind::{Column, Kind, Removed, age_cell, report},
    names,
    value::{list, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    group: "storage.k8s.io",
    kind: "CSINode",
    plural: "csinodes",
    singular: "csinode",
    namespaced: false,
    schema: "io.k8s.api.storage.v1.CSINode",
    removed: Removed::LastState,
    columns: &[Column::NAME, Column::integer("Drivers", "How many drivers the node has."), Column::AGE],
    inert: INERT,
    validate,
    validate_update,
    row: |object, now| {
        vec![
            text(&object["metadata"], "name").into(),
            list(&object["spec"], "drivers").len().into(),
            age_cell(object, now),
        ]
    },
    ..Kind::BASE
};

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    let drivers = list(&object["spec"], "drivers");
    for (position, driver) in drivers.iter().enumerate() {
        let field = Path::new("spec.drivers").index(position);
        let (name, node) = (text(driver, "name"), text(driver, "nodeID"));
        check_driver_name(name, &field.child("name"), errors);
        if drivers[..position].iter().any(|other| other["name"] == driver["name"]) {
            errors.push(FieldError::duplicate(field.child("name"), name));
        }
        if node.is_empty() {
            errors.push(FieldError::required(field.child("nodeID"), ""));
        } else if node.len() > NODE_ID_BYTES_MAX {
            let detail = format!("must be {NODE_ID_BYTES_MAX} characters or less");
            errors.push(FieldError::invalid(field.child("nodeID"), node, &detail));
        }
        check_keys(driver, &field.child("topologyKeys"), errors);
        if let Some(count) = driver["allocatable"]["count"].as_i64().filter(|count| *count < 0) {
            let detail = "must be greater than or equal to 0";
            errors.push(FieldError::invalid(field.child("allocatable").child("count"), count, detail));
        }
    }
}

fn check_keys(driver: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let keys = list(driver, "topologyKeys");
    for (position, key) in keys.iter().enumerate() {
        let name = key.as_str().unwrap_or_default();
        if name.is_empty() {
            errors.push(FieldError::required(field, ""));
        }
        if keys[..position].contains(key) {
            errors.push(FieldError::duplicate(field, name));
        }
        report(names::qualified_name(name), field, name, errors);
    }
}

/// A driver comes and goes, but does not change.
fn validate_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    for (position, driver) in list(&new["spec"], "drivers").iter().enumerate() {
        let before = list(&old["spec"], "drivers").iter().find(|other| other["name"] == driver["name"]);
        let is_same =
            |before: &Value| ["nodeID", "topologyKeys"].iter().all(|key| before[*key] == driver[*key]);
        if before.is_some_and(|before| !is_same(before)) {
            let field = Path::new("spec.drivers").index(position);
            errors.push(FieldError::invalid(field, driver.clone(), "field is immutable"));
        }
    }
}

const NODE_ID_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn drivers_know_their_node() {
        let check = |drivers: Value, expected: &[&str]| {
            let mut errors = Vec::new();
            validate(&json!({"spec": {"drivers": drivers}}), &mut errors);
            let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected);
        };
        check(json!([{"name": "d", "nodeID": "n", "topologyKeys": ["a.b/c"]}]), &[]);
        check(
            json!([{"name": "d", "nodeID": "n"}, {"name": "d", "topologyKeys": ["a", "a"]}]),
            &[
                "spec.drivers[1].name: Duplicate value: \"d\"",
                "spec.drivers[1].nodeID: Required value",
                "spec.drivers[1].topologyKeys: Duplicate value: \"a\"",
            ],
        );
    }
}
