//! RoleBinding and ClusterRoleBinding.

use serde_json::{Value, json};

use super::GROUP;
use crate::{
    field::{FieldError, Path},
    kind::{Column, Kind, age_cell, report},
    names::{self, NameRule},
    value::{default_text, list, list_mut, object_mut, remove, text},
};

pub(super) static ROLE_BINDING: Kind = Kind {
    group: GROUP,
    kind: "RoleBinding",
    plural: "rolebindings",
    singular: "rolebinding",
    schema: "io.k8s.api.rbac.v1.RoleBinding",
    columns: COLUMNS,
    name_rule: NameRule::PathSegment,
    default,
    validate: |object, errors| {
        validate_role(object, &["Role", "ClusterRole"], errors);
        for (position, subject) in list(object, "subjects").iter().enumerate() {
            validate_subject(subject, &Path::new("subjects").index(position), errors);
        }
    },
    validate_update,
    row,
    ..Kind::BASE
};

pub(super) static CLUSTER_ROLE_BINDING: Kind = Kind {
    group: GROUP,
    kind: "ClusterRoleBinding",
    plural: "clusterrolebindings",
    singular: "clusterrolebinding",
    namespaced: false,
    schema: "io.k8s.api.rbac.v1.ClusterRoleBinding",
    columns: COLUMNS,
    name_rule: NameRule::PathSegment,
    default,
    validate: |object, errors| {
        validate_role(object, &["ClusterRole"], errors);
        for (position, subject) in list(object, "subjects").iter().enumerate() {
            let field = Path::new("subjects").index(position);
            validate_subject(subject, &field, errors);
            if text(subject, "kind") == ACCOUNT && text(subject, "namespace").is_empty() {
                errors.push(FieldError::required(field.child("namespace"), ""));
            }
        }
    },
    validate_update,
    row,
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::shown("Role", "Kind and name of the role."),
    Column::AGE,
    Column::wide("Users", "Users that it names."),
    Column::wide("Groups", "Groups that it names."),
    Column::wide("ServiceAccounts", "Service accounts that it names, with their namespaces."),
];

const ACCOUNT: &str = "ServiceAccount";

fn default(object: &mut Value) {
    default_text(object_mut(object, "roleRef"), "apiGroup", GROUP);
    for subject in list_mut(object, "subjects") {
        match text(subject, "kind") {
            "User" | "Group" => default_text(subject, "apiGroup", GROUP),
            _ if text(subject, "apiGroup").is_empty() => drop(remove(subject, "apiGroup")),
            _ => {}
        }
    }
}

fn validate_role(object: &Value, kinds: &[&str], errors: &mut Vec<FieldError>) {
    let (role, field) = (&object["roleRef"], Path::new("roleRef"));
    if text(role, "apiGroup") != GROUP {
        errors.push(FieldError::not_supported(field.child("apiGroup"), text(role, "apiGroup"), &[GROUP]));
    }
    if !kinds.contains(&text(role, "kind")) {
        errors.push(FieldError::not_supported(field.child("kind"), text(role, "kind"), kinds));
    }
    match text(role, "name") {
        "" => errors.push(FieldError::required(field.child("name"), "")),
        name => report(NameRule::PathSegment.check(name), &field.child("name"), name, errors),
    }
}

fn validate_subject(subject: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let (name, group) = (text(subject, "name"), text(subject, "apiGroup"));
    if name.is_empty() {
        errors.push(FieldError::required(field.child("name"), ""));
    }
    let expected = match text(subject, "kind") {
        ACCOUNT => {
            if !name.is_empty() {
                report(names::dns_subdomain(name), &field.child("name"), name, errors);
            }
            ""
        }
        "User" | "Group" => GROUP,
        other => {
            let supported = [ACCOUNT, "User", "Group"];
            errors.push(FieldError::not_supported(field.child("kind"), other, &supported));
            return;
        }
    };
    if group != expected {
        errors.push(FieldError::not_supported(field.child("apiGroup"), group, &[expected]));
    }
}

fn validate_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let role = &new["roleRef"];
    if *role != old["roleRef"] {
        // As Kubernetes prints its struct.
        let [group, kind, name] = ["apiGroup", "kind", "name"].map(|key| json!(text(role, key)));
        let shown = format!("{{\"APIGroup\":{group},\"Kind\":{kind},\"Name\":{name}}}");
        errors.push(FieldError::invalid_json("roleRef", &shown, "cannot change roleRef"));
    }
}

fn row(object: &Value, now: jiff::Timestamp) -> Vec<Value> {
    let role = &object["roleRef"];
    let named = |kind: &str| {
        let subjects = list(object, "subjects").iter().filter(|subject| text(subject, "kind") == kind);
        let names = subjects.map(|subject| match kind {
            ACCOUNT => format!("{}/{}", text(subject, "namespace"), text(subject, "name")),
            _ => text(subject, "name").to_owned(),
        });
        Value::from(names.collect::<Vec<_>>().join(", "))
    };
    vec![
        text(&object["metadata"], "name").into(),
        format!("{}/{}", text(role, "kind"), text(role, "name")).into(),
        age_cell(object, now),
        named("User"),
        named("Group"),
        named(ACCOUNT),
    ]
}
