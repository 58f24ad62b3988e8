//! Service.

use serde_json::{Value, json};

use crate::{
    field::FieldError,
    kind::{Column, FieldLabel, FieldLabels, Kind, Removed, Subresource},
    names::NameRule,
    value::{list, list_mut, put, remove, set, text},
};

mod allocate;
mod claim;
mod columns;
mod defaults;
mod families;
mod ports;
mod validate;
mod warnings;

pub use self::{
    allocate::{NoPool, Pool, Ranges},
    claim::{Claim, claims},
};

pub(in crate::kind) use self::{columns::load_balancer_cell, validate::check_load_balancer_status};

pub(in crate::kind) static KIND: Kind = Kind {
    kind: "Service",
    plural: "services",
    singular: "service",
    short_names: &["svc"],
    categories: &["all"],
    schema: "io.k8s.api.core.v1.Service",
    removed: Removed::LastState,
    subresources: &[Subresource::proxy("ServiceProxyOptions"), Subresource::STATUS],
    columns: &[
        Column::NAME,
        Column::shown("Type", "How it can be reached."),
        Column::shown("Cluster-IP", "Its address inside the cluster."),
        Column::shown("External-IP", "Its addresses outside the cluster."),
        Column::shown("Port(s)", "Its ports, and those of nodes that lead to them."),
        Column::AGE,
        Column::wide("Selector", "Labels of the pods behind it."),
    ],
    fields: FieldLabels::Named(&[FieldLabel::path("spec.clusterIP"), FieldLabel::path("spec.type")]),
    inert: Some("nothing routes its address yet"),
    name_rule: NameRule::Service,
    default: defaults::apply,
    prepare_create: |object, _| set(object, "status", json!({"loadBalancer": {}})),
    prepare_update: |new, old| {
        put(new, "status", old["status"].clone());
        drop_what_the_type_has_no_use_for(new, old);
    },
    allocate: allocate::allocate,
    validate: validate::object,
    validate_update: validate::update,
    validate_status: |new, _: &Value, errors: &mut Vec<FieldError>| validate::status(new, errors),
    warnings: warnings::all,
    row: columns::row,
    ..Kind::BASE
};

/// When a Service changes its type, what the old one needed goes, unless the client changed it too.
fn drop_what_the_type_has_no_use_for(new: &mut Value, old: &Value) {
    let (spec, old) = (&mut new["spec"], &old["spec"]);
    let mut drop_unchanged = |needs: fn(&Value) -> bool, fields: &[&str]| {
        if needs(old) && !needs(spec) && fields.iter().all(|field| spec[*field] == old[*field]) {
            for field in fields {
                remove(spec, field);
            }
        }
    };
    drop_unchanged(needs_address, &["clusterIP", "clusterIPs"]);
    drop_unchanged(needs_address, &["ipFamilies"]);
    drop_unchanged(needs_address, &["ipFamilyPolicy"]);
    drop_unchanged(needs_address, &["internalTrafficPolicy"]);
    drop_unchanged(needs_health_check, &["healthCheckNodePort"]);
    drop_unchanged(is_load_balancer, &["allocateLoadBalancerNodePorts"]);
    drop_unchanged(is_load_balancer, &["loadBalancerClass"]);
    drop_unchanged(needs_node_ports, &["externalTrafficPolicy"]);
    let known: Vec<i64> = node_ports(old).collect();
    if needs_node_ports(old) && !needs_node_ports(spec) && node_ports(spec).all(|port| known.contains(&port))
    {
        for port in list_mut(spec, "ports") {
            remove(port, "nodePort");
        }
    }
    if !is_load_balancer(spec) {
        set(&mut new["status"], "loadBalancer", json!({}));
    }
}

/// Whether Services of this type have an address inside the cluster, be it `None`.
fn needs_address(spec: &Value) -> bool {
    text(spec, "type") != "ExternalName"
}

fn needs_node_ports(spec: &Value) -> bool {
    ["NodePort", "LoadBalancer"].contains(&text(spec, "type"))
}

fn is_load_balancer(spec: &Value) -> bool {
    text(spec, "type") == "LoadBalancer"
}

/// Whether nodes tell load balancers by a port of their own whether they lead to a pod.
fn needs_health_check(spec: &Value) -> bool {
    is_load_balancer(spec) && text(spec, "externalTrafficPolicy") == "Local"
}

fn is_externally_accessible(spec: &Value) -> bool {
    needs_node_ports(spec) || (text(spec, "type") == "ClusterIP" && !list(spec, "externalIPs").is_empty())
}

fn is_headless(spec: &Value) -> bool {
    matches!(list(spec, "clusterIPs"), [only] if only == NO_ADDRESS)
}

/// The ports of nodes that a spec names; 0 stands for none.
fn node_ports(spec: &Value) -> impl Iterator<Item = i64> {
    list(spec, "ports").iter().filter_map(|port| port["nodePort"].as_i64()).filter(|port| *port != 0)
}

/// What a Service without an address says in the place of one.
const NO_ADDRESS: &str = "None";

#[cfg(test)]
mod tests;
