//! Defaults of Services that the schema does not hold.

use serde_json::{Value, json};

use super::{is_externally_accessible, is_load_balancer};
use crate::value::{default, default_text, has, list_mut, object_mut, remove, set, text};

pub(super) fn apply(object: &mut Value) {
    let spec = object_mut(object, "spec");
    default_text(spec, "sessionAffinity", "None");
    default_affinity(spec);
    default_text(spec, "type", "ClusterIP");
    for port in list_mut(spec, "ports") {
        default_text(port, "protocol", "TCP");
        default_target(port);
    }
    if is_externally_accessible(spec) {
        default_text(spec, "externalTrafficPolicy", "Cluster");
    }
    if ["ClusterIP", "NodePort", "LoadBalancer"].contains(&text(spec, "type")) {
        default(spec, "internalTrafficPolicy", "Cluster");
    }
    if is_load_balancer(spec) {
        default(spec, "allocateLoadBalancerNodePorts", true);
        for ingress in list_mut(&mut object_mut(object, "status")["loadBalancer"], "ingress") {
            if !text(ingress, "ip").is_empty() {
                default(ingress, "ipMode", "VIP");
            }
        }
    }
}

fn default_affinity(spec: &mut Value) {
    match text(spec, "sessionAffinity") {
        "None" => {
            remove(spec, "sessionAffinityConfig");
        }
        "ClientIP" if !has(&spec["sessionAffinityConfig"]["clientIP"], "timeoutSeconds") => {
            set(spec, "sessionAffinityConfig", json!({"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}}));
        }
        _ => {}
    }
}

/// A port leads to the same port of pods.
fn default_target(port: &mut Value) {
    let is_given = match &port["targetPort"] {
        Value::String(name) => !name.is_empty(),
        number => number.as_i64().is_some_and(|number| number != 0),
    };
    if !is_given {
        let number = port["port"].clone();
        set(port, "targetPort", number);
    }
}

/// How long a client's next connection goes to the same pod: three hours.
const AFFINITY_SECONDS: u32 = 10_800;
