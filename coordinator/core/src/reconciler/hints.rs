//! Which changes have pods tried again that found no node: the queue knows which kinds could help, this looks whether one does.

use std::sync::Arc;

use super::Reconciler;
use crate::{
    ObjectKey, View,
    scheduler::{self, Hint, Reason},
    view::{NodeInfo, PodInfo},
};

impl Reconciler {
    /// What an image of the coordinator's own registry is for is another by now, see [`View::set_own_image`].
    pub fn own_image(&mut self, name: &str, record: Option<&[u8]>) {
        self.view.set_own_image(name, record);
        self.queue.changed(Hint::Image, |_, _| true);
    }

    /// A claim came or changed.
    pub(super) fn hint_claim(&mut self, claim: &ObjectKey) {
        self.queue.changed(Hint::Storage, |pod, _| pod.namespace == claim.namespace);
    }

    /// A pod came to a node, went from it, or changed there.
    pub(super) fn hint_pod(
        &mut self,
        key: &ObjectKey,
        before: Option<&Arc<PodInfo>>,
        after: Option<&Arc<PodInfo>>,
    ) {
        let Self { view, queue, .. } = self;
        let (held, holds) = (before.filter(|pod| holds(pod)), after.filter(|pod| holds(pod)));
        match (held, holds) {
            (Some(gone), None) => {
                queue.changed(Hint::PodGone, |waiting, reasons| frees(view, waiting, reasons, gone));
            }
            (None, Some(_)) => {
                queue.changed(Hint::PodCame, |waiting, _| scheduler::may_be_company(view, waiting, key));
            }
            // One that is assumed to be there has been seen coming.
            (Some(before), Some(after))
                if before.assumed || !Arc::ptr_eq(&before.affiliation, &after.affiliation) =>
            {
                queue.changed(Hint::PodCame, |waiting, reasons| {
                    let kept_out = |reason: &Reason| {
                        matches!(reason, Reason::PodAntiAffinity | Reason::ExistingAntiAffinity)
                    };
                    scheduler::may_be_company(view, waiting, key) || reasons.iter().any(kept_out)
                });
            }
            // Spreading does not count it any more.
            (Some(before), Some(after)) if before.deletion.is_none() && after.deletion.is_some() => {
                queue.changed(Hint::PodGone, |_, reasons| reasons.contains(&Reason::TopologySpread));
            }
            _ => {}
        }
        let kept = before.filter(|before| before.node.is_none()).and_then(|before| before.nominated.as_ref());
        if let Some(kept) = kept
            && after.is_none_or(|after| after.node.is_none() && after.nominated.as_ref() != Some(kept))
        {
            queue.changed(Hint::PodGone, |waiting, _| scheduler::may_take(view, waiting, kept));
        }
    }

    /// A node came or changed.
    pub(super) fn hint_node(&mut self, before: Option<&NodeInfo>, after: &NodeInfo) {
        let Self { view, queue, .. } = self;
        let takes = |waiting: &ObjectKey| scheduler::may_take(view, waiting, &after.name);
        let Some(before) = before else {
            queue.changed(Hint::NodeCame, |waiting, reasons| {
                reasons.is_empty() || far(reasons) || takes(waiting)
            });
            return;
        };
        let same = before.labels == after.labels
            && before.taints == after.taints
            && before.unschedulable == after.unschedulable;
        if !same {
            queue.changed(Hint::NodeChanged, |waiting, reasons| far(reasons) || takes(waiting));
        }
        if before.allocatable != after.allocatable || before.pods_max != after.pods_max {
            queue.changed(Hint::Capacity, |waiting, _| takes(waiting));
        }
    }
}

/// Whether the end of a pod lets another one fit.
fn frees(view: &View, waiting: &ObjectKey, reasons: &[Reason], gone: &PodInfo) -> bool {
    far(reasons) || gone.node.as_ref().is_some_and(|node| scheduler::may_take(view, waiting, node))
}

/// Whether a pod waits for more than one node by itself can give.
fn far(reasons: &[Reason]) -> bool {
    reasons.iter().any(|reason| {
        matches!(
            reason,
            Reason::TopologySpread
                | Reason::PodAffinity
                | Reason::PodAntiAffinity
                | Reason::ExistingAntiAffinity
                | Reason::SpreadLabelMissing
        )
    })
}

/// Whether a pod takes something of its node.
fn holds(pod: &PodInfo) -> bool {
    pod.node.is_some() && !pod.phase.finished()
}
