//! The filters, in Kubernetes' order. Each answers the reasons for which it refuses a node.

use super::{Candidate, affinity, explain::Reason};
use crate::view::{Effect, HostPort, PodTemplate, Toleration};

/// Why a node was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Of one filter; only resources can have several.
    pub(crate) reasons: Vec<Reason>,
    /// Whether the node could fit the pod if other pods went away.
    pub(crate) fits_when_emptied: bool,
}

/// Whether `candidate` can take a pod now.
pub(crate) fn check(template: &PodTemplate, candidate: Candidate<'_>) -> Result<(), Refusal> {
    let never = |reason| Err(Refusal { reasons: vec![reason], fits_when_emptied: false });
    if !node_unschedulable(template, candidate) {
        return never(Reason::NodeUnschedulable);
    }
    if !taints_tolerated(template, candidate) {
        return never(Reason::UntoleratedTaint);
    }
    if !affinity::required_matches(template, candidate.node) {
        return never(Reason::NodeAffinity);
    }
    if !ports_free(template, candidate) {
        return Err(Refusal { reasons: vec![Reason::NodePorts], fits_when_emptied: true });
    }
    resources_fit(template, candidate)
}

/// The first taint of these effects that no toleration covers.
pub(crate) fn tolerated(tolerations: &[Toleration], key: &str, value: &str, effect: Effect) -> bool {
    tolerations.iter().any(|toleration| toleration.tolerates(key, value, effect))
}

fn node_unschedulable(template: &PodTemplate, candidate: Candidate<'_>) -> bool {
    !candidate.node.unschedulable
        || tolerated(&template.tolerations, UNSCHEDULABLE_TAINT, "", Effect::NoSchedule)
}

fn taints_tolerated(template: &PodTemplate, candidate: Candidate<'_>) -> bool {
    candidate.node.taints.iter().filter(|taint| taint.effect != Effect::PreferNoSchedule).all(|taint| {
        // Cordoning also adds a taint in Kubernetes; the filter above speaks for it.
        tolerated(&template.tolerations, &taint.key, &taint.value, taint.effect)
    })
}

fn ports_free(template: &PodTemplate, candidate: Candidate<'_>) -> bool {
    let conflicts = |wanted: &HostPort, taken: &HostPort| {
        wanted.port == taken.port
            && wanted.protocol == taken.protocol
            && (wanted.address.is_none() || taken.address.is_none() || wanted.address == taken.address)
    };
    let taken = &candidate.usage.host_ports;
    template.host_ports.iter().all(|wanted| !taken.keys().any(|taken| conflicts(wanted, taken)))
}

fn resources_fit(template: &PodTemplate, candidate: Candidate<'_>) -> Result<(), Refusal> {
    let Candidate { node, usage } = candidate;
    let mut refusal = Refusal { reasons: Vec::new(), fits_when_emptied: true };
    if usage.pods >= node.pods_max {
        refusal.reasons.push(Reason::TooManyPods);
    }
    let wanted = &template.requests;
    let mut compare = |reason: fn() -> Reason, wanted: u64, held: u64, allocatable: u64| {
        if wanted > 0 && wanted > allocatable.saturating_sub(held) {
            refusal.reasons.push(reason());
            refusal.fits_when_emptied &= wanted <= allocatable;
        }
    };
    let (held, allocatable) = (&usage.requested, &node.allocatable);
    compare(|| Reason::InsufficientCpu, wanted.cpu.0, held.cpu.0, allocatable.cpu.0);
    compare(|| Reason::InsufficientMemory, wanted.memory.0, held.memory.0, allocatable.memory.0);
    compare(
        || Reason::InsufficientEphemeralStorage,
        wanted.ephemeral_storage.0,
        held.ephemeral_storage.0,
        allocatable.ephemeral_storage.0,
    );
    for (name, wanted) in &wanted.extended {
        let allocatable = allocatable.extended(name);
        if *wanted > allocatable.saturating_sub(held.extended(name)) {
            refusal.reasons.push(Reason::InsufficientExtended(name.clone()));
            refusal.fits_when_emptied &= *wanted <= allocatable;
        }
    }
    if refusal.reasons.is_empty() { Ok(()) } else { Err(refusal) }
}

/// The taint whose toleration lets a pod onto a cordoned node.
const UNSCHEDULABLE_TAINT: &str = "node.kubernetes.io/unschedulable";
