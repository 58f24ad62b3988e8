//! Which pods belong to a workload: those it controls and still selects, and those it selects that nobody controls.

use std::sync::Arc;

use dunlin_api::selector::LabelSelector;

use super::{Action, WorkloadAction, tell::Component};
use crate::{
    ObjectKey,
    view::{ObjectId, PodInfo, Resource, View, workload::Meta},
};

/// The pods of a workload, by name, and what has to be done so that they say so.
#[derive(Debug)]
pub(super) struct Claimed {
    /// Those that are its own, those about to be adopted included.
    pub(super) pods: Vec<(ObjectKey, Arc<PodInfo>)>,
    /// Adoptions and releases.
    pub(super) actions: Vec<Action>,
}

/// How a workload finds its pods.
pub(super) struct Claiming<'a> {
    /// By their labels; `None` is no pod.
    pub(super) selector: Option<&'a LabelSelector>,
    /// By their names.
    pub(super) includes: &'a dyn Fn(&ObjectKey) -> bool,
    /// Whether it takes pods that have ended and that nobody controls.
    pub(super) ended: Ended,
    /// Who asks.
    pub(super) by: Component,
}

/// What becomes of pods that have ended and that nobody controls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// They are left alone.
    Left,
    /// They are adopted as any others, and then replaced.
    Adopted,
}

/// Finds the pods of a workload that looks at their labels only.
pub(super) fn pods(
    view: &View,
    id: &ObjectId,
    meta: &Meta,
    selector: Option<&LabelSelector>,
    by: Component,
) -> Claimed {
    let claiming = Claiming { selector, includes: &|_| true, ended: Ended::Left, by };
    pods_by(view, id, meta, &claiming)
}

/// Finds the pods of a workload. As `PodControllerRefManager` of Kubernetes.
pub(super) fn pods_by(view: &View, id: &ObjectId, meta: &Meta, claiming: &Claiming<'_>) -> Claimed {
    let Claiming { selector, includes, ended, by } = *claiming;
    let mut claimed = Claimed { pods: Vec::new(), actions: Vec::new() };
    let selects = |key: &ObjectKey, pod: &PodInfo| {
        selector.is_some_and(|selector| selector.matches_labels(&pod.affiliation.labels)) && includes(key)
    };
    let may_be_adopted =
        |pod: &PodInfo| pod.deletion.is_none() && (ended == Ended::Adopted || !pod.phase.finished());
    for (key, pod) in view.pods_controlled_by(&meta.uid) {
        if selects(key, pod) {
            claimed.pods.push((key.clone(), Arc::clone(pod)));
        } else if !meta.deleting && pod.deletion.is_none() {
            let (id, uid) = (pod_id(key), pod.uid.as_str().into());
            claimed.actions.push(Action::Workload(
                by,
                WorkloadAction::Release { id, uid, owner: Arc::clone(&meta.uid) },
            ));
        }
    }
    if !meta.deleting {
        for (key, pod) in view.orphans(&id.key.namespace) {
            if selects(key, pod) && may_be_adopted(pod) {
                let (owner, owner_uid) = (id.clone(), Arc::clone(&meta.uid));
                let (id, uid) = (pod_id(key), pod.uid.as_str().into());
                claimed
                    .actions
                    .push(Action::Workload(by, WorkloadAction::Adopt { id, uid, owner, owner_uid }));
                claimed.pods.push((key.clone(), Arc::clone(pod)));
            }
        }
    }
    claimed.pods.sort_by(|one, other| one.0.cmp(&other.0));
    claimed
}

/// Deletes a pod of a workload, and says so at the workload.
pub(super) fn delete(id: &ObjectId, meta: &Meta, by: Component, key: &ObjectKey, pod: &PodInfo) -> Action {
    Action::Workload(
        by,
        WorkloadAction::DeleteOwned {
            id: pod_id(key),
            uid: pod.uid.as_str().into(),
            owner: id.clone(),
            owner_uid: Arc::clone(&meta.uid),
        },
    )
}

fn pod_id(key: &ObjectKey) -> ObjectId {
    ObjectId { resource: Resource::core("pods"), key: key.clone() }
}
