//! Deployment.

use jiff::Timestamp;
use serde_json::Value;

use super::rollout_annotations;
use crate::{
    field::{FieldError, Path},
    kind::{
        Column, Generation, Kind, Scale, Subresource, Warns, age_cell, int_or_percent,
        workload::{self, CONTAINER_COLUMNS, check_counts, container_cells, count_cell, name_cell},
    },
    selector::LabelSelector,
    value::{default, default_text, has, object_mut, put, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    group: "apps",
    kind: "Deployment",
    plural: "deployments",
    singular: "deployment",
    short_names: &["deploy"],
    categories: &["all"],
    schema: "io.k8s.api.apps.v1.Deployment",
    subresources: &[Subresource::SCALE, Subresource::STATUS],
    columns: &[
        Column::NAME,
        Column::shown("Ready", "How many of its pods are ready, of how many there should be."),
        Column::shown("Up-to-date", "How many pods are made of its current template."),
        Column::shown("Available", "How many pods have been ready for long enough."),
        Column::AGE,
        CONTAINER_COLUMNS[0],
        CONTAINER_COLUMNS[1],
        Column::wide("Selector", "Which pods are its own."),
    ],
    scale: Some(Scale::LabelSelector),
    inert: None,
    generation: Generation::CountsSpecAndAnnotationChanges,
    default: defaults,
    prepare_create: |object, _| workload::reset_status(object),
    prepare_update: workload::keep_status,
    prepare_status: |new, old| put(object_mut(new, "metadata"), "labels", old["metadata"]["labels"].clone()),
    validate,
    validate_update: workload::check_selector_stays,
    validate_status,
    warnings: |object| {
        let mut warnings = workload::warnings(object);
        warnings.extend(rollout_annotations::deployment_warnings(object));
        warnings
    },
    warns: Warns::OnNewGenerations,
    row,
    ..Kind::BASE
};

fn defaults(object: &mut Value) {
    let spec = object_mut(object, "spec");
    workload::default_template(spec);
    default(spec, "replicas", 1);
    let strategy = object_mut(spec, "strategy");
    default_text(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate" {
        let rolling = object_mut(strategy, "rollingUpdate");
        default(rolling, "maxUnavailable", "25%");
        default(rolling, "maxSurge", "25%");
    }
    default(spec, "revisionHistoryLimit", 10);
    default(spec, "progressDeadlineSeconds", 600);
}

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    let (spec, field) = (&object["spec"], Path::new("spec"));
    rollout_annotations::check(object, errors);
    check_counts(spec, &["replicas"], &field, errors);
    workload::check_selector(spec, "deployment", "invalid label selector", errors);
    workload::check_lasting_template(spec, "ReplicaSet", errors);
    check_strategy(&spec["strategy"], &field.child("strategy"), errors);
    check_counts(
        spec,
        &["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"],
        &field,
        errors,
    );
    if let Some(deadline) = spec["progressDeadlineSeconds"].as_i64()
        && deadline <= spec["minReadySeconds"].as_i64().unwrap_or(0)
    {
        let detail = "must be greater than minReadySeconds";
        errors.push(FieldError::invalid(field.child("progressDeadlineSeconds"), deadline, detail));
    }
}

fn check_strategy(strategy: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let (rolling, rolling_field) = (&strategy["rollingUpdate"], field.child("rollingUpdate"));
    match text(strategy, "type") {
        "Recreate" => {
            if has(strategy, "rollingUpdate") {
                let detail = "may not be specified when strategy `type` is 'Recreate'";
                errors.push(FieldError::forbidden(rolling_field, detail));
            }
        }
        "RollingUpdate" => {
            for key in ["maxUnavailable", "maxSurge"] {
                int_or_percent::check(&rolling[key], &rolling_field.child(key), errors);
            }
            let (unavailable, field) = (&rolling["maxUnavailable"], rolling_field.child("maxUnavailable"));
            if int_or_percent::is_zero(unavailable) && int_or_percent::is_zero(&rolling["maxSurge"]) {
                let detail = "may not be 0 when `maxSurge` is 0";
                errors.push(FieldError::invalid(&field, unavailable.clone(), detail));
            }
            int_or_percent::check_at_most_all(unavailable, &field, errors);
        }
        _ => {
            errors.push(FieldError::not_supported_json(
                field,
                &super::shown_strategy(strategy),
                &["Recreate", "RollingUpdate"],
            ));
        }
    }
}

fn validate_status(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let (status, field) = (&new["status"], Path::new("status"));
    let counts = [
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "collisionCount",
    ];
    check_counts(status, &counts, &field, errors);
    workload::check_parts(status, &["updatedReplicas", "readyReplicas", "availableReplicas"], errors);
    let detail = "cannot be greater than readyReplicas";
    workload::check_at_most(status, "availableReplicas", "readyReplicas", detail, errors);
    workload::check_collisions(new, old, errors);
}

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let [containers, images] = container_cells(&spec["template"]);
    let selector = match LabelSelector::from_object(&spec["selector"]) {
        Ok(selector) => selector.to_string(),
        Err(_) => "<invalid>".to_owned(),
    };
    vec![
        name_cell(object),
        format!("{}/{}", count_cell(status, "readyReplicas"), count_cell(spec, "replicas")).into(),
        count_cell(status, "updatedReplicas"),
        count_cell(status, "availableReplicas"),
        age_cell(object, now),
        containers,
        images,
        selector.into(),
    ]
}

#[cfg(test)]
mod tests;
