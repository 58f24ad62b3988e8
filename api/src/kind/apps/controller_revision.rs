//! ControllerRevision.

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    field::{FieldError, Path},
    kind::{
        Column, Kind, age_cell,
        workload::{check_counts, count_cell, name_cell},
    },
    value::{has, is_true, list, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    group: "apps",
    kind: "ControllerRevision",
    plural: "controllerrevisions",
    singular: "controllerrevision",
    schema: "io.k8s.api.apps.v1.ControllerRevision",
    columns: &[
        Column::NAME,
        Column::shown("Controller", "What keeps it."),
        Column::shown("Revision", "Its place in the history."),
        Column::AGE,
    ],
    validate,
    validate_update: |new, old, errors| {
        if new["data"] != old["data"] {
            errors.push(FieldError::invalid("data", new["data"].clone(), "field is immutable"));
        }
    },
    row,
    ..Kind::BASE
};

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    if !has(object, "data") {
        errors.push(FieldError::required("data", "data is mandatory"));
    }
    check_counts(object, &["revision"], &Path::default(), errors);
}

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name_cell(object), controller(object).into(), count_cell(object, "revision"), age_cell(object, now)]
}

/// The controller of an object: `deployment.apps/web`.
fn controller(object: &Value) -> String {
    let owners = list(&object["metadata"], "ownerReferences");
    let Some(owner) = owners.iter().find(|owner| is_true(owner, "controller")) else {
        return "<none>".to_owned();
    };
    let group =
        text(owner, "apiVersion").split_once('/').map_or(String::new(), |(group, _)| format!(".{group}"));
    format!("{}{}/{}", text(owner, "kind").to_lowercase(), group.to_lowercase(), text(owner, "name"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::field::messages;

    #[test]
    fn rules() {
        let check = |object: Value, expected: &[&str]| {
            assert_eq!(messages(|errors| validate(&object, errors)), expected);
        };
        check(json!({"data": {}, "revision": 0}), &[]);
        check(
            json!({"revision": -1}),
            &[
                "data: Required value: data is mandatory",
                "revision: Invalid value: -1: must be greater than or equal to 0",
            ],
        );
    }

    #[test]
    fn rows_name_the_controller() {
        let check = |owners: Value, expected: &str| {
            let object = json!({"metadata": {"name": "r", "ownerReferences": owners}, "revision": 3});
            assert_eq!(row(&object, Timestamp::UNIX_EPOCH)[1..3], [json!(expected), json!(3)]);
        };
        check(json!([]), "<none>");
        check(json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}]), "<none>");
        check(
            json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "s", "controller": true}]),
            "statefulset.apps/s",
        );
        check(json!([{"apiVersion": "v1", "kind": "Pod", "name": "p", "controller": true}]), "pod/p");
    }
}
