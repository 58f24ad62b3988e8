//! What nodes and failed pods mean to DaemonSets.

use dunlin_link::NodeName;
use jiff::Timestamp;

use super::{Key, Reconciler, workloads::has_just_failed};
use crate::{
    ObjectKey,
    scheduler::Eligibility,
    view::{
        NodeInfo, PodInfo,
        workload::{DAEMON_SETS, Placing, Workload},
    },
};

impl Reconciler {
    /// Looks again at DaemonSets to which a node means something else than before. Most changes of nodes concern none.
    pub(super) fn touch_daemon_sets(&mut self, before: Option<&NodeInfo>, after: Option<&NodeInfo>) {
        let Self { view, keys, .. } = self;
        for (id, set) in view.workloads().daemon_sets() {
            let changes = |placing: &Placing| {
                let meaning = |node: Option<&NodeInfo>| {
                    node.map_or(Eligibility::Leaves, |node| placing.eligibility(node))
                };
                meaning(before) != meaning(after)
            };
            let kept = || {
                let revisions = view.workloads().controlled_by(&set.meta.uid);
                revisions.filter_map(|(_, workload)| match workload {
                    Workload::Revision(revision) => revision.placing.as_deref(),
                    _ => None,
                })
            };
            if changes(&set.placing) || (set.may_be_held() && kept().any(changes)) {
                keys.touch(Key::Workload(id.clone()));
            }
        }
    }

    /// Notes when a pod of a DaemonSet has failed, so that the next does not come at once every time.
    pub(super) fn note_daemon_failure(
        &mut self,
        key: &ObjectKey,
        before: Option<&PodInfo>,
        after: &PodInfo,
        now: Timestamp,
    ) {
        if !has_just_failed(before, after) {
            return;
        }
        let (Some(node), Some(owner)) = (&after.node, &after.affiliation.controller) else { return };
        if owner.resource() != Some(DAEMON_SETS) {
            return;
        }
        let set = ObjectKey { namespace: key.namespace.clone(), name: owner.name.as_str().into() };
        let set = self.view.workloads().daemon_set(&set).filter(|set| *set.meta.uid == *owner.uid);
        let Some(generation) = set.map(|set| set.status.observed_generation) else { return };
        self.view.daemon_failures_mut().note(&owner.uid, generation, node, now);
    }

    /// Forgets what happened on a node that is gone.
    pub(super) fn forget_daemons_of(&mut self, node: &NodeName, before: Option<&NodeInfo>) {
        self.view.daemon_failures_mut().forget_node(node);
        self.touch_daemon_sets(before, None);
    }
}
