//! HorizontalPodAutoscaler, version 2.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{behavior, metrics};
use crate::{
    field::{FieldError, Path},
    kind::{
        Column, Kind, Subresource, age_cell, report,
        workload::{self, check_counts, count_cell, name_cell},
    },
    names::NameRule,
    value::{default, has, list, object_mut, set, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    group: "autoscaling",
    version: "v2",
    kind: "HorizontalPodAutoscaler",
    plural: "horizontalpodautoscalers",
    singular: "horizontalpodautoscaler",
    short_names: &["hpa"],
    categories: &["all"],
    schema: "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
    subresources: &[Subresource::STATUS],
    columns: &[
        Column::NAME,
        Column::shown("Reference", "What it scales."),
        Column::shown("Targets", "What is measured, and what it should be."),
        Column::shown("MinPods", "How many pods there are at least."),
        Column::shown("MaxPods", "How many pods there are at most."),
        Column::shown("Replicas", "How many pods there are."),
        Column::AGE,
    ],
    inert: None,
    default: defaults,
    prepare_create: |object, _| workload::reset_status(object),
    prepare_update: workload::keep_status,
    validate,
    validate_status: |new, _, errors| {
        let counts = ["currentReplicas", "desiredReplicas"];
        check_counts(&new["status"], &counts, &Path::new("status"), errors);
    },
    row,
    ..Kind::BASE
};

fn defaults(object: &mut Value) {
    let spec = object_mut(object, "spec");
    default(spec, "minReplicas", 1);
    if list(spec, "metrics").is_empty() {
        set(spec, "metrics", json!([cpu_utilization(DEFAULT_CPU_PERCENT)]));
    }
    if has(spec, "behavior") {
        behavior::complete(&mut spec["behavior"]);
    }
}

/// The metric that keeps the CPU's use at a share of what pods request.
pub(super) fn cpu_utilization(percent: i64) -> Value {
    json!({
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}},
    })
}

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    let (spec, field) = (&object["spec"], Path::new("spec"));
    let (least, most) = (spec["minReplicas"].as_i64(), spec["maxReplicas"].as_i64().unwrap_or(0));
    if let Some(least) = least.filter(|least| *least < 1) {
        let detail = "must be greater than or equal to 1";
        errors.push(FieldError::invalid(field.child("minReplicas"), least, detail));
    }
    if most < 1 {
        errors.push(FieldError::invalid(field.child("maxReplicas"), most, "must be greater than 0"));
    }
    if least.is_some_and(|least| most < least) {
        let detail = "must be greater than or equal to `minReplicas`";
        errors.push(FieldError::invalid(field.child("maxReplicas"), most, detail));
    }
    check_reference(&spec["scaleTargetRef"], &field.child("scaleTargetRef"), errors);
    metrics::check(spec, &field.child("metrics"), errors);
    behavior::check(&spec["behavior"], &field.child("behavior"), errors);
}

/// A reference to an object whose version does not matter.
pub(super) fn check_reference(reference: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    for key in ["kind", "name"] {
        match text(reference, key) {
            "" => errors.push(FieldError::required(field.child(key), "")),
            name => report(NameRule::PathSegment.check(name), &field.child(key), name, errors),
        }
    }
}

/// The row of an autoscaler in version 2.
pub(super) fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let target = &spec["scaleTargetRef"];
    vec![
        name_cell(object),
        format!("{}/{}", text(target, "kind"), text(target, "name")).into(),
        metrics::cell(list(spec, "metrics"), list(status, "currentMetrics")).into(),
        spec["minReplicas"].as_i64().map_or_else(|| "<unset>".to_owned(), |least| least.to_string()).into(),
        count_cell(spec, "maxReplicas"),
        count_cell(status, "currentReplicas"),
        age_cell(object, now),
    ]
}

/// What an autoscaler without metrics keeps the CPU's use at.
pub(super) const DEFAULT_CPU_PERCENT: i64 = 80;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::messages;

    fn autoscaler(spec: Value) -> Value {
        let mut object = json!({"metadata": {"name": "h"}, "spec": spec});
        default(&mut object["spec"], "scaleTargetRef", json!({"kind": "Deployment", "name": "d"}));
        default(&mut object["spec"], "maxReplicas", 5);
        defaults(&mut object);
        object
    }

    #[test]
    fn the_cpu_is_watched_by_default() {
        let object = autoscaler(json!({}));
        assert_eq!(object["spec"]["minReplicas"], 1);
        assert_eq!(object["spec"]["metrics"], json!([cpu_utilization(80)]));
        assert!(object["spec"].get("behavior").is_none());
    }

    #[test]
    fn rules() {
        let check = |spec: Value, expected: &[&str]| {
            let object = autoscaler(spec);
            assert_eq!(messages(|errors| validate(&object, errors)), expected);
        };
        check(json!({}), &[]);
        check(
            json!({"minReplicas": 0, "maxReplicas": 0}),
            &[
                "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1",
                "spec.maxReplicas: Invalid value: 0: must be greater than 0",
                "spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero replicas",
            ],
        );
        check(
            json!({"minReplicas": 6}),
            &["spec.maxReplicas: Invalid value: 5: must be greater than or equal to `minReplicas`"],
        );
        check(
            json!({"scaleTargetRef": {"name": "a/b"}}),
            &[
                "spec.scaleTargetRef.kind: Required value",
                "spec.scaleTargetRef.name: Invalid value: \"a/b\": may not contain '/'",
            ],
        );
    }

    #[test]
    fn rows_show_targets() {
        let object = autoscaler(json!({}));
        let expected = json!(["h", "Deployment/d", "cpu: <unknown>/80%", "1", 5, 0, "<unknown>"]);
        assert_eq!(json!(row(&object, Timestamp::UNIX_EPOCH)), expected);
    }
}
