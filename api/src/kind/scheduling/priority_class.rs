//! PriorityClass.

use serde_json::Value;

use crate::{
    field::{FieldError, Path},
    kind::{Column, Generation, Kind, age_cell},
    value::{default, text},
};

pub(super) static KIND: Kind = Kind {
    group: "scheduling.k8s.io",
    kind: "PriorityClass",
    plural: "priorityclasses",
    singular: "priorityclass",
    short_names: &["pc"],
    namespaced: false,
    schema: "io.k8s.api.scheduling.v1.PriorityClass",
    columns: &[
        Column::NAME,
        Column::integer("Value", "The priority of pods of this class."),
        Column::boolean("Global-Default", "Whether it is the class of pods that name none."),
        Column::AGE,
        Column::shown("PreemptionPolicy", "Whether pods of this class may displace others."),
    ],
    generation: Generation::CountsSpecChanges,
    default: |object| default(object, "preemptionPolicy", "PreemptLowerPriority"),
    validate,
    validate_update,
    row: |object, now| {
        vec![
            text(&object["metadata"], "name").into(),
            object["value"].as_i64().unwrap_or_default().into(),
            (object["globalDefault"] == true).into(),
            age_cell(object, now),
            text(object, "preemptionPolicy").into(),
        ]
    },
    ..Kind::BASE
};

/// The classes that every cluster has, with their priorities: for what the cluster itself cannot do without.
pub const SYSTEM_PRIORITY_CLASSES: [(&str, i64); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

/// Highest priority of a class that is not the system's.
const USER_PRIORITY_MAX: i64 = 1_000_000_000;

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    let (name, value) = (text(&object["metadata"], "name"), object["value"].as_i64().unwrap_or_default());
    if name.starts_with("system-") {
        if let Some(detail) = unlike_system_class(object, name, value) {
            let detail = format!(
                "priority class names with 'system-' prefix are reserved for system use only. error: {detail}"
            );
            errors.push(FieldError::forbidden("metadata.name", &detail));
        }
    } else if value > USER_PRIORITY_MAX {
        let detail = format!("maximum allowed value of a user defined priority is {USER_PRIORITY_MAX}");
        errors.push(FieldError::forbidden("value", &detail));
    }
    let policy = text(object, "preemptionPolicy");
    if !POLICIES.contains(&policy) {
        errors.push(FieldError::not_supported("preemptionPolicy", policy, &POLICIES));
    }
}

/// What makes a class with a name of the system another one than the system's.
fn unlike_system_class(object: &Value, name: &str, value: i64) -> Option<String> {
    let Some((_, known)) = SYSTEM_PRIORITY_CLASSES.iter().find(|(known, _)| *known == name) else {
        return Some(format!("{name} is not a known system priority class"));
    };
    if value != *known {
        return Some(format!("value of {name} PriorityClass must be {known}"));
    }
    let is_default = object["globalDefault"] == true;
    is_default.then(|| format!("globalDefault of {name} PriorityClass must be false"))
}

fn validate_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    if new["value"] != old["value"] {
        errors.push(FieldError::forbidden(Path::new("value"), "may not be changed in an update."));
    }
    if new["preemptionPolicy"] != old["preemptionPolicy"] {
        let value = new["preemptionPolicy"].clone();
        errors.push(FieldError::invalid("preemptionPolicy", value, "field is immutable"));
    }
}

const POLICIES: [&str; 2] = ["Never", "PreemptLowerPriority"];
