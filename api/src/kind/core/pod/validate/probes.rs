//! Rules for probes and lifecycle hooks.

use serde_json::Value;

use super::{check_choice, check_not_negative, check_required, container::check_port_number};
use crate::{
    field::{FieldError, Path},
    kind::report,
    names,
    value::{has, list, text},
};

/// `grace` is the pod's `terminationGracePeriodSeconds`.
pub(super) fn check(container: &Value, grace: Option<i64>, field: &Path, errors: &mut Vec<FieldError>) {
    for hook in ["postStart", "preStop"] {
        let lifecycle = &container["lifecycle"];
        if has(lifecycle, hook) {
            let handlers = &["exec", "httpGet", "tcpSocket", "sleep"];
            let field = field.child("lifecycle").child(hook);
            check_handler(&lifecycle[hook], &field, handlers, errors);
            check_sleep(&lifecycle[hook], grace, &field, errors);
        }
    }
    for (key, once) in
        [("livenessProbe", Once::Yes), ("readinessProbe", Once::No), ("startupProbe", Once::Yes)]
    {
        if has(container, key) {
            check_probe(&container[key], &field.child(key), once, errors);
        }
    }
}

/// Whether one success must be enough.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Once {
    Yes,
    No,
}

fn check_probe(probe: &Value, field: &Path, once: Once, errors: &mut Vec<FieldError>) {
    check_handler(probe, field, &["exec", "httpGet", "tcpSocket", "grpc"], errors);
    for key in
        ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
    {
        check_not_negative(probe, key, field, errors);
    }
    if let Some(grace) = probe["terminationGracePeriodSeconds"].as_i64() {
        let field = field.child("terminationGracePeriodSeconds");
        if once == Once::No {
            errors.push(FieldError::invalid(field, grace, "must not be set for readinessProbes"));
        } else if grace <= 0 {
            errors.push(FieldError::invalid(field, grace, "must be greater than 0"));
        }
    }
    if once == Once::Yes && probe["successThreshold"].as_i64().is_some_and(|times| times != 1) {
        let times = probe["successThreshold"].clone();
        errors.push(FieldError::invalid(field.child("successThreshold"), times, "must be 1"));
    }
}

/// A hook that sleeps longer than the pod may take to end would always be cut short.
fn check_sleep(hook: &Value, grace: Option<i64>, field: &Path, errors: &mut Vec<FieldError>) {
    let (Some(seconds), Some(grace)) = (hook["sleep"]["seconds"].as_i64(), grace) else { return };
    if !(0..=grace).contains(&seconds) {
        let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        errors.push(FieldError::invalid(field.child("sleep"), seconds, &detail));
    }
}

/// Exactly one of the handlers, and that one well-formed.
fn check_handler(holder: &Value, field: &Path, handlers: &[&str], errors: &mut Vec<FieldError>) {
    let mut found = 0;
    for key in handlers.iter().copied().filter(|key| has(holder, key)) {
        found += 1;
        let (handler, field) = (&holder[key], field.child(key));
        if found > 1 {
            errors.push(FieldError::forbidden(field, "may not specify more than 1 handler type"));
            continue;
        }
        match key {
            "exec" if list(handler, "command").is_empty() => {
                errors.push(FieldError::required(field.child("command"), ""));
            }
            "httpGet" => {
                check_required(handler, "path", &field, errors);
                check_port(&handler["port"], &field.child("port"), errors);
                check_choice(handler, "scheme", &field, &["HTTP", "HTTPS"], errors);
                for (position, header) in list(handler, "httpHeaders").iter().enumerate() {
                    let name = text(header, "name");
                    if !is_header_name(name) {
                        let detail = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', \
                                      regex used for validation is '[-A-Za-z0-9]+')";
                        let field = field.child("httpHeaders").index(position).child("name");
                        errors.push(FieldError::invalid(field, name, detail));
                    }
                }
            }
            "tcpSocket" => check_port(&handler["port"], &field.child("port"), errors),
            "grpc" => check_port_number(handler["port"].as_i64().unwrap_or(0), &field.child("port"), errors),
            _ => {}
        }
    }
    if found == 0 {
        errors.push(FieldError::required(field, "must specify a handler type"));
    }
}

fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// A port by number or name.
fn check_port(port: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    match port {
        Value::String(name) => report(names::port_name(name), field, name, errors),
        number => check_port_number(number.as_i64().unwrap_or(0), field, errors),
    }
}
