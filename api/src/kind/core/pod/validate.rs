//! Rules for pods, in the order in which Kubernetes checks them.

use serde_json::Value;

use crate::{
    field::{FieldError, Path},
    kind::{
        pod::{MIRROR, mirror_of},
        report,
    },
    names::{self, NameRule},
    value::{has, list, text},
};

mod affinity;
mod container;
mod env;
mod ephemeral;
mod guest;
mod probes;
mod resources;
mod security;
mod tolerations;
mod update;
mod volumes;

pub(in crate::kind) use affinity::check_node_terms;
pub(super) use ephemeral::{create, update as update_ephemeral};
pub(in crate::kind) use tolerations::check as check_tolerations;
pub(super) use update::{status, update};

/// Rules for any pod.
pub(super) fn object(pod: &Value, errors: &mut Vec<FieldError>) {
    if let Some(mirror_of) = mirror_of(pod)
        && text(&pod["spec"], "nodeName").is_empty()
    {
        let field = Path::new("metadata.annotations").key(MIRROR);
        let detail = "must set spec.nodeName if mirror pod annotation is set";
        errors.push(FieldError::invalid(field, mirror_of, detail));
    }
    annotations(&pod["metadata"], &Path::new("metadata"), errors);
    template(&pod["spec"], &Path::new("spec"), errors);
}

/// Rules for the annotations of a pod, be it in a pod or in a template.
pub(super) fn annotations(metadata: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let annotations = &metadata["annotations"];
    let cost = text(annotations, DELETION_COST);
    // As Kubernetes reads it: neither a plus nor leading zeros.
    let is_plain = cost == "0" || cost.starts_with(|first| matches!(first, '-' | '1'..='9'));
    if has(annotations, DELETION_COST) && !(is_plain && cost.parse::<i32>().is_ok()) {
        let field = field.child("annotations").key(DELETION_COST);
        errors.push(FieldError::invalid(field, cost, "must be a 32bit integer"));
    }
    guest::check(annotations, &field.child("annotations"), errors);
}

/// What a pod's deletion costs beside others.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Rules for the spec of a pod, be it in a pod or in a template.
pub(super) fn template(spec: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let volumes = volumes::check(spec, &field.child("volumes"), errors);
    container::check(spec, field, &volumes, errors);
    check_choice(spec, "restartPolicy", field, &["Always", "OnFailure", "Never"], errors);
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    check_choice(spec, "dnsPolicy", field, &policies, errors);
    crate::meta::validate_labels(spec, "nodeSelector", field, errors);
    security::check_pod(spec, &field.child("securityContext"), errors);
    security::check_proc_mounts(spec, field, errors);
    for (position, secret) in list(spec, "imagePullSecrets").iter().enumerate() {
        if text(secret, "name").is_empty() {
            let field = field.child("imagePullSecrets").index(position).child("name");
            errors.push(FieldError::required(field, "pod references non-existent image pull secret"));
        }
    }
    affinity::check(&spec["affinity"], &field.child("affinity"), errors);
    check_dns(spec, &field.child("dnsConfig"), errors);
    check_gates(spec, field, errors);
    tolerations::check_spread(spec, &field.child("topologySpreadConstraints"), errors);
    check_names(spec, field, errors);
    tolerations::check(list(spec, "tolerations"), &field.child("tolerations"), errors);
    check_host_aliases(spec, &field.child("hostAliases"), errors);
    if has(spec, "resources") {
        resources::check_pod(spec, &field.child("resources"), errors);
    }
    check_choice(spec, "preemptionPolicy", field, &["Never", "PreemptLowerPriority"], errors);
}

/// A set value must be one of `supported`.
fn check_choice(holder: &Value, key: &str, field: &Path, supported: &[&str], errors: &mut Vec<FieldError>) {
    let value = text(holder, key);
    if !value.is_empty() && !supported.contains(&value) {
        errors.push(FieldError::not_supported(field.child(key), value, supported));
    }
}

/// A set number must not be negative.
fn check_not_negative(holder: &Value, key: &str, field: &Path, errors: &mut Vec<FieldError>) {
    if let Some(value) = holder[key].as_i64().filter(|value| *value < 0) {
        errors.push(FieldError::invalid(field.child(key), value, "must be greater than or equal to 0"));
    }
}

/// A set number must lie between both, inclusive.
fn check_range(
    holder: &Value,
    key: &str,
    field: &Path,
    [lowest, highest]: [i64; 2],
    errors: &mut Vec<FieldError>,
) {
    if let Some(value) = holder[key].as_i64().filter(|value| !(lowest..=highest).contains(value)) {
        let detail = format!("must be between {lowest} and {highest}, inclusive");
        errors.push(FieldError::invalid(field.child(key), value, &detail));
    }
}

/// A text that must not be empty.
fn check_required(holder: &Value, key: &str, field: &Path, errors: &mut Vec<FieldError>) {
    if text(holder, key).is_empty() {
        errors.push(FieldError::required(field.child(key), ""));
    }
}

fn check_dns(spec: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let config = &spec["dnsConfig"];
    if text(spec, "dnsPolicy") == "None" {
        if config.is_null() {
            let detail = "must provide `dnsConfig` when `dnsPolicy` is None";
            errors.push(FieldError::required(field, detail));
            return;
        }
        if list(config, "nameservers").is_empty() {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.push(FieldError::required(field.child("nameservers"), detail));
            return;
        }
    }
    let servers = list(config, "nameservers");
    if servers.len() > NAMESERVERS_LIMIT {
        let detail = format!("must not have more than {NAMESERVERS_LIMIT} nameservers");
        errors.push(FieldError::invalid(field.child("nameservers"), servers.to_vec(), &detail));
    }
    for (position, server) in servers.iter().filter_map(Value::as_str).enumerate() {
        check_address(server, &field.child("nameservers").index(position), errors);
    }
    for (position, search) in list(config, "searches").iter().filter_map(Value::as_str).enumerate() {
        let field = field.child("searches").index(position);
        let name = search.strip_suffix('.').unwrap_or(search);
        // Underscores are for service records.
        report(names::dns_subdomain(&name.replace('_', "a")), &field, search, errors);
    }
    for (position, option) in list(config, "options").iter().enumerate() {
        if text(option, "name").is_empty() {
            let field = field.child("options").index(position);
            errors.push(FieldError::required(field, "must not be empty"));
        }
    }
}

fn check_address(address: &str, field: &Path, errors: &mut Vec<FieldError>) {
    if address.parse::<std::net::IpAddr>().is_err() {
        let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        errors.push(FieldError::invalid(field, address, detail));
    }
}

fn check_gates(spec: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    for (position, gate) in list(spec, "readinessGates").iter().enumerate() {
        let field = field.child("readinessGates").index(position).child("conditionType");
        let kind = text(gate, "conditionType");
        report(names::qualified_name(kind), &field, kind, errors);
    }
    let mut seen = Vec::new();
    for (position, gate) in list(spec, "schedulingGates").iter().enumerate() {
        let field = field.child("schedulingGates").index(position);
        let name = text(gate, "name");
        report(names::qualified_name(name), &field, name, errors);
        if seen.contains(&name) {
            errors.push(FieldError::duplicate(&field, name));
        }
        seen.push(name);
    }
}

fn check_names(spec: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    for (key, rule) in [("serviceAccountName", NameRule::Subdomain), ("nodeName", NameRule::Subdomain)] {
        let name = text(spec, key);
        if !name.is_empty() {
            report(rule.check(name), &field.child(key), name, errors);
        }
    }
    check_range(spec, "activeDeadlineSeconds", field, [1, i64::from(i32::MAX)], errors);
    for (key, rule) in [
        ("hostname", NameRule::Label),
        ("subdomain", NameRule::Label),
        ("priorityClassName", NameRule::Subdomain),
        ("runtimeClassName", NameRule::Subdomain),
    ] {
        let name = text(spec, key);
        if !name.is_empty() {
            report(rule.check(name), &field.child(key), name, errors);
        }
    }
}

fn check_host_aliases(spec: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    for (position, alias) in list(spec, "hostAliases").iter().enumerate() {
        let field = field.index(position);
        check_address(text(alias, "ip"), &field.child("ip"), errors);
        for (position, name) in list(alias, "hostnames").iter().filter_map(Value::as_str).enumerate() {
            report(names::dns_subdomain(name), &field.child("hostnames").index(position), name, errors);
        }
    }
}

const NAMESERVERS_LIMIT: usize = 3;
