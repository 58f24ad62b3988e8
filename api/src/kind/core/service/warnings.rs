//! Warnings about Services, in Kubernetes' words.

use serde_json::Value;

use super::is_headless;
use crate::value::{has, list, text};

pub(super) fn all(service: &Value) -> Vec<String> {
    let spec = &service["spec"];
    let mut warnings = Vec::new();
    let mut warn = |when: bool, text: &str| {
        if when {
            warnings.push(text.to_owned());
        }
    };
    let headless = is_headless(spec) && text(spec, "type") == "ClusterIP";
    let is_name = text(spec, "type") == "ExternalName";
    let has_external = !list(spec, "externalIPs").is_empty();
    warn(
        has(&service["metadata"]["annotations"], TOPOLOGY_HINTS),
        "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use \
         service.kubernetes.io/topology-mode instead",
    );
    warn(
        headless && !text(spec, "loadBalancerIP").is_empty(),
        "spec.loadBalancerIP is ignored for headless services",
    );
    warn(headless && has_external, "spec.externalIPs is ignored for headless services");
    warn(
        headless && text(spec, "sessionAffinity") != "None",
        "spec.SessionAffinity is ignored for headless services",
    );
    warn(
        has_external && !headless && !is_name,
        "spec.externalIPs is deprecated and may no longer be implemented in some clusters",
    );
    warn(is_name && has_external, "spec.externalIPs is ignored when spec.type is \"ExternalName\"");
    warn(
        !is_name && !text(spec, "externalName").is_empty(),
        "spec.externalName is ignored when spec.type is not \"ExternalName\"",
    );
    warn(
        text(spec, "trafficDistribution") == "PreferClose",
        "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"",
    );
    warnings
}

const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";
