//! Rules for pods.

use serde_json::Value;

use crate::{
    field::{FieldError, Path},
    kind::report,
    names,
    value::{list, text},
};

/// Rules for any pod.
pub(super) fn object(pod: &Value, errors: &mut Vec<FieldError>) {
    let spec = &pod["spec"];
    let field = Path::new("spec.containers");
    if list(spec, "containers").is_empty() {
        errors.push(FieldError::required(&field, ""));
    }
    for (position, container) in list(spec, "containers").iter().enumerate() {
        let field = field.index(position);
        let name = text(container, "name");
        report(names::dns_label(name), &field.child("name"), name, errors);
        if text(container, "image").is_empty() {
            errors.push(FieldError::required(field.child("image"), ""));
        }
        for (position, port) in list(container, "ports").iter().enumerate() {
            let name = text(port, "name");
            if !name.is_empty() {
                report(
                    names::port_name(name),
                    &field.child("ports").index(position).child("name"),
                    name,
                    errors,
                );
            }
        }
        for (position, variable) in list(container, "env").iter().enumerate() {
            let name = text(variable, "name");
            report(
                names::env_var_name(name),
                &field.child("env").index(position).child("name"),
                name,
                errors,
            );
        }
    }
}

/// Rules for a change of a pod.
pub(super) fn update(_new: &Value, _old: &Value, _errors: &mut Vec<FieldError>) {}

/// Rules for a change of a pod's status.
pub(super) fn status(_new: &Value, _old: &Value, _errors: &mut Vec<FieldError>) {}
