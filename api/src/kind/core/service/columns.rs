//! A Service's row in tables.

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    kind::{age_cell, labels_cell},
    value::{list, text},
};

pub(super) fn row(service: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &service["spec"];
    let address = list(spec, "clusterIPs").first().and_then(Value::as_str).unwrap_or("<none>");
    vec![
        text(&service["metadata"], "name").into(),
        text(spec, "type").into(),
        address.into(),
        external(service).into(),
        ports(spec).into(),
        age_cell(service, now),
        labels_cell(&spec["selector"]),
    ]
}

fn external(service: &Value) -> String {
    let spec = &service["spec"];
    let own = list(spec, "externalIPs").iter().filter_map(Value::as_str);
    let or = |addresses: Vec<&str>, none: &str| match addresses.as_slice() {
        [] => none.to_owned(),
        addresses => addresses.join(","),
    };
    match text(spec, "type") {
        "ClusterIP" | "NodePort" => or(own.collect(), "<none>"),
        "LoadBalancer" => {
            let balancer = load_balancer_cell(&service["status"]["loadBalancer"]);
            let balancer = (!balancer.is_empty()).then_some(balancer.as_str());
            or(balancer.into_iter().chain(own).collect(), "<pending>")
        }
        "ExternalName" => text(spec, "externalName").to_owned(),
        _ => "<unknown>".to_owned(),
    }
}

/// The addresses of a load balancer, as many as fit.
pub(in crate::kind) fn load_balancer_cell(balancer: &Value) -> String {
    let address = |ingress| match text(ingress, "ip") {
        "" => text(ingress, "hostname"),
        ip => ip,
    };
    let mut addresses: Vec<&str> =
        list(balancer, "ingress").iter().map(address).filter(|address| !address.is_empty()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let all = addresses.join(",");
    match all.char_indices().nth(ADDRESSES_CHARS) {
        Some(_) => {
            let end = all.floor_char_boundary(ADDRESSES_CHARS - 3);
            format!("{}...", &all[..end])
        }
        None => all,
    }
}

fn ports(spec: &Value) -> String {
    let one = |port: &Value| {
        let (number, protocol) = (port["port"].as_i64().unwrap_or_default(), text(port, "protocol"));
        match port["nodePort"].as_i64() {
            Some(node_port @ 1..) => format!("{number}:{node_port}/{protocol}"),
            _ => format!("{number}/{protocol}"),
        }
    };
    match list(spec, "ports") {
        [] => "<none>".to_owned(),
        ports => ports.iter().map(one).collect::<Vec<_>>().join(","),
    }
}

/// What of a load balancer's addresses is shown.
const ADDRESSES_CHARS: usize = 16;
