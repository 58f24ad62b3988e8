//! The places of a DaemonSet: every node, with what it means to the set and the pods that are there or meant to be.

use std::collections::BTreeMap;

use dunlin_link::NodeName;

use super::{super::offline, Pod};
use crate::{
    scheduler::{self, Eligibility},
    view::{
        View,
        workload::{DaemonSet, Placing},
    },
};

/// All places by the name of their node, in one pass over nodes and pods.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) by_node: BTreeMap<NodeName, Place>,
}

/// One node.
#[derive(Debug)]
pub(super) struct Place {
    /// What it means to the set; `None` when there is no such node.
    pub(super) eligibility: Option<Eligibility>,
    /// Whether it is offline and left until it is seen again.
    pub(super) is_deferred: bool,
    /// The pods there, the first to keep first.
    pub(super) pods: Vec<Pod>,
    /// Pods that have ended and only wait for somebody to let them go.
    pub(super) ended: Vec<Pod>,
}

impl Places {
    /// Finds those of a set whose pods are placed so.
    pub(super) fn of(view: &View, set: &DaemonSet, placing: &Placing, pods: &[Pod]) -> Self {
        let mut by_node = BTreeMap::new();
        let defers = offline::Policy::of(&set.meta).defers();
        for (name, entry) in view.nodes() {
            if let Some(info) = &entry.info {
                let is_deferred = defers && view.is_offline(name);
                by_node.insert(
                    name.clone(),
                    Place { is_deferred, ..Place::new(Some(placing.eligibility(info))) },
                );
            }
        }
        for pod in pods.iter().cloned() {
            let Some(node) = scheduler::target(&pod.1) else { continue };
            let place = by_node.entry(NodeName::new(node)).or_insert_with(|| Place::new(None));
            let has_ended = pod.1.phase.finished() && pod.1.deletion.is_some();
            place.is_deferred |= defers && offline::is_deferred(view, &pod.1);
            if has_ended { &mut place.ended } else { &mut place.pods }.push(pod);
        }
        for place in by_node.values_mut() {
            place.pods.sort_by(|(key, pod), (other_key, other)| {
                let rank = |pod: &crate::view::PodInfo| (pod.node.is_none() || pod.assumed, pod.created);
                rank(pod).cmp(&rank(other)).then_with(|| key.cmp(other_key))
            });
        }
        Self { by_node }
    }

    /// How many nodes should have a pod, those that are deferred left out.
    pub(super) fn desired(&self) -> i64 {
        let desired = self.by_node.values().filter(|place| place.runs() && !place.is_deferred).count();
        i64::try_from(desired).unwrap_or(i64::MAX)
    }

    /// All pods, those that ended included.
    pub(super) fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.by_node.values().flat_map(|place| place.pods.iter().chain(&place.ended))
    }
}

impl Place {
    fn new(eligibility: Option<Eligibility>) -> Self {
        Self { eligibility, is_deferred: false, pods: Vec::new(), ended: Vec::new() }
    }

    /// Whether a pod should run there.
    pub(super) fn runs(&self) -> bool {
        self.eligibility == Some(Eligibility::Runs)
    }
}
