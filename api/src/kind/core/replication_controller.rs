//! ReplicationController.

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    field::{FieldError, Path},
    kind::{
        Column, FieldLabel, FieldLabels, Generation, Kind, Scale, Subresource, Warns, age_cell,
        workload::{
            self, CONTAINER_COLUMNS, check_counts, container_cells, count_cell, labels_cell, name_cell,
        },
    },
    value::{default, entries, object_mut, put},
};

pub(in crate::kind) static KIND: Kind = Kind {
    kind: "ReplicationController",
    plural: "replicationcontrollers",
    singular: "replicationcontroller",
    short_names: &["rc"],
    categories: &["all"],
    schema: "io.k8s.api.core.v1.ReplicationController",
    subresources: &[Subresource::SCALE, Subresource::STATUS],
    columns: &[
        Column::NAME,
        Column::integer("Desired", "How many pods there should be."),
        Column::integer("Current", "How many pods there are."),
        Column::integer("Ready", "How many of them are ready."),
        Column::AGE,
        CONTAINER_COLUMNS[0],
        CONTAINER_COLUMNS[1],
        Column::wide("Selector", "Which pods are its own."),
    ],
    scale: Some(Scale::LabelMap),
    inert: None,
    generation: Generation::CountsSpecChanges,
    fields: FieldLabels::Named(&[FieldLabel {
        label: "status.replicas",
        canonical: "status.replicas",
        value: |object, _| object["status"]["replicas"].as_i64().unwrap_or(0).to_string(),
    }]),
    default: defaults,
    prepare_create: |object, _| workload::reset_status(object),
    prepare_update: workload::keep_status,
    validate,
    validate_status: |new, _, errors| workload::check_replica_counts(&new["status"], errors),
    warnings: workload::warnings,
    warns: Warns::OnNewGenerations,
    row,
    ..Kind::BASE
};

/// What it is to select, and its own labels, follow its template unless it says otherwise.
fn defaults(object: &mut Value) {
    let spec = object_mut(object, "spec");
    default(spec, "replicas", 1);
    if spec["template"].is_null() {
        return;
    }
    workload::default_template(spec);
    let labels = workload::template_labels(spec).clone();
    if entries(spec, "selector").next().is_none() {
        put(spec, "selector", labels.clone());
    }
    let metadata = object_mut(object, "metadata");
    if entries(metadata, "labels").next().is_none() {
        put(metadata, "labels", labels);
    }
}

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    let (spec, field) = (&object["spec"], Path::new("spec"));
    check_counts(spec, &["minReadySeconds"], &field, errors);
    let is_empty = entries(spec, "selector").next().is_none();
    if is_empty {
        errors.push(FieldError::required(field.child("selector"), ""));
    }
    check_counts(spec, &["replicas"], &field, errors);
    if spec["template"].is_null() {
        errors.push(FieldError::required(field.child("template"), ""));
        return;
    }
    let labels = workload::template_labels(spec);
    if !entries(spec, "selector").all(|(key, value)| labels[key] == *value) {
        errors.push(workload::not_selected(spec, &field));
    }
    workload::check_lasting_template(spec, "ReplicationController", errors);
}

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let [containers, images] = container_cells(&spec["template"]);
    vec![
        name_cell(object),
        count_cell(spec, "replicas"),
        count_cell(status, "replicas"),
        count_cell(status, "readyReplicas"),
        age_cell(object, now),
        containers,
        images,
        labels_cell(spec, "selector"),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::field::messages;

    fn controller(spec: Value) -> Value {
        let mut object = json!({"metadata": {"name": "r"}, "spec": spec});
        defaults(&mut object);
        object
    }

    fn template(labels: Value) -> Value {
        json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    }

    #[test]
    fn labels_follow_the_template() {
        let object = controller(json!({"template": template(json!({"app": "a"}))}));
        assert_eq!(
            (&object["spec"]["selector"], &object["spec"]["replicas"]),
            (&json!({"app": "a"}), &json!(1))
        );
        assert_eq!(object["metadata"]["labels"], json!({"app": "a"}));
        let object =
            controller(json!({"selector": {"b": "c"}, "template": template(json!({"app": "a", "b": "c"}))}));
        assert_eq!(object["spec"]["selector"], json!({"b": "c"}));
    }

    #[test]
    fn rules() {
        let check = |spec: Value, expected: &[&str]| {
            let object = controller(spec);
            assert_eq!(messages(|errors| validate(&object, errors)), expected);
        };
        check(json!({"template": template(json!({"app": "a"}))}), &[]);
        check(json!({}), &["spec.selector: Required value", "spec.template: Required value"]);
        check(
            json!({"selector": {"a": "z"}, "replicas": -1, "template": template(json!({"a": "b"}))}),
            &[
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
                "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`",
            ],
        );
    }

    #[test]
    fn rules_of_status() {
        let check = |status: Value, expected: &[&str]| {
            let object = json!({"status": status});
            assert_eq!(messages(|errors| (KIND.validate_status)(&object, &json!({}), errors)), expected);
        };
        check(json!({"replicas": 2, "readyReplicas": 1, "availableReplicas": 1}), &[]);
        check(
            json!({"observedGeneration": -1}),
            &["status.observedGeneration: Invalid value: -1: must be greater than or equal to 0"],
        );
        check(
            json!({"replicas": 1, "fullyLabeledReplicas": 2}),
            &["status.fullyLabeledReplicas: Invalid value: 2: cannot be greater than status.replicas"],
        );
    }

    #[test]
    fn rows_count_pods() {
        let mut object = controller(json!({"template": template(json!({"app": "a"}))}));
        object["status"] = json!({"replicas": 1});
        let expected = json!(["r", 1, 1, 0, "<unknown>", "c", "i", "app=a"]);
        assert_eq!(json!(row(&object, Timestamp::UNIX_EPOCH)), expected);
    }
}
