//! What DaemonSets ask of the scheduler: which nodes are for their pods, and which node a pod of theirs is for.
//!
//! They look at what a node is, and not at what it has left: a node without room is still one that should have the pod.

use super::affinity;
use crate::view::{Effect, NodeInfo, PodInfo, PodTemplate};

/// What a node means to pods that are to run on every node which takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Eligibility {
    /// One should run there.
    Runs,
    /// One that runs there may stay, but none comes.
    Stays,
    /// None may be there.
    Leaves,
}

/// What `node` means to pods of this template.
pub(crate) fn eligibility(template: &PodTemplate, node: &NodeInfo) -> Eligibility {
    if !affinity::required_matches(template, node) {
        return Eligibility::Leaves;
    }
    let mut eligibility = Eligibility::Runs;
    for taint in &node.taints {
        let covers = |toleration: &crate::view::Toleration| {
            toleration.tolerates(&taint.key, &taint.value, taint.effect)
        };
        match taint.effect {
            Effect::PreferNoSchedule => {}
            _ if template.tolerations.iter().any(covers) => {}
            Effect::NoExecute => return Eligibility::Leaves,
            Effect::NoSchedule => eligibility = Eligibility::Stays,
        }
    }
    eligibility
}

/// The node that a pod is bound to, or the only one that it could be.
pub(crate) fn target(pod: &PodInfo) -> Option<&str> {
    if let Some(node) = &pod.node {
        return Some(node.as_str());
    }
    let names = affinity::named_nodes(&pod.template)?;
    if names.len() == 1 { names.into_iter().next() } else { None }
}
