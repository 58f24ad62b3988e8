//! Rules for containers.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{check_choice, check_required, env, ephemeral, probes, resources, security, volumes};
use crate::{
    field::{FieldError, Path},
    kind::{pod::is_sidecar, report},
    names,
    value::{has, is_true, list, text},
};

/// Checks containers, which may mount these volumes.
pub(super) fn check(spec: &Value, field: &Path, volumes: &BTreeSet<&str>, errors: &mut Vec<FieldError>) {
    let mut names = BTreeSet::new();
    let main = field.child("containers");
    if list(spec, "containers").is_empty() {
        errors.push(FieldError::required(&main, ""));
    }
    let mut host_ports = BTreeSet::new();
    for (position, container) in list(spec, "containers").iter().enumerate() {
        let field = main.index(position);
        check_common(container, &field, volumes, errors);
        probes::check(container, spec["terminationGracePeriodSeconds"].as_i64(), &field, errors);
        check_unique_name(container, &field, &mut names, errors);
        check_choice(container, "restartPolicy", &field, &["Always", "OnFailure", "Never"], errors);
        check_restart_rules(container, &field, errors);
        check_host_ports(container, &field, &mut host_ports, errors);
    }
    if is_true(spec, "hostNetwork") {
        for (position, container) in list(spec, "containers").iter().enumerate() {
            check_host_network(container, &main.index(position).child("ports"), errors);
        }
    }
    for (position, container) in list(spec, "initContainers").iter().enumerate() {
        let field = field.child("initContainers").index(position);
        check_common(container, &field, volumes, errors);
        check_unique_name(container, &field, &mut names, errors);
        check_restart_rules(container, &field, errors);
        if is_sidecar(container) {
            probes::check(container, spec["terminationGracePeriodSeconds"].as_i64(), &field, errors);
        } else {
            check_plain_init(container, &field, errors);
        }
    }
    let others = names.clone();
    for (position, container) in list(spec, "ephemeralContainers").iter().enumerate() {
        let field = field.child("ephemeralContainers").index(position);
        check_common(container, &field, volumes, errors);
        check_unique_name(container, &field, &mut names, errors);
        ephemeral::check(container, &field, &others, errors);
    }
}

fn check_common(container: &Value, field: &Path, volumes: &BTreeSet<&str>, errors: &mut Vec<FieldError>) {
    let name = text(container, "name");
    if name.is_empty() {
        errors.push(FieldError::required(field.child("name"), ""));
    } else {
        report(names::dns_label(name), &field.child("name"), name, errors);
    }
    let image = text(container, "image");
    if image.is_empty() {
        errors.push(FieldError::required(field.child("image"), ""));
    } else if image != image.trim() {
        let detail = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid(field.child("image"), image, detail));
    }
    check_choice(container, "terminationMessagePolicy", field, &["File", "FallbackToLogsOnError"], errors);
    check_ports(container, &field.child("ports"), errors);
    env::check(container, field, errors);
    volumes::check_mounts(container, &field.child("volumeMounts"), volumes, errors);
    check_choice(container, "imagePullPolicy", field, &["Always", "IfNotPresent", "Never"], errors);
    resources::check(&container["resources"], &field.child("resources"), errors);
    check_resize(container, &field.child("resizePolicy"), errors);
    security::check_container(&container["securityContext"], &field.child("securityContext"), errors);
}

fn check_unique_name<'s>(
    container: &'s Value,
    field: &Path,
    names: &mut BTreeSet<&'s str>,
    errors: &mut Vec<FieldError>,
) {
    let name = text(container, "name");
    if !name.is_empty() && !names.insert(name) {
        errors.push(FieldError::duplicate(field.child("name"), name));
    }
}

/// An init container that must end before the next starts has nothing to be probed for.
fn check_plain_init(container: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    for key in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        if has(container, key) {
            let detail = "may not be set for init containers without restartPolicy=Always";
            errors.push(FieldError::forbidden(field.child(key), detail));
        }
    }
    check_choice(container, "restartPolicy", field, &["Always", "OnFailure", "Never"], errors);
}

/// Exit codes after which a container runs again, whatever its policy says.
fn check_restart_rules(container: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let rules = list(container, "restartPolicyRules");
    if !rules.is_empty() && !has(container, "restartPolicy") {
        let detail = "must specify restartPolicy when restart rules are used";
        errors.push(FieldError::required(field.child("restartPolicy"), detail));
    }
    if rules.len() > RESTART_RULES_MAX {
        errors.push(FieldError::too_many(field.child("restartPolicyRules"), rules.len(), RESTART_RULES_MAX));
        return;
    }
    for (position, rule) in rules.iter().enumerate() {
        let field = field.child("restartPolicyRules").index(position);
        check_required(rule, "action", &field, errors);
        check_choice(rule, "action", &field, &["Restart"], errors);
        let codes = field.child("exitCodes");
        if !has(rule, "exitCodes") {
            errors.push(FieldError::required(codes, "must be specified"));
            continue;
        }
        check_required(&rule["exitCodes"], "operator", &codes, errors);
        check_choice(&rule["exitCodes"], "operator", &codes, &["In", "NotIn"], errors);
        let values = list(&rule["exitCodes"], "values").len();
        if values > EXIT_CODES_MAX {
            errors.push(FieldError::too_many(codes.child("values"), values, EXIT_CODES_MAX));
        }
    }
}

fn check_ports(container: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let mut names = BTreeSet::new();
    for (position, port) in list(container, "ports").iter().enumerate() {
        let field = field.index(position);
        let name = text(port, "name");
        if !name.is_empty() {
            let problems = names::port_name(name);
            if problems.is_empty() && !names.insert(name) {
                errors.push(FieldError::duplicate(field.child("name"), name));
            }
            report(problems, &field.child("name"), name, errors);
        }
        match port["containerPort"].as_i64().unwrap_or(0) {
            0 => errors.push(FieldError::required(field.child("containerPort"), "")),
            number => check_port_number(number, &field.child("containerPort"), errors),
        }
        match port["hostPort"].as_i64().unwrap_or(0) {
            0 => {}
            number => check_port_number(number, &field.child("hostPort"), errors),
        }
        check_required(port, "protocol", &field, errors);
        check_choice(port, "protocol", &field, &["SCTP", "TCP", "UDP"], errors);
    }
}

/// Ports must be what TCP and UDP have.
pub(super) fn check_port_number(number: i64, field: &Path, errors: &mut Vec<FieldError>) {
    if !(1..=65535).contains(&number) {
        errors.push(FieldError::invalid(field, number, "must be between 1 and 65535, inclusive"));
    }
}

fn check_host_ports(
    container: &Value,
    field: &Path,
    taken: &mut BTreeSet<String>,
    errors: &mut Vec<FieldError>,
) {
    for (position, port) in list(container, "ports").iter().enumerate() {
        let number = port["hostPort"].as_i64().unwrap_or(0);
        let place = format!("{}/{}/{number}", text(port, "protocol"), text(port, "hostIP"));
        if number != 0 && !taken.insert(place.clone()) {
            let field = field.child("ports").index(position).child("hostPort");
            errors.push(FieldError::duplicate(field, place));
        }
    }
}

/// On the node's network a port has one number. A template may leave it to the pods that are made of it.
fn check_host_network(container: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    for (position, port) in list(container, "ports").iter().enumerate() {
        let number = port["hostPort"].as_i64().unwrap_or(0);
        if number != 0 && port["containerPort"] != port["hostPort"] {
            let detail = "must match `containerPort` when `hostNetwork` is true";
            errors.push(FieldError::invalid(field.index(position).child("hostPort"), number, detail));
        }
    }
}

fn check_resize(container: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let mut seen = BTreeSet::new();
    for (position, policy) in list(container, "resizePolicy").iter().enumerate() {
        let field = field.index(position);
        check_choice(policy, "resourceName", &field, &["cpu", "memory"], errors);
        check_choice(policy, "restartPolicy", &field, &["NotRequired", "RestartContainer"], errors);
        let name = text(policy, "resourceName");
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(field, name));
        }
    }
}

/// Kubernetes' bound on rules of a container.
const RESTART_RULES_MAX: usize = 20;

/// Kubernetes' bound on exit codes of a rule.
const EXIT_CODES_MAX: usize = 255;
