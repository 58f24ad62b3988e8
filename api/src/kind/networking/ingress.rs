//! Ingress.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    field::{FieldError, Path},
    kind::{
        Column, Generation, Kind, Subresource, age_cell,
        core::service::{check_load_balancer_status, load_balancer_cell},
        report,
        rules::{check_path_segment, check_port_number, check_subdomain},
        some_of,
    },
    names,
    value::{has, list, put, set, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    group: "networking.k8s.io",
    kind: "Ingress",
    plural: "ingresses",
    singular: "ingress",
    short_names: &["ing"],
    schema: "io.k8s.api.networking.v1.Ingress",
    subresources: &[Subresource::STATUS],
    columns: &[
        Column::NAME,
        Column::shown("Class", "Who serves it."),
        Column::shown("Hosts", "Names that it answers."),
        Column::shown("Address", "Where it is served."),
        Column::shown("Ports", "Ports that it is served on."),
        Column::AGE,
    ],
    generation: Generation::CountsSpecChanges,
    inert: Some("nothing serves it yet"),
    prepare_create: |object, _| set(object, "status", json!({"loadBalancer": {}})),
    prepare_update: |new, old| put(new, "status", old["status"].clone()),
    validate,
    validate_create: |object, errors| {
        let (annotated, class) =
            (&object["metadata"]["annotations"][CLASS_ANNOTATION], &object["spec"]["ingressClassName"]);
        if !annotated.is_null() && !class.is_null() && annotated != class {
            let detail = "must match `ingressClassName` when both are specified";
            let field = Path::new("annotations").child(CLASS_ANNOTATION);
            errors.push(FieldError::invalid(field, annotated.clone(), detail));
        }
    },
    validate_status: |new, _, errors| {
        check_load_balancer_status(&new["status"], &Path::new("status.loadBalancer"), errors);
    },
    warnings: |object| {
        let is_annotated = has(&object["metadata"]["annotations"], CLASS_ANNOTATION);
        let warning = "annotation \"kubernetes.io/ingress.class\" is deprecated, please use \
                       'spec.ingressClassName' instead";
        is_annotated.then(|| warning.to_owned()).into_iter().collect()
    },
    row,
    ..Kind::BASE
};

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    let (spec, field) = (&object["spec"], Path::new("spec"));
    if list(spec, "rules").is_empty() && !has(spec, "defaultBackend") {
        let detail = "either `defaultBackend` or `rules` must be specified";
        errors.push(FieldError::invalid(&field, Value::Null, detail));
    }
    if has(spec, "defaultBackend") {
        check_backend(&spec["defaultBackend"], &field.child("defaultBackend"), errors);
    }
    for (position, rule) in list(spec, "rules").iter().enumerate() {
        check_rule(rule, &field.child("rules").index(position), errors);
    }
    for (position, tls) in list(spec, "tls").iter().enumerate() {
        let field = field.child("tls").index(position);
        for (position, host) in list(tls, "hosts").iter().filter_map(Value::as_str).enumerate() {
            check_host(host, &field.child("hosts").index(position), errors);
        }
        let secret = text(tls, "secretName");
        if !secret.is_empty() {
            check_subdomain(secret, &field.child("secretName"), errors);
        }
    }
    if let Some(class) = spec["ingressClassName"].as_str() {
        check_subdomain(class, &field.child("ingressClassName"), errors);
    }
}

fn check_rule(rule: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let host = text(rule, "host");
    if !host.is_empty() {
        if host.parse::<std::net::IpAddr>().is_ok() {
            let detail = "must be a DNS name, not an IP address";
            errors.push(FieldError::invalid(field.child("host"), host, detail));
        }
        check_host(host, &field.child("host"), errors);
    }
    if !has(rule, "http") {
        return;
    }
    let (paths, field) = (list(&rule["http"], "paths"), field.child("http").child("paths"));
    if paths.is_empty() {
        errors.push(FieldError::required(&field, ""));
    }
    for (position, path) in paths.iter().enumerate() {
        check_path(path, &field.index(position), errors);
    }
}

fn check_host(host: &str, field: &Path, errors: &mut Vec<FieldError>) {
    let problems =
        if host.contains('*') { names::wildcard_subdomain(host) } else { names::dns_subdomain(host) };
    report(problems, field, host, errors);
}

fn check_path(path: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let given = text(path, "path");
    let mut refuse = |detail: &str| errors.push(FieldError::invalid(field.child("path"), given, detail));
    match path["pathType"].as_str() {
        None => {
            errors.push(FieldError::required(field.child("pathType"), "pathType must be specified"));
            return;
        }
        Some("Exact" | "Prefix") => {
            if !given.starts_with('/') {
                refuse("must be an absolute path");
            }
            for sequence in ["//", "/./", "/../", "%2f", "%2F"].iter().filter(|part| given.contains(**part)) {
                refuse(&format!("must not contain '{sequence}'"));
            }
            for suffix in ["/..", "/."].iter().filter(|suffix| given.ends_with(**suffix)) {
                refuse(&format!("cannot end with '{suffix}'"));
            }
        }
        Some("ImplementationSpecific") => {
            if !given.is_empty() && !given.starts_with('/') {
                refuse("must be an absolute path");
            }
        }
        Some(other) => {
            let types = ["Exact", "ImplementationSpecific", "Prefix"];
            errors.push(FieldError::not_supported(field.child("pathType"), other, &types));
        }
    }
    check_backend(&path["backend"], &field.child("backend"), errors);
}

fn check_backend(backend: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    match (has(backend, "resource"), has(backend, "service")) {
        (true, true) => {
            let detail = "cannot set both resource and service backends";
            errors.push(FieldError::invalid(field, "", detail));
        }
        (true, false) => check_resource(&backend["resource"], &field.child("resource"), errors),
        (false, true) => check_service(&backend["service"], field, errors),
        (false, false) => {
            errors.push(FieldError::invalid(field, "", "resource or service backend is required"));
        }
    }
}

fn check_resource(resource: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    if let Some(group) = resource["apiGroup"].as_str() {
        check_subdomain(group, &field.child("apiGroup"), errors);
    }
    check_path_segment(resource, "kind", field, errors);
    check_path_segment(resource, "name", field, errors);
}

fn check_service(service: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let own = field.child("service");
    match text(service, "name") {
        "" => errors.push(FieldError::required(own.child("name"), "")),
        name => report(names::dns_label(name), &own.child("name"), name, errors),
    }
    let port = &service["port"];
    match (text(port, "name"), port["number"].as_i64().unwrap_or_default()) {
        ("", 0) => errors.push(FieldError::required(field, "port name or number is required")),
        ("", number) => check_port_number(number, &own.child("port").child("number"), errors),
        (name, 0) => report(names::port_name(name), &own.child("port").child("name"), name, errors),
        _ => errors.push(FieldError::invalid(field, "", "cannot set both port name & port number")),
    }
}

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    let hosts: Vec<&str> =
        list(spec, "rules").iter().map(|rule| text(rule, "host")).filter(|host| !host.is_empty()).collect();
    vec![
        text(&object["metadata"], "name").into(),
        spec["ingressClassName"].as_str().unwrap_or("<none>").into(),
        if hosts.is_empty() { "*".into() } else { some_of(&hosts).into() },
        load_balancer_cell(&object["status"]["loadBalancer"]).into(),
        if list(spec, "tls").is_empty() { "80".into() } else { "80, 443".into() },
        age_cell(object, now),
    ]
}

const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spec: Value, expected: &[&str]) {
        let mut errors = Vec::new();
        validate(&json!({"spec": spec}), &mut errors);
        let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    fn path(path: &str, path_type: &str) -> Value {
        let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
        json!({"rules": [{"http": {"paths": [{"path": path, "pathType": path_type, "backend": backend}]}}]})
    }

    #[test]
    fn paths_are_absolute() {
        check(path("/a", "Prefix"), &[]);
        check(path("", "ImplementationSpecific"), &[]);
        let field = "spec.rules[0].http.paths[0]";
        check(
            path("a//b/..", "Exact"),
            &[
                &format!("{field}.path: Invalid value: \"a//b/..\": must be an absolute path"),
                &format!("{field}.path: Invalid value: \"a//b/..\": must not contain '//'"),
                &format!("{field}.path: Invalid value: \"a//b/..\": cannot end with '/..'"),
            ],
        );
        check(
            path("/a", "X"),
            &[&format!(
                "{field}.pathType: Unsupported value: \"X\": supported values: \"Exact\", \"ImplementationSpecific\", \
                 \"Prefix\""
            )],
        );
    }

    #[test]
    fn backends_are_a_service_or_a_resource() {
        let check = |backend: Value, expected: &[&str]| check(json!({"defaultBackend": backend}), expected);
        check(json!({"service": {"name": "s", "port": {"name": "web"}}}), &[]);
        check(json!({"resource": {"kind": "K", "name": "n"}}), &[]);
        check(
            json!({}),
            &["spec.defaultBackend: Invalid value: \"\": resource or service backend is required"],
        );
        check(
            json!({"service": {"name": "S", "port": {}}}),
            &[
                "spec.defaultBackend.service.name: Invalid value: \"S\": a lowercase RFC 1123 label must consist of lower \
                 case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  \
                 or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
                "spec.defaultBackend: Required value: port name or number is required",
            ],
        );
    }

    #[test]
    fn rows_show_hosts_and_ports() {
        let hosts: Vec<Value> = (0..4).map(|i| json!({"host": format!("h{i}.example")})).collect();
        let cells = row(&json!({"spec": {"rules": hosts, "tls": [{}]}}), Timestamp::UNIX_EPOCH);
        assert_eq!(
            cells[1..5],
            ["<none>", "h0.example,h1.example,h2.example + 1 more...", "", "80, 443"].map(Value::from)
        );
        assert_eq!(row(&json!({}), Timestamp::UNIX_EPOCH)[2], "*");
    }
}
