//! CSIDriver.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{INERT, check_driver_name};
use crate::{
    field::{FieldError, Path},
    kind::{
        Column, Kind, Removed, age_cell,
        rules::{check_optional_choice, check_same},
    },
    value::{default, is_true, list, object_mut, set, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    group: "storage.k8s.io",
    kind: "CSIDriver",
    plural: "csidrivers",
    singular: "csidriver",
    namespaced: false,
    schema: "io.k8s.api.storage.v1.CSIDriver",
    removed: Removed::LastState,
    columns: &[
        Column::NAME,
        Column::boolean("AttachRequired", "Whether volumes are attached before they are mounted."),
        Column::boolean("PodInfoOnMount", "Whether it is told for which pod it mounts."),
        Column::boolean("StorageCapacity", "Whether it tells how much it holds."),
        Column::shown("TokenRequests", "For whom it is given tokens of pods."),
        Column::boolean("RequiresRepublish", "Whether mounts are told again and again."),
        Column::shown("Modes", "Which lives its volumes have."),
        Column::AGE,
    ],
    inert: INERT,
    default: |object| {
        let spec = object_mut(object, "spec");
        for (flag, value) in [
            ("attachRequired", true),
            ("podInfoOnMount", false),
            ("storageCapacity", false),
            ("requiresRepublish", false),
            ("seLinuxMount", false),
        ] {
            default(spec, flag, value);
        }
        default(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
        if list(spec, "volumeLifecycleModes").is_empty() {
            set(spec, "volumeLifecycleModes", json!(["Persistent"]));
        }
    },
    validate,
    validate_update: |new, old, errors| {
        for key in ["attachRequired", "volumeLifecycleModes"] {
            check_same(&new["spec"][key], &old["spec"][key], Path::new("spec").child(key), errors);
        }
    },
    row,
    ..Kind::BASE
};

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    let (spec, field) = (&object["spec"], Path::new("spec"));
    check_driver_name(text(&object["metadata"], "name"), &Path::new("metadata.name"), errors);
    let policies = ["File", "None", "ReadWriteOnceWithFSType"];
    check_optional_choice(spec, "fsGroupPolicy", &field, &policies, errors);
    let modes = ["Ephemeral", "Persistent"];
    for mode in list(spec, "volumeLifecycleModes").iter().filter_map(Value::as_str) {
        if !modes.contains(&mode) {
            errors.push(FieldError::not_supported(field.child("volumeLifecycleModes"), mode, &modes));
        }
    }
    let requests = list(spec, "tokenRequests");
    for (position, request) in requests.iter().enumerate() {
        let field = field.child("tokenRequests").index(position);
        if requests[..position].iter().any(|other| other["audience"] == request["audience"]) {
            errors.push(FieldError::duplicate(field.child("audience"), request["audience"].clone()));
        }
        let seconds = request["expirationSeconds"].as_i64();
        if let Some(seconds) = seconds.filter(|seconds| *seconds < TOKEN_SECONDS_MIN) {
            let detail = "may not specify a duration less than 10 minutes";
            errors.push(FieldError::invalid(field.child("expirationSeconds"), seconds, detail));
        }
    }
    let period = spec["nodeAllocatableUpdatePeriodSeconds"].as_i64();
    if let Some(period) = period.filter(|period| *period < UPDATE_SECONDS_MIN) {
        let detail = format!("must be greater than or equal to {UPDATE_SECONDS_MIN} seconds");
        let field = field.child("nodeAllocatableUpdatePeriodSeconds");
        errors.push(FieldError::invalid(field, period, &detail));
    }
}

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    let join = |texts: Vec<&str>, none: &str| match texts.as_slice() {
        [] => none.to_owned(),
        texts => texts.join(","),
    };
    let audiences = list(spec, "tokenRequests").iter().map(|request| text(request, "audience")).collect();
    let modes = list(spec, "volumeLifecycleModes").iter().filter_map(Value::as_str).collect();
    vec![
        text(&object["metadata"], "name").into(),
        (spec["attachRequired"] != false).into(),
        is_true(spec, "podInfoOnMount").into(),
        is_true(spec, "storageCapacity").into(),
        join(audiences, "<unset>").into(),
        is_true(spec, "requiresRepublish").into(),
        join(modes, "<none>").into(),
        age_cell(object, now),
    ]
}

const TOKEN_SECONDS_MIN: i64 = 600;
const UPDATE_SECONDS_MIN: i64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_are_checked() {
        let check = |spec: Value, expected: &[&str]| {
            let mut object = json!({"metadata": {"name": "d.example"}, "spec": spec});
            (KIND.default)(&mut object);
            let mut errors = Vec::new();
            validate(&object, &mut errors);
            let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected);
        };
        check(json!({}), &[]);
        check(
            json!({"volumeLifecycleModes": ["X"], "tokenRequests": [{"audience": "a"}, {"audience": "a", "expirationSeconds": 1}]}),
            &[
                "spec.volumeLifecycleModes: Unsupported value: \"X\": supported values: \"Ephemeral\", \"Persistent\"",
                "spec.tokenRequests[1].audience: Duplicate value: \"a\"",
                "spec.tokenRequests[1].expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes",
            ],
        );
    }
}
