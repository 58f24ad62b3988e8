//! LimitRange.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    field::{FieldError, Path},
    kind::{
        Column, Kind, report,
        rules::{check_container_resource_name, check_resource_name, may_be_overcommitted, quantity},
    },
    names,
    quantity::Quantity,
    value::{default, entries, has, list, list_mut, object_mut, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    kind: "LimitRange",
    plural: "limitranges",
    singular: "limitrange",
    short_names: &["limits"],
    schema: "io.k8s.api.core.v1.LimitRange",
    columns: &[Column::NAME, Column::date("Created At", "When it was created.")],
    inert: Some("nothing holds pods to its limits yet"),
    default: |object| {
        for limit in list_mut(object_mut(object, "spec"), "limits") {
            default_limit(limit);
        }
    },
    validate,
    row: |object, _| {
        let metadata = &object["metadata"];
        vec![text(metadata, "name").into(), metadata["creationTimestamp"].clone()]
    },
    ..Kind::BASE
};

/// What containers get when they name nothing follows from what they may have.
fn default_limit(limit: &mut Value) {
    if text(limit, "type") != "Container" {
        return;
    }
    for (target, source) in [("default", "max"), ("defaultRequest", "default"), ("defaultRequest", "min")] {
        let amounts = limit[source].as_object().cloned().unwrap_or_default();
        for (resource, amount) in amounts {
            default(object_mut(limit, target), &resource, amount);
        }
    }
}

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    let limits = list(&object["spec"], "limits");
    for (position, limit) in limits.iter().enumerate() {
        let field = Path::new("spec.limits").index(position);
        check_type(limit, &field.child("type"), errors);
        if limits[..position].iter().any(|other| other["type"] == limit["type"]) {
            errors.push(FieldError::duplicate(field.child("type"), limit["type"].clone()));
        }
        check_names(limit, &field, errors);
        let storage = |key: &str| has(&limit[key], "storage");
        if text(limit, "type") == "PersistentVolumeClaim" && !storage("min") && !storage("max") {
            let detail = "either minimum or maximum storage value is required, but neither was provided";
            errors.push(FieldError::required(field.child("limits"), detail));
        }
        let resources: BTreeSet<&String> =
            LISTS.iter().flat_map(|key| entries(limit, key)).map(|(resource, _)| resource).collect();
        for resource in resources {
            check_amounts(limit, resource, &field, errors);
        }
    }
}

fn check_type(limit: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let kind = text(limit, "type");
    let problems = names::qualified_name(kind);
    if !problems.is_empty() {
        report(problems, field, kind, errors);
    } else if !kind.contains('/') && !["Container", "PersistentVolumeClaim", "Pod"].contains(&kind) {
        let detail = "must be a standard limit type or fully qualified";
        errors.push(FieldError::invalid(field, kind, detail));
    }
}

fn check_names(limit: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let of_pod = text(limit, "type") == "Pod";
    for key in LISTS {
        if of_pod && ["default", "defaultRequest"].contains(&key) {
            if has(limit, key) {
                let detail = "may not be specified when `type` is 'Pod'";
                errors.push(FieldError::forbidden(field.child(key), detail));
            }
            continue;
        }
        for (resource, _) in entries(limit, key) {
            let field = field.child(key).key(resource);
            if ["Container", "Pod"].contains(&text(limit, "type")) {
                check_container_resource_name(resource, &field, errors);
            } else {
                check_resource_name(resource, &field, errors);
            }
        }
    }
}

/// Least, default and most of one resource must be in this order.
fn check_amounts(limit: &Value, resource: &str, field: &Path, errors: &mut Vec<FieldError>) {
    let amount = |key: &str| quantity(&limit[key][resource]);
    let (min, max, ratio) = (amount("min"), amount("max"), amount("maxLimitRequestRatio"));
    // What is refused for pods altogether is not compared.
    let for_containers = |key| amount(key).filter(|_| text(limit, "type") != "Pod");
    let (usual, request) = (for_containers("default"), for_containers("defaultRequest"));
    // Field, lesser and greater with their names, and the value that is shown.
    let orders = [
        ("min", (min, "min value"), (max, "max value"), min),
        ("defaultRequest", (min, "min value"), (request, "default request value"), request),
        ("defaultRequest", (request, "default request value"), (max, "max value"), request),
        ("defaultRequest", (request, "default request value"), (usual, "default limit value"), request),
        ("default", (min, "min value"), (usual, "default value"), min),
        ("default", (usual, "default value"), (max, "max value"), max),
    ];
    for (key, (lesser, lesser_name), (greater, greater_name), shown) in orders {
        if let (Some(lesser), Some(greater), Some(shown)) = (lesser, greater, shown)
            && lesser > greater
        {
            let detail = format!("{lesser_name} {lesser} is greater than {greater_name} {greater}");
            errors.push(FieldError::invalid(field.child(key).key(resource), shown.to_string(), &detail));
        }
    }
    if let Some(ratio) = ratio {
        check_ratio(ratio, min.zip(max), &field.child("maxLimitRequestRatio").key(resource), errors);
    }
    if let (Some(usual), Some(request)) = (usual, request)
        && !may_be_overcommitted(resource)
        && usual != request
    {
        let detail =
            format!("default value {usual} must equal to defaultRequest value {request} in {resource}");
        let field = field.child("defaultRequest").key(resource);
        errors.push(FieldError::invalid(field, request.to_string(), &detail));
    }
}

#[expect(clippy::cast_precision_loss, reason = "Kubernetes compares ratios as floating point numbers")]
fn check_ratio(
    ratio: Quantity,
    bounds: Option<(Quantity, Quantity)>,
    field: &Path,
    errors: &mut Vec<FieldError>,
) {
    if ratio < Quantity::from_milli(1000) {
        let detail = format!("ratio {ratio} is less than 1");
        errors.push(FieldError::invalid(field, ratio.to_string(), &detail));
    }
    let Some((min, max)) = bounds else { return };
    let most = max.milli() as f64 / min.milli() as f64;
    if ratio.milli() as f64 / 1000.0 > most {
        let detail = format!("ratio {ratio} is greater than max/min = {most:.6}");
        errors.push(FieldError::invalid(field, ratio.to_string(), &detail));
    }
}

const LISTS: [&str; 5] = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(limit: Value, expected: &[&str]) {
        let mut object = json!({"spec": {"limits": [limit]}});
        (KIND.default)(&mut object);
        let mut errors = Vec::new();
        validate(&object, &mut errors);
        let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{object}");
    }

    #[test]
    fn limits_are_in_order() {
        check(json!({"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "1"}}), &[]);
        check(
            json!({"type": "Pod", "max": {"cpu": "1"}, "min": {"cpu": "2"}, "default": {"cpu": "1"}}),
            &[
                "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
                "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1",
            ],
        );
        check(
            json!({"type": "PersistentVolumeClaim", "max": {"memory": "1"}}),
            &[
                "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was \
                 provided",
            ],
        );
        check(
            json!({"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "1"}, "maxLimitRequestRatio": {"cpu": "3"}}),
            &[
                "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"3\": ratio 3 is greater than max/min = 2.000000",
            ],
        );
        check(
            json!({"type": "X", "max": {"foo": "2"}}),
            &[
                "spec.limits[0].type: Invalid value: \"X\": must be a standard limit type or fully qualified",
                "spec.limits[0].max[foo]: Invalid value: \"foo\": must be a standard resource type or fully qualified",
            ],
        );
    }

    #[test]
    fn defaults_follow_from_the_bounds() {
        let mut limit =
            json!({"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "1", "memory": "1Gi"}});
        default_limit(&mut limit);
        assert_eq!(limit["default"], json!({"cpu": "2"}));
        assert_eq!(limit["defaultRequest"], json!({"cpu": "2", "memory": "1Gi"}));
    }
}
