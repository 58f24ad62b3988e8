//! Role and ClusterRole.

use serde_json::Value;

use super::GROUP;
use crate::{
    field::{FieldError, Path},
    kind::{Column, Kind},
    names::NameRule,
    selector::LabelSelector,
    value::{has, list, text},
};

pub(super) static ROLE: Kind = Kind {
    group: GROUP,
    kind: "Role",
    plural: "roles",
    singular: "role",
    schema: "io.k8s.api.rbac.v1.Role",
    columns: COLUMNS,
    name_rule: NameRule::PathSegment,
    validate: |object, errors| validate_rules(object, Scope::Namespace, errors),
    row: |object, _| row(object),
    ..Kind::BASE
};

pub(super) static CLUSTER_ROLE: Kind = Kind {
    group: GROUP,
    kind: "ClusterRole",
    plural: "clusterroles",
    singular: "clusterrole",
    namespaced: false,
    schema: "io.k8s.api.rbac.v1.ClusterRole",
    columns: COLUMNS,
    name_rule: NameRule::PathSegment,
    validate: |object, errors| {
        validate_rules(object, Scope::Cluster, errors);
        validate_aggregation(object, errors);
    },
    row: |object, _| row(object),
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[Column::NAME, Column::date("Created At", "When the object was created.")];

/// Where a role counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Cluster,
    Namespace,
}

fn row(object: &Value) -> Vec<Value> {
    vec![text(&object["metadata"], "name").into(), text(&object["metadata"], "creationTimestamp").into()]
}

fn validate_rules(object: &Value, scope: Scope, errors: &mut Vec<FieldError>) {
    for (position, rule) in list(object, "rules").iter().enumerate() {
        let field = Path::new("rules").index(position);
        if list(rule, "verbs").is_empty() {
            errors.push(FieldError::required(field.child("verbs"), "verbs must contain at least one value"));
        }
        if list(rule, "nonResourceURLs").is_empty() {
            validate_resources(rule, &field, errors);
        } else {
            validate_urls(rule, scope, &field.child("nonResourceURLs"), errors);
        }
    }
}

fn validate_resources(rule: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    if list(rule, "apiGroups").is_empty() {
        let detail = "resource rules must supply at least one api group";
        errors.push(FieldError::required(field.child("apiGroups"), detail));
    }
    if list(rule, "resources").is_empty() {
        let detail = "resource rules must supply at least one resource";
        errors.push(FieldError::required(field.child("resources"), detail));
    }
}

fn validate_urls(rule: &Value, scope: Scope, field: &Path, errors: &mut Vec<FieldError>) {
    let urls = || rule["nonResourceURLs"].clone();
    if scope == Scope::Namespace {
        let detail = "namespaced rules cannot apply to non-resource URLs";
        errors.push(FieldError::invalid(field, urls(), detail));
    }
    if ["apiGroups", "resources", "resourceNames"].iter().any(|key| !list(rule, key).is_empty()) {
        let detail = "rules cannot apply to both regular resources and non-resource URLs";
        errors.push(FieldError::invalid(field, urls(), detail));
    }
}

fn validate_aggregation(object: &Value, errors: &mut Vec<FieldError>) {
    if !has(object, "aggregationRule") {
        return;
    }
    let field = Path::new("aggregationRule").child("clusterRoleSelectors");
    let selectors = list(&object["aggregationRule"], "clusterRoleSelectors");
    if selectors.is_empty() {
        let detail = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        errors.push(FieldError::required(&field, detail));
    }
    for (position, selector) in selectors.iter().enumerate() {
        if LabelSelector::from_object(selector).is_err() {
            let detail = "invalid label selector.";
            errors.push(FieldError::invalid(field.index(position), selector.clone(), detail));
        }
    }
}
