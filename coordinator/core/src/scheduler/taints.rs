//! Taints and tolerations.

use crate::view::{Effect, NodeInfo, PodTemplate, Toleration};

/// Whether a cordoned node takes the pod all the same.
pub(crate) fn tolerates_cordon(template: &PodTemplate) -> bool {
    tolerated(&template.tolerations, UNSCHEDULABLE_TAINT, "", Effect::NoSchedule)
}

/// Whether no taint keeps pods with these tolerations away.
pub(crate) fn tolerates_all(tolerations: &[Toleration], node: &NodeInfo) -> bool {
    node.taints
        .iter()
        .filter(|taint| taint.effect != Effect::PreferNoSchedule)
        .all(|taint| tolerated(tolerations, &taint.key, &taint.value, taint.effect))
}

/// Number of taints that would rather keep the pod away.
pub(crate) fn intolerable(template: &PodTemplate, node: &NodeInfo) -> i64 {
    let preferring = node.taints.iter().filter(|taint| taint.effect == Effect::PreferNoSchedule);
    let count = preferring
        .filter(|taint| !tolerated(&template.tolerations, &taint.key, &taint.value, taint.effect))
        .count();
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn tolerated(tolerations: &[Toleration], key: &str, value: &str, effect: Effect) -> bool {
    tolerations.iter().any(|toleration| toleration.tolerates(key, value, effect))
}

/// The taint whose toleration lets a pod onto a cordoned node.
const UNSCHEDULABLE_TAINT: &str = "node.kubernetes.io/unschedulable";
