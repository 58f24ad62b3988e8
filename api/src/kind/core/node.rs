//! Node.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    field::{FieldError, Path},
    kind::{Column, FieldLabel, FieldLabels, Kind, Subresource, age_cell, report},
    names,
    value::{entries, has, is_true, list, object_mut, put, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    kind: "Node",
    plural: "nodes",
    singular: "node",
    short_names: &["no"],
    namespaced: false,
    schema: "io.k8s.api.core.v1.Node",
    subresources: &[Subresource::proxy("NodeProxyOptions"), Subresource::STATUS],
    columns: &[
        Column::NAME,
        Column::shown("Status", "Whether it is ready and takes new pods."),
        Column::shown("Roles", "From its `node-role.kubernetes.io/` labels."),
        Column::AGE,
        Column::shown("Version", "Version of its agent."),
        Column::wide("Internal-IP", "Address inside the cluster."),
        Column::wide("External-IP", "Address outside the cluster."),
        Column::wide("OS-Image", "Its operating system."),
        Column::wide("Kernel-Version", "Its kernel."),
        Column::wide("Container-Runtime", "What runs its containers."),
    ],
    fields: FieldLabels::Named(&[FieldLabel::flag("spec.unschedulable")]),
    default,
    prepare_create: |object, _| taint_until_ready(object),
    prepare_update: |new, old| put(new, "status", old["status"].clone()),
    validate,
    validate_update,
    row,
    ..Kind::BASE
};

fn default(object: &mut Value) {
    if let Some(range) = object["spec"]["podCIDR"].as_str()
        && list(&object["spec"], "podCIDRs").is_empty()
    {
        let range = json!([range]);
        put(&mut object["spec"], "podCIDRs", range);
    }
    let status = &mut object["status"];
    if entries(status, "allocatable").next().is_none() && entries(status, "capacity").next().is_some() {
        let capacity = status["capacity"].clone();
        put(status, "allocatable", capacity);
    }
}

/// A new node takes no pods before its first report.
fn taint_until_ready(object: &mut Value) {
    let key = "node.kubernetes.io/not-ready";
    let spec = object_mut(object, "spec");
    let tainted = list(spec, "taints")
        .iter()
        .any(|taint| text(taint, "key") == key && text(taint, "effect") == "NoSchedule");
    if !tainted {
        let mut taints = list(spec, "taints").to_vec();
        taints.push(json!({"key": key, "effect": "NoSchedule"}));
        put(spec, "taints", taints.into());
    }
}

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    let spec = &object["spec"];
    check_taints(spec, errors);
    for (position, range) in list(spec, "podCIDRs").iter().filter_map(Value::as_str).enumerate() {
        if !is_cidr(range) {
            let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
            errors.push(FieldError::invalid(Path::new("spec.podCIDRs").index(position), range, detail));
        }
    }
}

fn check_taints(spec: &Value, errors: &mut Vec<FieldError>) {
    let mut seen = Vec::new();
    for (position, taint) in list(spec, "taints").iter().enumerate() {
        // Kubernetes reports taints under metadata.
        let field = Path::new("metadata.taints").index(position);
        let (key, effect) = (text(taint, "key"), text(taint, "effect"));
        report(names::qualified_name(key), &field.child("key"), key, errors);
        report(names::label_value(text(taint, "value")), &field.child("value"), text(taint, "value"), errors);
        if effect.is_empty() {
            errors.push(FieldError::required(field.child("effect"), ""));
        } else if !TAINT_EFFECTS.contains(&effect) {
            errors.push(FieldError::not_supported(field.child("effect"), effect, TAINT_EFFECTS));
        }
        if seen.contains(&(key, effect)) {
            let detail = "taints must be unique by key and effect pair";
            let value = format!("{{\"key\":\"{key}\",\"effect\":\"{effect}\"}}");
            errors.push(FieldError::duplicate(&field, format!("{value}: {detail}")));
        }
        seen.push((key, effect));
    }
}

fn validate_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    for (key, detail) in [
        ("podCIDRs", "node updates may not change podCIDR except from \"\" to valid"),
        ("providerID", "node updates may not change providerID except from \"\" to valid"),
    ] {
        if has(&old["spec"], key) && new["spec"][key] != old["spec"][key] {
            errors.push(FieldError::forbidden(Path::new("spec").child(key), detail));
        }
    }
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let limit = match address.parse() {
        Ok(std::net::IpAddr::V4(_)) => 32,
        Ok(std::net::IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.parse::<u8>().is_ok_and(|bits| bits <= limit)
}

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    let status = &object["status"];
    let info = &status["nodeInfo"];
    let address = |kind| {
        let found = list(status, "addresses").iter().find(|address| text(address, "type") == kind);
        or(found.map_or("", |address| text(address, "address")), "<none>")
    };
    let kernel = match (text(info, "kernelVersion"), text(info, "architecture")) {
        ("", _) => "<unknown>".to_owned(),
        (kernel, "") => kernel.to_owned(),
        (kernel, architecture) => format!("{kernel} ({architecture})"),
    };
    vec![
        text(&object["metadata"], "name").into(),
        readiness(object).into(),
        roles(object).into(),
        age_cell(object, now),
        text(info, "kubeletVersion").into(),
        address("InternalIP").into(),
        address("ExternalIP").into(),
        or(text(info, "osImage"), "<unknown>").into(),
        kernel.into(),
        or(text(info, "containerRuntimeVersion"), "<unknown>").into(),
    ]
}

fn readiness(object: &Value) -> String {
    let ready =
        list(&object["status"], "conditions").iter().find(|condition| text(condition, "type") == "Ready");
    let mut out = match ready.map(|condition| text(condition, "status")) {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if is_true(&object["spec"], "unschedulable") {
        out.push_str(",SchedulingDisabled");
    }
    out
}

fn roles(object: &Value) -> String {
    let mut roles: Vec<&str> = entries(&object["metadata"], "labels")
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") }
}

fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

const TAINT_EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];
