//! Rules for changes of Jobs: most of what a job is to do is fixed once it is there.

use serde_json::Value;

use super::{check_spec, is_condition_true};
use crate::{
    field::{FieldError, Path},
    kind::label_selector,
    value::{has, is_true, list, list_mut, object_mut, put, set, text},
};

pub(super) fn check(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let (job, before, field) = (&new["spec"], &old["spec"], Path::new("spec"));
    // Once more: Kubernetes' rules for changes begin with those for the whole.
    check_spec(job, errors);
    check_completions(job, before, &field.child("completions"), errors);
    if job["selector"] != before["selector"] {
        let shown = label_selector::shown(&job["selector"]);
        errors.push(FieldError::invalid_json(field.child("selector"), &shown, FIXED));
    }
    if job["template"] != changeable_template(job, old) {
        errors.push(FieldError::invalid(field.child("template"), job["template"].clone(), FIXED));
    }
    for key in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
        if job[key] != before[key] {
            errors.push(FieldError::invalid(field.child(key), job[key].clone(), FIXED));
        }
    }
}

/// An indexed job may grow and shrink, all of its pods at once.
fn check_completions(job: &Value, before: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let completions = &job["completions"];
    if *completions == before["completions"] {
        return;
    }
    if text(job, "completionMode") != "Indexed" {
        errors.push(FieldError::invalid(field, completions.clone(), FIXED));
    } else if !completions.is_null() && *completions != job["parallelism"] {
        let detail = "can only be modified in tandem with spec.parallelism";
        errors.push(FieldError::invalid(field, completions.clone(), detail));
    }
}

/// The old template with what may change put to what is wanted: of a job that never started, where its pods go; of a suspended one
/// whose pods are gone, what they need.
fn changeable_template(job: &Value, old: &Value) -> Value {
    let mut template = old["spec"]["template"].clone();
    let wanted = &job["template"];
    if !is_true(&old["spec"], "suspend") {
        return template;
    }
    let status = &old["status"];
    if !has(status, "startTime") {
        let metadata = object_mut(&mut template, "metadata");
        for key in ["annotations", "labels"] {
            put(metadata, key, wanted["metadata"][key].clone());
        }
        let pod = object_mut(&mut template, "spec");
        for key in ["nodeSelector", "tolerations", "schedulingGates"] {
            put(pod, key, wanted["spec"][key].clone());
        }
        allow_node_affinity(pod, &wanted["spec"]["affinity"]);
    }
    let is_idle = is_condition_true(old, "Suspended") && status["active"].as_i64().unwrap_or(0) == 0;
    if is_idle || !has(status, "startTime") {
        for key in ["containers", "initContainers"] {
            let pod = object_mut(&mut template, "spec");
            for (container, wanted) in list_mut(pod, key).iter_mut().zip(list(&wanted["spec"], key)) {
                put(container, "resources", wanted["resources"].clone());
            }
        }
    }
    template
}

fn allow_node_affinity(pod: &mut Value, wanted: &Value) {
    if !has(pod, "affinity") {
        if !wanted.is_null() {
            set(object_mut(pod, "affinity"), "nodeAffinity", wanted["nodeAffinity"].clone());
            drop_nulls(&mut pod["affinity"]);
        }
        return;
    }
    put(&mut pod["affinity"], "nodeAffinity", wanted["nodeAffinity"].clone());
    if wanted.is_null() && pod["affinity"].as_object().is_some_and(serde_json::Map::is_empty) {
        put(pod, "affinity", Value::Null);
    }
}

fn drop_nulls(object: &mut Value) {
    if let Some(object) = object.as_object_mut() {
        object.retain(|_, value| !value.is_null());
    }
}

const FIXED: &str = "field is immutable";
