//! IngressClass: plain data, for whoever serves Ingresses.

use serde_json::Value;

use crate::{
    field::{FieldError, Path},
    kind::{
        Column, Generation, Kind, age_cell, report,
        rules::{check_choice, check_path_segment, check_same, check_subdomain},
    },
    names,
    value::{default, has, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    group: "networking.k8s.io",
    kind: "IngressClass",
    plural: "ingressclasses",
    singular: "ingressclass",
    namespaced: false,
    schema: "io.k8s.api.networking.v1.IngressClass",
    columns: &[
        Column::NAME,
        Column::shown("Controller", "Who serves its Ingresses."),
        Column::shown("Parameters", "Where its controller finds its options."),
        Column::AGE,
    ],
    generation: Generation::CountsSpecChanges,
    default: |object| {
        if has(&object["spec"], "parameters") {
            default(&mut object["spec"]["parameters"], "scope", "Cluster");
        }
    },
    validate,
    validate_update: |new, old, errors| {
        check_same(&new["spec"]["controller"], &old["spec"]["controller"], "spec.controller", errors);
    },
    row: |object, now| {
        let spec = &object["spec"];
        let parameters = &spec["parameters"];
        let group = text(parameters, "apiGroup");
        let dot = if has(parameters, "apiGroup") { "." } else { "" };
        let cell = if has(spec, "parameters") {
            format!("{}{dot}{group}/{}", text(parameters, "kind"), text(parameters, "name"))
        } else {
            "<none>".to_owned()
        };
        vec![
            text(&object["metadata"], "name").into(),
            text(spec, "controller").into(),
            cell.into(),
            age_cell(object, now),
        ]
    },
    ..Kind::BASE
};

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    let (spec, field) = (&object["spec"], Path::new("spec"));
    match text(spec, "controller") {
        "" => errors.push(FieldError::required(field.child("controller"), "")),
        controller => {
            let field = field.child("controller");
            if controller.len() > CONTROLLER_BYTES_MAX {
                errors.push(FieldError::too_long(&field, CONTROLLER_BYTES_MAX));
            }
            report(names::domain_prefixed_path(controller), &field, controller, errors);
        }
    }
    if has(spec, "parameters") {
        check_parameters(&spec["parameters"], &field.child("parameters"), errors);
    }
}

fn check_parameters(parameters: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    if let Some(group) = parameters["apiGroup"].as_str() {
        check_subdomain(group, &field.child("apiGroup"), errors);
    }
    check_path_segment(parameters, "kind", field, errors);
    check_path_segment(parameters, "name", field, errors);
    check_choice(parameters, "scope", field, &["Cluster", "Namespace"], errors);
    let namespace = parameters["namespace"].as_str();
    let field = field.child("namespace");
    match (text(parameters, "scope"), namespace) {
        ("Namespace", None) => {
            errors.push(FieldError::required(&field, "`parameters.scope` is set to 'Namespace'"));
        }
        ("Namespace", Some(namespace)) => report(names::dns_label(namespace), &field, namespace, errors),
        ("Cluster", Some(_)) => {
            errors.push(FieldError::forbidden(&field, "`parameters.scope` is set to 'Cluster'"));
        }
        _ => {}
    }
}

const CONTROLLER_BYTES_MAX: usize = 250;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn classes_name_their_controller() {
        let check = |spec: Value, expected: &[&str]| {
            let mut errors = Vec::new();
            validate(&json!({"spec": spec}), &mut errors);
            let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected);
        };
        check(json!({"controller": "a.b/c"}), &[]);
        check(json!({}), &["spec.controller: Required value"]);
        check(
            json!({"controller": "a"}),
            &[
                "spec.controller: Invalid value: \"a\": must be a domain-prefixed path (such as \"acme.io/foo\")",
            ],
        );
        check(
            json!({"controller": "a.b/c", "parameters": {"kind": "K", "name": "n", "scope": "Namespace"}}),
            &["spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"],
        );
        check(
            json!({"controller": "a.b/c", "parameters": {"kind": "K", "name": "n", "scope": "Cluster", "namespace": "x"}}),
            &["spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'"],
        );
    }

    #[test]
    fn rows_show_the_parameters() {
        let cell = |spec: Value| {
            (KIND.row)(&json!({"spec": spec}), jiff::Timestamp::UNIX_EPOCH)[2].as_str().unwrap().to_owned()
        };
        assert_eq!(cell(json!({"controller": "a.b/c"})), "<none>");
        let parameters = json!({"kind": "K", "name": "n", "apiGroup": "g.example"});
        assert_eq!(cell(json!({"parameters": parameters})), "K.g.example/n");
    }
}
