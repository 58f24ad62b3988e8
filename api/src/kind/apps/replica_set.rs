//! ReplicaSet.

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    field::{FieldError, Path},
    kind::{
        Column, Generation, Kind, Scale, Subresource, Warns, age_cell, label_selector,
        workload::{self, CONTAINER_COLUMNS, check_counts, container_cells, count_cell, name_cell},
    },
    value::{default, object_mut},
};

pub(in crate::kind) static KIND: Kind = Kind {
    group: "apps",
    kind: "ReplicaSet",
    plural: "replicasets",
    singular: "replicaset",
    short_names: &["rs"],
    categories: &["all"],
    schema: "io.k8s.api.apps.v1.ReplicaSet",
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
    scale: Some(Scale::LabelSelector),
    inert: None,
    generation: Generation::CountsSpecChanges,
    default: defaults,
    prepare_create: |object, _| workload::reset_status(object),
    prepare_update: workload::keep_status,
    validate,
    validate_update: workload::check_selector_stays,
    validate_status: |new, _, errors| workload::check_replica_counts(&new["status"], errors),
    warnings: workload::warnings,
    warns: Warns::OnNewGenerations,
    row,
    ..Kind::BASE
};

fn defaults(object: &mut Value) {
    let spec = object_mut(object, "spec");
    workload::default_template(spec);
    default(spec, "replicas", 1);
}

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    let spec = &object["spec"];
    check_counts(spec, &["replicas", "minReadySeconds"], &Path::new("spec"), errors);
    // Kubernetes calls it a deployment.
    workload::check_selector(spec, "deployment", "invalid label selector", errors);
    workload::check_lasting_template(spec, "ReplicaSet", errors);
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
        label_selector::cell(&spec["selector"]).into(),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::field::messages;

    fn check(selector: Value, expected: &[&str]) {
        let mut object = json!({"spec": {
            "selector": selector,
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        }});
        defaults(&mut object);
        let found = messages(|errors| validate(&object, errors));
        assert_eq!(found, expected);
    }

    #[test]
    fn rules() {
        check(json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "b"]}]}), &[]);
        check(json!({}), &["spec.selector: Invalid value: {}: empty selector is invalid for deployment"]);
        check(
            json!({"matchExpressions": [{"key": "app", "operator": "Foo"}]}),
            &[
                "spec.selector.matchExpressions[0].operator: Invalid value: \"Foo\": not a valid selector operator",
                "spec.selector: Invalid value: {\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"Foo\"}]}: invalid label selector",
            ],
        );
    }

    #[test]
    fn a_selector_stays() {
        let set = |value: &str| json!({"spec": {"selector": {"matchLabels": {"app": value}}}});
        let found = messages(|errors| (KIND.validate_update)(&set("b"), &set("a"), errors));
        assert_eq!(
            found,
            ["spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"b\"}}: field is immutable"]
        );
    }

    #[test]
    fn rows_count_pods() {
        let object = json!({"metadata": {"name": "r"}, "status": {"replicas": 2, "readyReplicas": 1},
            "spec": {"replicas": 3, "selector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["b", "a"]}]}}});
        let expected = json!(["r", 3, 2, 1, "<unknown>", "", "", "app in (a,b)"]);
        assert_eq!(json!(row(&object, Timestamp::UNIX_EPOCH)), expected);
    }
}
