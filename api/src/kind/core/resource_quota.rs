//! ResourceQuota.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    field::{FieldError, Path},
    kind::{
        Column, Kind, Removed, Subresource, age_cell,
        rules::{check_amount, check_resource_name, is_quota_resource},
    },
    value::{entries, list, put, set, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    kind: "ResourceQuota",
    plural: "resourcequotas",
    singular: "resourcequota",
    short_names: &["quota"],
    schema: "io.k8s.api.core.v1.ResourceQuota",
    removed: Removed::LastState,
    subresources: &[Subresource::STATUS],
    columns: &[
        Column::NAME,
        Column::shown("Request", "What is used of what may be, but for limits."),
        Column::shown("Limit", "What is used of the limits that may be."),
        Column::AGE,
    ],
    inert: Some("nothing counts what a namespace uses yet"),
    prepare_create: |object, _| set(object, "status", json!({})),
    prepare_update: |new, old| put(new, "status", old["status"].clone()),
    validate: |object, errors| {
        check_amounts(&object["spec"], "hard", &Path::new("spec"), errors);
        check_scopes(&object["spec"], &Path::new("spec.scopes"), errors);
        check_scope_selector(&object["spec"], &Path::new("spec.scopeSelector.matchExpressions"), errors);
    },
    validate_update: |new, old, errors| {
        let scopes = |object: &Value| {
            let mut scopes = list(&object["spec"], "scopes").to_vec();
            scopes.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
            scopes.dedup();
            scopes
        };
        if scopes(new) != scopes(old) {
            let shown = new["spec"]["scopes"].clone();
            errors.push(FieldError::invalid("spec.scopes", shown, "field is immutable"));
        }
    },
    validate_status: |new, _, errors| {
        for key in ["hard", "used"] {
            check_amounts(&new["status"], key, &Path::new("status"), errors);
        }
    },
    row,
    ..Kind::BASE
};

fn check_amounts(holder: &Value, key: &str, field: &Path, errors: &mut Vec<FieldError>) {
    for (resource, amount) in entries(holder, key) {
        let field = field.child(key).key(resource);
        check_resource_name(resource, &field, errors);
        if !resource.contains('/') && !is_quota_resource(resource) {
            let detail = "must be a standard resource for quota";
            errors.push(FieldError::invalid(&field, resource.as_str(), detail));
        }
        check_amount(resource, amount, &field, errors);
    }
}

fn check_scopes(spec: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let scopes: Vec<&str> = list(spec, "scopes").iter().filter_map(Value::as_str).collect();
    let mut refuse = |detail| errors.push(FieldError::invalid(field, json!(scopes), detail));
    for scope in &scopes {
        if !SCOPES.contains(scope) {
            refuse("unsupported scope");
        }
        for _ in bounded(spec).filter(|resource| !is_scope_for(scope, resource)) {
            refuse("unsupported scope applied to resource");
        }
    }
    if conflict(&scopes) {
        refuse("conflicting scopes");
    }
}

fn check_scope_selector(spec: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let mut scopes = Vec::new();
    for requirement in list(&spec["scopeSelector"], "matchExpressions") {
        let (scope, operator) = (text(requirement, "scopeName"), text(requirement, "operator"));
        scopes.push(scope);
        if !SCOPES.contains(&scope) {
            errors.push(FieldError::invalid(field.child("scopeName"), scope, "unsupported scope"));
        }
        for _ in bounded(spec).filter(|resource| !is_scope_for(scope, resource)) {
            let detail = "unsupported scope applied to resource";
            errors.push(FieldError::invalid(field, spec["scopeSelector"].clone(), detail));
        }
        if !["PriorityClass", "VolumeAttributesClass"].contains(&scope) && operator != "Exists" {
            let detail = "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, \
                          ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or \
                          ResourceQuotaScopeCrossNamespacePodAffinity";
            errors.push(FieldError::invalid(field.child("operator"), operator, detail));
        }
        let values = list(requirement, "values");
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                let detail =
                    "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                errors.push(FieldError::required(field.child("values"), detail));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let detail =
                    "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                errors.push(FieldError::invalid(field.child("values"), json!(values), detail));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => {
                let detail = "not a valid selector operator";
                errors.push(FieldError::invalid(field.child("operator"), other, detail));
            }
        }
    }
    if conflict(&scopes) {
        errors.push(FieldError::invalid(field, spec["scopes"].clone(), "conflicting scopes"));
    }
}

/// Standard resources that the quota bounds.
fn bounded(spec: &Value) -> impl Iterator<Item = &str> {
    entries(spec, "hard")
        .map(|(resource, _)| resource.as_str())
        .filter(|resource| is_quota_resource(resource))
}

fn is_scope_for(scope: &str, resource: &str) -> bool {
    match scope {
        "BestEffort" => resource == "pods",
        "Terminating"
        | "NotTerminating"
        | "NotBestEffort"
        | "PriorityClass"
        | "CrossNamespacePodAffinity" => resource == "pods" || COMPUTE.contains(&resource),
        "VolumeAttributesClass" => ["persistentvolumeclaims", "requests.storage"].contains(&resource),
        _ => true,
    }
}

fn conflict(scopes: &[&str]) -> bool {
    let both = |one, other| scopes.contains(&one) && scopes.contains(&other);
    both("BestEffort", "NotBestEffort") || both("Terminating", "NotTerminating")
}

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    let status = &object["status"];
    let amount = |key: &str, resource: &str| match &status[key][resource] {
        Value::String(amount) => amount.clone(),
        _ => "0".to_owned(),
    };
    let cell = |is_meant: fn(&str) -> bool| {
        let resources = entries(status, "hard").map(|(resource, _)| resource);
        let resources = resources.filter(|resource| is_meant(resource));
        let used = resources
            .map(|resource| format!("{resource}: {}/{}", amount("used", resource), amount("hard", resource)));
        Value::from(used.collect::<Vec<_>>().join(", "))
    };
    vec![
        text(&object["metadata"], "name").into(),
        cell(|resource| !resource.starts_with("limits")),
        cell(|resource| resource.starts_with("limits")),
        age_cell(object, now),
    ]
}

const SCOPES: [&str; 7] = [
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];
const COMPUTE: [&str; 6] =
    ["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spec: Value, expected: &[&str]) {
        let mut errors = Vec::new();
        (KIND.validate)(&json!({"spec": spec}), &mut errors);
        let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn quotas_bound_what_they_can() {
        check(json!({"hard": {"pods": "5", "requests.cpu": "1", "count/jobs.batch": "2"}}), &[]);
        check(
            json!({"hard": {"pods": "1500m", "storage": "1"}}),
            &[
                "spec.hard[pods]: Invalid value: \"1500m\": must be an integer",
                "spec.hard[storage]: Invalid value: \"storage\": must be a standard resource for quota",
            ],
        );
    }

    #[test]
    fn scopes_suit_what_is_bounded() {
        check(json!({"hard": {"pods": "1"}, "scopes": ["BestEffort"]}), &[]);
        check(
            json!({"hard": {"services": "1"}, "scopes": ["BestEffort", "NotBestEffort"]}),
            &[
                "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: unsupported scope applied to resource",
                "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: unsupported scope applied to resource",
                "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes",
            ],
        );
        let selector = |operator: &str, values: Value| {
            json!({"scopeSelector": {"matchExpressions": [
                {"scopeName": "PriorityClass", "operator": operator, "values": values}]}})
        };
        check(selector("In", json!(["a"])), &[]);
        check(
            selector("Exists", json!(["a"])),
            &[
                "spec.scopeSelector.matchExpressions.values: Invalid value: [\"a\"]: must be no value when `operator` is \
                 'Exist' or 'DoesNotExist' for scope selector",
            ],
        );
    }

    #[test]
    fn rows_show_what_is_used() {
        let object = json!({"metadata": {"name": "q"}, "status": {
            "hard": {"pods": "100", "limits.cpu": "2", "services": "50"}, "used": {"pods": "6", "services": "3"}}});
        let cells = row(&object, Timestamp::UNIX_EPOCH);
        assert_eq!(cells[1..3], [json!("pods: 6/100, services: 3/50"), json!("limits.cpu: 0/2")]);
    }
}
