//! ReplicaSets and ReplicationControllers: as many pods as they say, of the template that they hold.
//!
//! Pods that match the selector and have no controller are adopted, those that no longer match are released. Which pods go first
//! when there are too many is in `replica_set/rank.rs`. `pkg/controller/replicaset` of Kubernetes is the reference.

mod rank;
mod status;

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    Action, Plan, WorkloadAction,
    claim::{self, Claimed},
    create::{Blueprint, Creation},
    tell::Component,
};
use crate::{
    ObjectKey,
    reconciler::Failure,
    view::{
        ObjectId, PodInfo, ReplicaSet, View,
        workload::{self, REPLICATION_CONTROLLERS},
    },
};

/// What to do about a ReplicaSet. `failure` is what went wrong with the last plan, if something did.
pub fn reconcile(view: &View, id: &ObjectId, failure: Option<&Failure>, now: Timestamp) -> Plan {
    let Some(set) = view.workloads().replica_set(id) else { return Plan::nothing() };
    let by = component(id);
    let Claimed { pods, actions } = claim::pods(view, id, &set.meta, set.selector.as_ref(), by);
    let mut plan = Plan { actions, again_at: None };
    let active: Vec<_> = pods.iter().filter(|(_, pod)| pod.is_active()).cloned().collect();
    if !set.meta.deleting {
        let is_short = i64::try_from(active.len()).is_ok_and(|have| have < set.replicas);
        match view.pod_failures().held_until(&set.meta.uid, set.meta.generation, now) {
            // Each would fail as soon, and they would be ever more.
            Some(due) if is_short => plan.wake_at(due),
            _ => plan.actions.extend(scale(view, id, set, &active, by)),
        }
    }
    status::update(&mut plan, id, set, &pods, failure, now);
    plan
}

/// Creates the pods that are missing, or deletes those that are too many.
fn scale(
    view: &View,
    id: &ObjectId,
    set: &ReplicaSet,
    active: &[(ObjectKey, Arc<PodInfo>)],
    by: Component,
) -> Vec<Action> {
    let have = i64::try_from(active.len()).unwrap_or(i64::MAX);
    if have < set.replicas {
        let count = usize::try_from(set.replicas - have).unwrap_or(usize::MAX).min(BURST);
        return vec![Action::Workload(
            by,
            WorkloadAction::Create(Creation {
                owner: id.clone(),
                uid: Arc::clone(&set.meta.uid),
                generation: set.meta.generation,
                what: Blueprint::Pods { count },
            }),
        )];
    }
    let excess = usize::try_from(have - set.replicas).unwrap_or(0).min(BURST);
    let doomed = rank::first_to_go(view, set, active, excess);
    doomed.into_iter().map(|(key, pod)| claim::delete(id, &set.meta, by, key, pod)).collect()
}

fn component(id: &ObjectId) -> Component {
    if id.resource == REPLICATION_CONTROLLERS {
        Component::ReplicationController
    } else {
        Component::ReplicaSet
    }
}

/// Whether pods of these two sets stand for each other: sets of one Deployment, or one set.
fn are_related(one: &ReplicaSet, other: &workload::Workload) -> bool {
    match (&one.meta.controller, &other.meta().controller) {
        (Some(one), Some(other)) => one.uid == other.uid,
        _ => one.meta.uid == other.meta().uid,
    }
}

/// Pods created or deleted by one plan.
pub(crate) const BURST: usize = 500;

#[cfg(test)]
mod tests;
