//! Rules for Services.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    families, is_externally_accessible, is_headless, is_load_balancer, needs_address, needs_health_check,
};
use crate::{
    field::{FieldError, Path},
    ip,
    kind::{
        report,
        rules::{check_choice, check_optional_choice, check_port, check_port_number, check_subdomain},
    },
    names,
    value::{has, list, text},
};

pub(super) fn object(service: &Value, errors: &mut Vec<FieldError>) {
    let (spec, field) = (&service["spec"], Path::new("spec"));
    check_topology(&service["metadata"]["annotations"], errors);
    if list(spec, "ports").is_empty() && !is_headless(spec) && needs_address(spec) {
        errors.push(FieldError::required(field.child("ports"), ""));
    }
    check_type(spec, &field, errors);
    let mut names = BTreeSet::new();
    for (position, port) in list(spec, "ports").iter().enumerate() {
        check_service_port(spec, port, &field.child("ports").index(position), &mut names, errors);
    }
    crate::meta::validate_labels(spec, "selector", &field, errors);
    check_affinity(spec, &field, errors);
    families::check(spec, errors);
    for (position, address) in list(spec, "externalIPs").iter().filter_map(Value::as_str).enumerate() {
        let field = field.child("externalIPs").index(position);
        if let Some(address) = ip::check_ip(address, &field, errors) {
            ip::check_not_special(address, &field, errors);
        }
    }
    check_choice(spec, "type", &field, &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"], errors);
    check_ports_together(spec, &field.child("ports"), errors);
    check_source_ranges(service, &field, errors);
    check_load_balancer(spec, &field, errors);
    check_external_policy(spec, &field, errors);
    let policies = ["Cluster", "Local"];
    check_optional_choice(spec, "internalTrafficPolicy", &field, &policies, errors);
    let distributions = ["PreferClose", "PreferSameNode", "PreferSameZone"];
    check_optional_choice(spec, "trafficDistribution", &field, &distributions, errors);
}

pub(super) fn update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let (new, old) = (&new["spec"], &old["spec"]);
    let mut changes = Vec::new();
    if needs_address(new) && needs_address(old) {
        if !(is_headless(new) && is_headless(old)) {
            check_unchanged(new, old, ("clusterIPs", "primary clusterIP can not be unset"), &mut changes);
        }
        if !is_headless(new) && !is_headless(old) {
            check_unchanged(new, old, ("ipFamilies", "primary ipFamily can not be unset"), &mut changes);
        }
    }
    if is_load_balancer(new) && is_load_balancer(old) && new["loadBalancerClass"] != old["loadBalancerClass"]
    {
        let class = new["loadBalancerClass"].clone();
        changes.push(FieldError::invalid("spec.loadBalancerClass", class, "may not change once set"));
    }
    if needs_health_check(new)
        && needs_health_check(old)
        && new["healthCheckNodePort"] != old["healthCheckNodePort"]
    {
        changes.push(FieldError::forbidden("spec.healthCheckNodePort", "field is immutable"));
    }
    // Kubernetes tells of changes before it tells of the rest.
    errors.splice(0..0, changes);
}

pub(super) fn status(service: &Value, errors: &mut Vec<FieldError>) {
    check_load_balancer_status(&service["status"], &Path::new("status.loadBalancer"), errors);
    let is_balanced = is_load_balancer(&service["spec"]);
    for (position, ingress) in list(&service["status"]["loadBalancer"], "ingress").iter().enumerate() {
        let field = Path::new("status.loadBalancer.ingress").index(position).child("ipMode");
        let has_ip = !text(ingress, "ip").is_empty();
        if has(ingress, "ipMode") && !has_ip {
            errors.push(FieldError::forbidden(&field, "may not be specified when `ip` is not set"));
        } else if !has(ingress, "ipMode") && has_ip && is_balanced {
            errors.push(FieldError::required(&field, "must be specified when `ip` is set"));
        }
        check_optional_choice(
            ingress,
            "ipMode",
            &Path::new("status.loadBalancer.ingress").index(position),
            &["Proxy", "VIP"],
            errors,
        );
    }
    if !is_balanced && !list(&service["status"]["loadBalancer"], "ingress").is_empty() {
        let detail = "may only be used when `spec.type` is \"LoadBalancer\"";
        errors.push(FieldError::forbidden("status.loadBalancer.ingress", detail));
    }
}

/// Addresses and names that a load balancer has, of a Service or an Ingress.
pub(in crate::kind) fn check_load_balancer_status(
    status: &Value,
    field: &Path,
    errors: &mut Vec<FieldError>,
) {
    for (position, ingress) in list(&status["loadBalancer"], "ingress").iter().enumerate() {
        let field = field.child("ingress").index(position);
        let (address, hostname) = (text(ingress, "ip"), text(ingress, "hostname"));
        if !address.is_empty() {
            ip::check_ip(address, &field.child("ip"), errors);
        }
        if !hostname.is_empty() {
            check_subdomain(hostname, &field.child("hostname"), errors);
            if hostname.parse::<std::net::IpAddr>().is_ok() {
                let detail = "must be a DNS name, not an IP address";
                errors.push(FieldError::invalid(field.child("hostname"), hostname, detail));
            }
        }
    }
}

/// The first of a list may not change; a second may come and go with the policy, which is checked with the families.
fn check_unchanged(new: &Value, old: &Value, (key, unset): (&str, &str), errors: &mut Vec<FieldError>) {
    let field = Path::new("spec").child(key).index(0);
    let (now, before) = (list(new, key), list(old, key));
    let shown = new[key].clone();
    let is_changed = match (now.len(), before.len()) {
        (0, 1..) => {
            errors.push(FieldError::invalid(&field, shown.clone(), unset));
            false
        }
        (now_count, before_count) if now_count == before_count => now != before,
        _ => matches!((now.first(), before.first()), (Some(now), Some(before)) if now != before),
    };
    if is_changed {
        errors.push(FieldError::invalid(&field, shown, "may not change once set"));
    }
}

fn check_topology(annotations: &Value, errors: &mut Vec<FieldError>) {
    let (mode, hints) = ("service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints");
    if has(annotations, mode) && has(annotations, hints) && annotations[mode] != annotations[hints] {
        let detail = format!("must match annotations[{hints}] when both are specified");
        let field = Path::new("metadata.annotations").key(mode);
        errors.push(FieldError::invalid(field, annotations[mode].clone(), &detail));
    }
}

fn check_type(spec: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let kind = text(spec, "type");
    if kind == "LoadBalancer" {
        for (position, port) in list(spec, "ports").iter().enumerate() {
            if port["port"] == KUBELET_PORT {
                let detail =
                    format!("may not expose port {KUBELET_PORT} externally since it is used by kubelet");
                let field = field.child("ports").index(position);
                errors.push(FieldError::invalid(field, KUBELET_PORT, &detail));
            }
        }
    }
    if ["LoadBalancer", "NodePort"].contains(&kind) && is_headless(spec) {
        let detail = format!("may not be set to 'None' for {kind} services");
        errors.push(FieldError::invalid(field.child("clusterIPs").index(0), "None", &detail));
    }
    if kind != "ExternalName" {
        return;
    }
    for key in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if has(spec, key) {
            errors.push(FieldError::forbidden(field.child(key), "may not be set for ExternalName services"));
        }
    }
    let name = text(spec, "externalName");
    match name.strip_suffix('.').unwrap_or(name) {
        "" => errors.push(FieldError::required(field.child("externalName"), "")),
        name => check_subdomain(name, &field.child("externalName"), errors),
    }
}

fn check_service_port<'p>(
    spec: &Value,
    port: &'p Value,
    field: &Path,
    seen: &mut BTreeSet<&'p str>,
    errors: &mut Vec<FieldError>,
) {
    match text(port, "name") {
        "" if list(spec, "ports").len() > 1 => errors.push(FieldError::required(field.child("name"), "")),
        "" => {}
        name => {
            report(names::dns_label(name), &field.child("name"), name, errors);
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(field.child("name"), name));
            }
        }
    }
    check_port_number(port["port"].as_i64().unwrap_or_default(), &field.child("port"), errors);
    check_choice(port, "protocol", field, &PROTOCOLS, errors);
    check_port(&port["targetPort"], &field.child("targetPort"), errors);
    if let Some(protocol) = port["appProtocol"].as_str() {
        report(names::qualified_name(protocol), &field.child("appProtocol"), protocol, errors);
    }
}

fn check_affinity(spec: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    check_choice(spec, "sessionAffinity", field, &["ClientIP", "None"], errors);
    let field = field.child("sessionAffinityConfig");
    match text(spec, "sessionAffinity") {
        "ClientIP" => {
            let seconds = spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"].as_i64();
            if let Some(seconds) = seconds.filter(|seconds| !(1..=AFFINITY_SECONDS_MAX).contains(seconds)) {
                let detail = format!("must be greater than 0 and less than {AFFINITY_SECONDS_MAX}");
                let field = field.child("clientIP").child("timeoutSeconds");
                errors.push(FieldError::invalid(field, seconds, &detail));
            }
        }
        "None" if has(spec, "sessionAffinityConfig") => {
            let detail = "must not be set when session affinity is None";
            errors.push(FieldError::forbidden(&field, detail));
        }
        _ => {}
    }
}

fn check_ports_together(spec: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let ports = list(spec, "ports");
    let node_port = |port: &Value| port["nodePort"].as_i64().filter(|port| *port != 0);
    if text(spec, "type") == "ClusterIP" {
        for (position, _) in ports.iter().enumerate().filter(|(_, port)| node_port(port).is_some()) {
            let detail = "may not be used when `type` is 'ClusterIP'";
            errors.push(FieldError::forbidden(field.index(position).child("nodePort"), detail));
        }
    }
    let mut seen = BTreeSet::new();
    for (position, port) in ports.iter().enumerate() {
        if let Some(node_port) = node_port(port)
            && !seen.insert((text(port, "protocol"), node_port))
        {
            errors.push(FieldError::duplicate(field.index(position).child("nodePort"), node_port));
        }
    }
    let mut seen = BTreeSet::new();
    for (position, port) in ports.iter().enumerate() {
        let (protocol, number) = (text(port, "protocol"), port["port"].as_i64().unwrap_or_default());
        if !seen.insert((protocol, number)) {
            // Kubernetes shows the part that must differ in a port that has nothing else.
            let shown = format!(
                "{{\"Name\":\"\",\"Protocol\":\"{protocol}\",\"AppProtocol\":null,\"Port\":{number},\"TargetPort\":0,\
                 \"NodePort\":0}}"
            );
            errors.push(FieldError::duplicate_json(field.index(position), &shown));
        }
    }
}

fn check_source_ranges(service: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let spec = &service["spec"];
    let annotation = "service.beta.kubernetes.io/load-balancer-source-ranges";
    let ranges: Vec<&str> =
        list(spec, "loadBalancerSourceRanges").iter().filter_map(Value::as_str).map(str::trim).collect();
    let annotated = service["metadata"]["annotations"][annotation].as_str();
    if ranges.is_empty() && annotated.is_none() {
        return;
    }
    let is_field = !ranges.is_empty();
    // Kubernetes names the field so.
    let field = if is_field {
        field.child("LoadBalancerSourceRanges")
    } else {
        Path::new("metadata.annotations").key(annotation)
    };
    if !is_load_balancer(spec) {
        errors.push(FieldError::forbidden(&field, "may only be used when `type` is 'LoadBalancer'"));
    }
    if is_field {
        for (position, range) in ranges.into_iter().enumerate() {
            ip::check_cidr(range, &field.index(position), errors);
        }
    } else {
        let annotated = annotated.unwrap_or_default().trim();
        for range in annotated.split(',').filter(|_| !annotated.is_empty()) {
            ip::check_cidr(range.trim(), &field, errors);
        }
    }
}

fn check_load_balancer(spec: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let detail = "may only be used when `type` is 'LoadBalancer'";
    if has(spec, "allocateLoadBalancerNodePorts") && !is_load_balancer(spec) {
        errors.push(FieldError::forbidden(field.child("allocateLoadBalancerNodePorts"), detail));
    }
    let Some(class) = spec["loadBalancerClass"].as_str() else { return };
    let field = field.child("loadBalancerClass");
    if is_load_balancer(spec) {
        report(names::qualified_name(class), &field, class, errors);
    } else {
        errors.push(FieldError::forbidden(&field, detail));
    }
}

fn check_external_policy(spec: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let policy = text(spec, "externalTrafficPolicy");
    if is_externally_accessible(spec) {
        check_choice(spec, "externalTrafficPolicy", field, &["Cluster", "Local"], errors);
    } else if !policy.is_empty() {
        let detail = "may only be set for externally-accessible services";
        errors.push(FieldError::invalid(field.child("externalTrafficPolicy"), policy, detail));
    }
    let port = spec["healthCheckNodePort"].as_i64().unwrap_or_default();
    let field = field.child("healthCheckNodePort");
    if needs_health_check(spec) {
        match port {
            0 => errors.push(FieldError::required(&field, "")),
            port => check_port_number(port, &field, errors),
        }
    } else if port != 0 {
        let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.push(FieldError::invalid(&field, port, detail));
    }
}

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const KUBELET_PORT: i64 = 10_250;
/// A day.
const AFFINITY_SECONDS_MAX: i64 = 86_400;
