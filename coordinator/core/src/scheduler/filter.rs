//! The filters that look at a node alone, in Kubernetes' order; the first that refuses a node names the reasons.

use super::{affinity, refusal::Refusal, taints};
use crate::view::{HostPort, NodeInfo, PodTemplate, Usage};

/// Whether a node with this much of it held can take a pod.
pub(crate) fn check(template: &PodTemplate, node: &NodeInfo, usage: &Usage) -> Refusal {
    let object = check_object(template, node);
    if object.is_none() { check_use(template, node, usage) } else { object }
}

/// What only a change of the node itself can change.
pub(crate) fn check_object(template: &PodTemplate, node: &NodeInfo) -> Refusal {
    if node.unschedulable && !taints::tolerates_cordon(template) {
        return Refusal::CORDON;
    }
    if !taints::tolerates_all(&template.tolerations, node) {
        return Refusal::TAINT;
    }
    if !affinity::required_matches(template, node) {
        return Refusal::NODE_AFFINITY;
    }
    Refusal::NONE
}

/// What pods that come and go change.
pub(crate) fn check_use(template: &PodTemplate, node: &NodeInfo, usage: &Usage) -> Refusal {
    if ports_free(template, usage) { resources_fit(template, node, usage) } else { Refusal::PORTS }
}

fn ports_free(template: &PodTemplate, usage: &Usage) -> bool {
    let conflicts = |wanted: &HostPort, taken: &HostPort| {
        wanted.port == taken.port
            && wanted.protocol == taken.protocol
            && (wanted.address.is_none() || taken.address.is_none() || wanted.address == taken.address)
    };
    template.host_ports.iter().all(|wanted| !usage.host_ports.keys().any(|taken| conflicts(wanted, taken)))
}

fn resources_fit(template: &PodTemplate, node: &NodeInfo, usage: &Usage) -> Refusal {
    let mut refusal = Refusal::NONE;
    if usage.pods >= node.pods_max {
        refusal = refusal.and(Refusal::PODS);
    }
    let mut compare = |reason: Refusal, wanted: u64, held: u64, allocatable: u64| {
        if wanted > 0 && wanted > allocatable.saturating_sub(held) {
            refusal = refusal.and(reason);
            if wanted > allocatable {
                refusal = refusal.and(Refusal::TOO_SMALL);
            }
        }
    };
    let wanted = &template.requests;
    let (held, allocatable) = (&usage.requested, &node.allocatable);
    compare(Refusal::CPU, wanted.cpu.0, held.cpu.0, allocatable.cpu.0);
    compare(Refusal::MEMORY, wanted.memory.0, held.memory.0, allocatable.memory.0);
    compare(
        Refusal::EPHEMERAL,
        wanted.ephemeral_storage.0,
        held.ephemeral_storage.0,
        allocatable.ephemeral_storage.0,
    );
    for (place, (name, wanted)) in wanted.extended.iter().enumerate() {
        compare(Refusal::extended(place), *wanted, held.extended(name), allocatable.extended(name));
    }
    refusal
}
