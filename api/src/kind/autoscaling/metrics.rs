//! `metrics`: what an autoscaler looks at.

use serde_json::Value;

use super::horizontal_pod_autoscaler::check_reference;
use crate::{
    field::{FieldError, Path},
    kind::report,
    names::{self, NameRule},
    quantity::Quantity,
    value::{has, list, text},
};

/// A kind of metric: its `type`, and the field that has its source.
pub(super) const SOURCES: [(&str, &str); 5] = [
    ("Object", "object"),
    ("External", "external"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
];

pub(super) fn check(spec: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let metrics = list(spec, "metrics");
    for (position, metric) in metrics.iter().enumerate() {
        check_metric(metric, &field.index(position), errors);
    }
    // A metric of the pods cannot tell when there are none.
    let measures_others = metrics.iter().any(|metric| ["Object", "External"].contains(&text(metric, "type")));
    if spec["minReplicas"] == 0 && !measures_others {
        let detail =
            "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.push(FieldError::forbidden(field, detail));
    }
}

fn check_metric(metric: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let kind = text(metric, "type");
    if kind.is_empty() {
        errors.push(FieldError::required(field.child("type"), "must specify a metric source type"));
    }
    let present: Vec<&str> =
        SOURCES.iter().map(|(_, source)| *source).filter(|source| has(metric, source)).collect();
    if let Some(first) = present.first() {
        check_source(first, &metric[*first], &field.child(first), errors);
    }
    let expected = SOURCES.iter().find(|(name, _)| *name == kind).map(|(_, source)| *source);
    match expected {
        None => {
            let kinds = ["ContainerResource", "External", "Object", "Pods", "Resource"];
            errors.push(FieldError::not_supported(field.child("type"), kind, &kinds));
        }
        Some(source) if !present.contains(&source) => {
            let detail = "must populate information for the given metric source";
            errors.push(FieldError::required(field.child(source), detail));
        }
        Some(_) => {}
    }
    if present.len() > 1 {
        for other in present.into_iter().filter(|source| Some(*source) != expected) {
            let detail = "must populate the given metric source only";
            errors.push(FieldError::forbidden(field.child(other), detail));
        }
    }
}

fn check_source(source: &str, value: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    match source {
        "object" => {
            check_reference(&value["describedObject"], &field.child("describedObject"), errors);
            check_identifier(&value["metric"], &field.child("metric"), errors);
        }
        "external" | "pods" => check_identifier(&value["metric"], &field.child("metric"), errors),
        _ => {
            let name = text(value, "name");
            if name.is_empty() {
                errors.push(FieldError::required(field.child("name"), "must specify a resource name"));
            } else if source == "containerResource" {
                report(names::qualified_name(name), &field.child("name"), name, errors);
            }
            if source == "containerResource" {
                match text(value, "container") {
                    "" => {
                        errors
                            .push(FieldError::required(field.child("container"), "must specify a container"));
                    }
                    name => report(names::dns_label(name), &field.child("container"), name, errors),
                }
            }
        }
    }
    check_target(source, &value["target"], &field.child("target"), errors);
}

fn check_identifier(metric: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    match text(metric, "name") {
        "" => errors.push(FieldError::required(field.child("name"), "must specify a metric name")),
        name => report(NameRule::PathSegment.check(name), &field.child("name"), name, errors),
    }
}

fn check_target(source: &str, target: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let kind = text(target, "type");
    if kind.is_empty() {
        errors.push(FieldError::required(field.child("type"), "must specify a metric target type"));
    }
    if !["Utilization", "Value", "AverageValue"].contains(&kind) {
        let detail = "must be either Utilization, Value, or AverageValue";
        errors.push(FieldError::invalid(field.child("type"), kind, detail));
    }
    for key in ["value", "averageValue"] {
        let amount: Option<Quantity> = target[key].as_str().and_then(|text| text.parse().ok());
        if amount.is_some_and(|amount| amount.is_negative() || amount.is_zero()) {
            errors.push(FieldError::invalid(field.child(key), target[key].clone(), "must be positive"));
        }
    }
    if let Some(percent) = target["averageUtilization"].as_i64().filter(|percent| *percent < 1) {
        errors.push(FieldError::invalid(
            field.child("averageUtilization"),
            percent,
            "must be greater than 0",
        ));
    }
    check_goal(source, target, field, errors);
}

/// A target names the one goal that its source can have.
fn check_goal(source: &str, target: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let [value, average, utilization] =
        ["value", "averageValue", "averageUtilization"].map(|key| has(target, key));
    let missing = match source {
        "object" if !value && !average => ("averageValue", "must set either a target value or averageValue"),
        "external" if !value && !average => {
            ("averageValue", "must set either a target value for metric or a per-pod target")
        }
        "pods" if !average => ("averageValue", "must specify a positive target averageValue"),
        "resource" | "containerResource" if !utilization && !average => {
            ("averageUtilization", "must set either a target raw value or a target utilization")
        }
        _ => ("", ""),
    };
    if !missing.0.is_empty() {
        errors.push(FieldError::required(field.child(missing.0), missing.1));
    }
    let excess = match source {
        "external" if value && average => {
            ("value", "may not set both a target value for metric and a per-pod target")
        }
        "resource" | "containerResource" if utilization && average => {
            ("averageValue", "may not set both a target raw value and a target utilization")
        }
        _ => return,
    };
    errors.push(FieldError::forbidden(field.child(excess.0), excess.1));
}

/// What is measured beside what it should be, for a cell.
pub(super) fn cell(metrics: &[Value], statuses: &[Value]) -> String {
    if metrics.is_empty() {
        return "<none>".to_owned();
    }
    let nothing = Value::Null;
    let shown = metrics.iter().enumerate().take(SHOWN_LIMIT);
    let shown = shown.map(|(position, metric)| one(metric, statuses.get(position).unwrap_or(&nothing)));
    let shown = shown.collect::<Vec<_>>().join(", ");
    match metrics.len().saturating_sub(SHOWN_LIMIT) {
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}

fn one(metric: &Value, status: &Value) -> String {
    let kind = SOURCES.iter().find(|(name, _)| *name == text(metric, "type"));
    let Some((_, source)) = kind else { return "<unknown type>".to_owned() };
    let (spec, current) = (&metric[*source], &status[*source]["current"]);
    let target = &spec["target"];
    let amount = |value: &Value| value.as_str().unwrap_or("<unknown>").to_owned();
    let percent = |value: &Value, otherwise: &str| {
        value.as_i64().map_or_else(|| otherwise.to_owned(), |percent| format!("{percent}%"))
    };
    let average = has(target, "averageValue");
    match *source {
        "pods" => format!("{}/{}", amount(&current["averageValue"]), text(target, "averageValue")),
        "object" | "external" if average => {
            format!("{}/{} (avg)", amount(&current["averageValue"]), text(target, "averageValue"))
        }
        "object" | "external" => format!("{}/{}", amount(&current["value"]), text(target, "value")),
        _ if average => {
            let name = text(spec, "name");
            format!("{name}: {}/{}", amount(&current["averageValue"]), text(target, "averageValue"))
        }
        _ => {
            let current = percent(&current["averageUtilization"], "<unknown>");
            let target = percent(&target["averageUtilization"], "<auto>");
            format!("{}: {current}/{target}", text(spec, "name"))
        }
    }
}

/// More than this do not fit into a cell.
const SHOWN_LIMIT: usize = 2;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::field::messages;

    fn check(metric: Value, expected: &[&str]) {
        let spec = json!({"minReplicas": 1, "metrics": [metric]});
        assert_eq!(messages(|errors| super::check(&spec, &Path::new("m"), errors)), expected);
    }

    #[test]
    fn every_kind_of_metric_has_a_source_and_a_goal() {
        let metric = json!({"name": "q"});
        check(
            json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}}),
            &[],
        );
        check(
            json!({"type": "Pods", "pods": {"metric": metric, "target": {"type": "AverageValue", "averageValue": "1k"}}}),
            &[],
        );
        check(
            json!({"type": "External", "external": {"metric": metric, "target": {"type": "Value", "value": "30"}}}),
            &[],
        );
        let object = json!({"describedObject": {"kind": "Service", "name": "s"}, "metric": metric, "target": {"type": "Value", "value": "1"}});
        check(json!({"type": "Object", "object": object}), &[]);
        check(
            json!({"type": "x"}),
            &[
                "m[0].type: Unsupported value: \"x\": supported values: \"ContainerResource\", \"External\", \"Object\", \"Pods\", \"Resource\"",
            ],
        );
        check(
            json!({"type": "Pods"}),
            &["m[0].pods: Required value: must populate information for the given metric source"],
        );
        check(
            json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Value"}}}),
            &[
                "m[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization",
            ],
        );
        check(
            json!({"type": "External", "external": {"metric": {}, "target": {"type": "x", "value": "0", "averageValue": "1"}}}),
            &[
                "m[0].external.metric.name: Required value: must specify a metric name",
                "m[0].external.target.type: Invalid value: \"x\": must be either Utilization, Value, or AverageValue",
                "m[0].external.target.value: Invalid value: \"0\": must be positive",
                "m[0].external.target.value: Forbidden: may not set both a target value for metric and a per-pod target",
            ],
        );
        let cpu = json!({"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 0}});
        check(
            json!({"type": "Resource", "resource": cpu, "pods": {}}),
            &[
                "m[0].pods.metric.name: Required value: must specify a metric name",
                "m[0].pods.target.type: Required value: must specify a metric target type",
                "m[0].pods.target.type: Invalid value: \"\": must be either Utilization, Value, or AverageValue",
                "m[0].pods.target.averageValue: Required value: must specify a positive target averageValue",
                "m[0].pods: Forbidden: must populate the given metric source only",
            ],
        );
    }

    #[test]
    fn cells() {
        let check = |metrics: Value, statuses: Value, expected: &str| {
            let (spec, status) = (json!({"m": metrics}), json!({"m": statuses}));
            assert_eq!(cell(list(&spec, "m"), list(&status, "m")), expected);
        };
        let cpu =
            json!({"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}});
        let pods = json!({"type": "Pods", "pods": {"target": {"averageValue": "1k"}}});
        check(json!([]), json!([]), "<none>");
        check(json!([cpu]), json!([]), "cpu: <unknown>/80%");
        check(json!([cpu]), json!([{"resource": {"current": {"averageUtilization": 5}}}]), "cpu: 5%/80%");
        check(json!([cpu, pods, pods]), json!([]), "cpu: <unknown>/80%, <unknown>/1k + 1 more...");
    }
}
