//! `status` of a DaemonSet: on how many nodes its pods should be, are, and serve.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    super::{
        Action, StatusChange, WorkloadAction, conditions,
        offline::{self, Deferred, Rest},
        tell::Severity,
    },
    BY, Look,
    places::Places,
    rollback,
};
use crate::view::{
    ObjectId,
    workload::{Condition, DaemonSet, DaemonSetStatus},
};

/// Writes the status if it changed, and notes when a pod becomes available by time alone.
pub(super) fn write(look: &mut Look<'_>, places: &Places) {
    let times = places.pods().filter_map(|(_, pod)| pod.available_at(look.min_ready()));
    if let Some(at) = times.filter(|at| *at > look.now).min() {
        look.plan.wake_at(at);
    }
    let mut status = counted(look, places);
    tell_deferred(look, places, &mut status);
    if let Some(held) = &look.held {
        held.verdict.put(&mut status.conditions, look.now);
    }
    if let Some(at) = rollback::judge(look, places, &mut status) {
        look.plan.wake_at(at);
    }
    if status != look.set.status {
        let before = &look.set.status.conditions;
        let change = StatusChange::of_fields(written(&status));
        let change = change.with_conditions(before, &status.conditions, conditions::written);
        look.plan.actions.push(change_of(look.id, look.set, change));
    }
}

/// Writes conditions alone.
pub(super) fn write_conditions(look: &mut Look<'_>, conditions: &[Condition]) {
    let before = &look.set.status.conditions;
    let change = StatusChange::default().with_conditions(before, conditions, conditions::written);
    look.plan.actions.push(change_of(look.id, look.set, change));
}

/// Counts pods on nodes that are offline apart.
fn tell_deferred(look: &mut Look<'_>, places: &Places, status: &mut DaemonSetStatus) {
    let mut deferred = Deferred::default();
    let pods = places.by_node.values().filter(|place| place.is_deferred).flat_map(|place| &place.pods);
    let old = pods.filter(|(_, pod)| deferred.count(look.view, pod) && !look.is_updated(pod)).count();
    let is_new = deferred.tell(Rest::Open, &mut status.conditions, look.now);
    if is_new && old > 0 {
        look.tell(Severity::Normal, offline::EVENT, deferred.message());
    }
}

/// Notes how many other templates had the name that the newest revision was to get.
pub(super) fn note_collisions(id: &ObjectId, set: &DaemonSet, collisions: i64) -> Option<Action> {
    let is_known = set.status.collision_count.unwrap_or(0) == collisions;
    let change = || StatusChange::of_fields(json!({ "collisionCount": collisions }));
    (!is_known).then(|| change_of(id, set, change()))
}

fn counted(look: &Look<'_>, places: &Places) -> DaemonSetStatus {
    let (known, collisions) = (&look.set.status, look.current.collisions);
    let mut status = DaemonSetStatus {
        observed_generation: look.set.meta.generation,
        desired_number_scheduled: places.desired(),
        // It is said only once there was one.
        collision_count: if collisions > 0 { Some(collisions) } else { known.collision_count },
        conditions: known.conditions.clone(),
        ..DaemonSetStatus::default()
    };
    for place in places.by_node.values().filter(|place| place.eligibility.is_some() && !place.is_deferred) {
        let Some((_, pod)) = place.pods.first() else { continue };
        if !place.runs() {
            status.number_misscheduled += 1;
            continue;
        }
        status.current_number_scheduled += 1;
        status.number_ready += i64::from(pod.is_ready());
        status.number_available += i64::from(look.is_available(pod));
        // Pods of what is kept instead of the template are none of the template's.
        status.updated_number_scheduled += i64::from(look.held.is_none() && look.is_updated(pod));
    }
    status.number_unavailable = status.desired_number_scheduled - status.number_available;
    status
}

fn change_of(id: &ObjectId, set: &DaemonSet, change: StatusChange) -> Action {
    let (id, uid) = (id.clone(), Arc::clone(&set.meta.uid));
    Action::Workload(BY, WorkloadAction::WriteStatus { id, uid, change })
}

/// The fields as they are written; zero counts that Kubernetes leaves out are taken away.
fn written(status: &DaemonSetStatus) -> Value {
    let counted = |count: i64| if count == 0 { Value::Null } else { count.into() };
    json!({
        "observedGeneration": counted(status.observed_generation),
        "desiredNumberScheduled": status.desired_number_scheduled,
        "currentNumberScheduled": status.current_number_scheduled,
        "updatedNumberScheduled": counted(status.updated_number_scheduled),
        "numberMisscheduled": status.number_misscheduled,
        "numberReady": status.number_ready,
        "numberAvailable": counted(status.number_available),
        "numberUnavailable": counted(status.number_unavailable),
        "collisionCount": status.collision_count,
    })
}
