//! Images and modules that are on nodes already: a pod starts sooner where they are.
//!
//! Kubernetes counts images of more than 23 MB only, for on its networks the rest is there in no time. Over a thin line a module of one
//! megabyte is worth staying for, so what lies below Kubernetes' bound is scored apart.

use super::{score::SCORE_MAX, snapshot::Snapshot};
use crate::view::{NodeInfo, PodTemplate};

/// Images of a pod that are on some node.
#[derive(Debug)]
pub(crate) struct Images<'a> {
    /// Each with the number of nodes that have it.
    known: Vec<(&'a String, u64)>,
    nodes: u64,
    containers: u64,
}

impl<'a> Images<'a> {
    /// The images of a pod; `None` when no node has any.
    pub(crate) fn of(snapshot: &Snapshot, template: &'a PodTemplate) -> Option<Self> {
        let on_nodes = |image: &'a String| {
            let nodes = u64::try_from(snapshot.nodes_with(image)).unwrap_or(0);
            (nodes > 0).then_some((image, nodes))
        };
        let known: Vec<_> = template.images.iter().filter_map(on_nodes).collect();
        let nodes = u64::try_from(snapshot.ordered().len()).unwrap_or(1).max(1);
        let containers = u64::try_from(template.images.len()).unwrap_or(1);
        (!known.is_empty()).then_some(Self { known, nodes, containers })
    }

    /// Kubernetes' ImageLocality.
    pub(crate) fn large(&self, node: &NodeInfo) -> i64 {
        let held = self.held(node).sum::<u64>();
        let most = LARGE_MAX * self.containers;
        percent(held.clamp(LARGE_MIN, most) - LARGE_MIN, most - LARGE_MIN)
    }

    /// The same for what that does not see.
    pub(crate) fn small(&self, node: &NodeInfo) -> i64 {
        let held = self.held(node).filter(|size| *size < LARGE_MIN).sum::<u64>();
        percent(held.min(LARGE_MIN), LARGE_MIN)
    }

    /// Bytes of the images that a node has, counted the less the fewer nodes have them, so that no node draws all pods.
    fn held(&self, node: &NodeInfo) -> impl Iterator<Item = u64> {
        let sizes = self.known.iter().filter_map(|(image, nodes)| Some((*node.images.get(*image)?, *nodes)));
        let scaled = sizes.map(|(size, nodes)| u128::from(size) * u128::from(nodes) / u128::from(self.nodes));
        scaled.map(|size| u64::try_from(size).unwrap_or(u64::MAX)).collect::<Vec<_>>().into_iter()
    }
}

fn percent(part: u64, whole: u64) -> i64 {
    let percent = u128::from(part) * 100 / u128::from(whole.max(1));
    i64::try_from(percent).unwrap_or(SCORE_MAX).min(SCORE_MAX)
}

/// Bytes that score nothing in Kubernetes.
const LARGE_MIN: u64 = 23 << 20;

/// Bytes per container that score the most.
const LARGE_MAX: u64 = 1000 << 20;
