//! Rules for environment variables and the fields they may take their values from.

use serde_json::Value;

use super::check_required;
use crate::{
    field::{FieldError, Path},
    kind::report,
    names,
    value::{has, list, text},
};

pub(super) fn check(container: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    for (position, variable) in list(container, "env").iter().enumerate() {
        let field = field.child("env").index(position);
        let name = text(variable, "name");
        if name.is_empty() {
            errors.push(FieldError::required(field.child("name"), ""));
        } else {
            report(names::env_var_name(name), &field.child("name"), name, errors);
        }
        if has(variable, "valueFrom") {
            check_source(variable, &field.child("valueFrom"), errors);
        }
    }
    for (position, source) in list(container, "envFrom").iter().enumerate() {
        check_from(source, &field.child("envFrom").index(position), errors);
    }
}

fn check_source(variable: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let source = &variable["valueFrom"];
    let mut sources = 0;
    if has(source, "fieldRef") {
        sources += 1;
        check_field_ref(&source["fieldRef"], &field.child("fieldRef"), ENV_FIELDS, errors);
    }
    if has(source, "resourceFieldRef") {
        sources += 1;
        check_resource_ref(&source["resourceFieldRef"], &field.child("resourceFieldRef"), errors);
    }
    for key in ["configMapKeyRef", "secretKeyRef"] {
        if has(source, key) {
            sources += 1;
            let (reference, field) = (&source[key], field.child(key));
            let name = text(reference, "name");
            report(names::dns_subdomain(name), &field.child("name"), name, errors);
            match text(reference, "key") {
                "" => errors.push(FieldError::required(field.child("key"), "")),
                key => report(names::config_key(key), &field.child("key"), key, errors),
            }
        }
    }
    sources += i32::from(has(source, "fileKeyRef"));
    let detail = if sources == 0 {
        "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
    } else if !text(variable, "value").is_empty() {
        "may not be specified when `value` is not empty"
    } else if sources > 1 {
        "may not have more than one field specified at a time"
    } else {
        return;
    };
    errors.push(FieldError::invalid(field, "", detail));
}

fn check_from(source: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let prefix = text(source, "prefix");
    if !prefix.is_empty() {
        report(names::env_var_name(prefix), &field.child("prefix"), prefix, errors);
    }
    let mut sources = 0;
    for key in ["configMapRef", "secretRef"] {
        if has(source, key) {
            sources += 1;
            let field = field.child(key).child("name");
            match text(&source[key], "name") {
                "" => errors.push(FieldError::required(field, "")),
                name => report(names::dns_subdomain(name), &field, name, errors),
            }
        }
    }
    if sources == 0 {
        let detail = "must specify one of: `configMapRef` or `secretRef`";
        errors.push(FieldError::invalid(field, "", detail));
    } else if sources > 1 {
        let detail = "may not have more than one field specified at a time";
        errors.push(FieldError::invalid(field, "", detail));
    }
}

/// A reference to a field of the pod itself.
pub(super) fn check_field_ref(
    reference: &Value,
    field: &Path,
    supported: &[&str],
    errors: &mut Vec<FieldError>,
) {
    check_required(reference, "apiVersion", field, errors);
    let path = text(reference, "fieldPath");
    let field = field.child("fieldPath");
    if path.is_empty() {
        errors.push(FieldError::required(field, ""));
    } else if let Some((map, key)) = path.strip_suffix(']').and_then(|path| path.split_once('[')) {
        let key = key.trim_matches('\'');
        match map {
            "metadata.labels" => report(names::qualified_name(key), &field, key, errors),
            "metadata.annotations" => report(names::qualified_name(&key.to_lowercase()), &field, key, errors),
            _ => {
                errors.push(FieldError::invalid(field, path, &format!("{path} does not support subscript")));
            }
        }
    } else if !KNOWN_FIELDS.contains(&path) {
        let detail = format!("error converting fieldPath: field label not supported: {path}");
        errors.push(FieldError::invalid(field, path, &detail));
    } else if !supported.contains(&path) {
        errors.push(FieldError::not_supported(field, path, supported));
    }
}

/// A reference to what a container asks for.
pub(super) fn check_resource_ref(reference: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let resource = text(reference, "resource");
    let known = ["limits.", "requests."].into_iter().find_map(|prefix| resource.strip_prefix(prefix));
    if resource.is_empty() {
        errors.push(FieldError::required(field.child("resource"), ""));
    } else if !known.is_some_and(|name| RESOURCES.contains(&name) || name.starts_with("hugepages-")) {
        errors.push(FieldError::not_supported(field.child("resource"), resource, RESOURCE_FIELDS));
    }
}

/// What environment variables may take.
const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Every field that a reference may name somewhere.
const KNOWN_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.phase",
    "status.podIP",
    "status.podIPs",
];

const RESOURCES: &[&str] = &["cpu", "ephemeral-storage", "memory"];
const RESOURCE_FIELDS: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
