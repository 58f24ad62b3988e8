//! `status` of a StatefulSet: how many pods there are, of which revision, and how many of them serve.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    super::{
        Action, StatusChange, WorkloadAction, conditions,
        offline::{self, Rest},
        tell::Severity,
    },
    BY, Look, Pod, is_ready, revision_of, rollback,
};
use crate::view::{
    ObjectId, PodInfo,
    workload::{StatefulSet, StatefulSetStatus, UpdateStrategy},
};

/// What the pods say together.
pub(super) fn counted(look: &Look<'_>) -> StatefulSetStatus {
    let count = |counts: &dyn Fn(&PodInfo) -> bool| {
        i64::try_from(look.pods().filter(|(_, pod)| counts(pod)).count()).unwrap_or(i64::MAX)
    };
    let is_of = |pod: &PodInfo, revision: &str| pod.deletion.is_none() && revision_of(pod) == revision;
    let (current, update) = (&look.revisions.current, &look.revisions.template);
    StatefulSetStatus {
        observed_generation: look.set.meta.generation,
        replicas: count(&|_| true),
        ready_replicas: count(&is_ready),
        current_replicas: count(&|pod| is_of(pod, current)),
        updated_replicas: count(&|pod| is_of(pod, update)),
        available_replicas: count(&|pod| is_ready(pod) && pod.is_available(look.min_ready(), look.now)),
        current_revision: current.to_string(),
        update_revision: update.to_string(),
        collision_count: Some(look.revisions.collisions),
        conditions: look.set.status.conditions.clone(),
    }
}

/// Writes the status if it changed, and notes when a pod becomes available by time alone.
pub(super) fn finish(look: &mut Look<'_>, mut status: StatefulSetStatus) {
    let times = look.pods().filter_map(|(_, pod)| pod.available_at(look.min_ready()));
    if let Some(at) = times.filter(|at| *at > look.now).min() {
        look.plan.wake_at(at);
    }
    let replicas = look.set.replicas;
    let is_through = [status.updated_replicas, status.ready_replicas, status.replicas] == [replicas; 3];
    if is_through && look.set.update != UpdateStrategy::OnDelete {
        status.current_replicas = status.updated_replicas;
        status.current_revision.clone_from(&status.update_revision);
    }
    let deferred = look.deferred();
    let is_new = deferred.tell(rest(look, &status), &mut status.conditions, look.now);
    if let Some(verdict) = &look.verdict {
        verdict.put(&mut status.conditions, look.now);
    }
    if let Some(at) = rollback::judge(look, deferred.pods(), &mut status) {
        look.plan.wake_at(at);
    }
    if is_new && status.current_revision != status.update_revision {
        let (about, uid) = (look.id.clone(), Arc::clone(&look.set.meta.uid));
        let (severity, message) = (Severity::Normal, deferred.message());
        let told = WorkloadAction::Tell { about, uid, severity, reason: offline::EVENT, message };
        look.plan.actions.push(Action::Workload(BY, told));
    }
    if status != look.set.status {
        let before = &look.set.status.conditions;
        let change = StatusChange::of_fields(written(&status));
        let change = change.with_conditions(before, &status.conditions, conditions::written);
        look.plan.actions.push(change_of(look.id, look.set, change));
    }
}

/// Whether all pods that are not deferred are there, of the revision that they should have, and serve.
fn rest(look: &Look<'_>, status: &StatefulSetStatus) -> Rest {
    let UpdateStrategy::RollingUpdate { partition, .. } = look.set.update else { return Rest::Open };
    let first = look.set.start.saturating_add(partition.unwrap_or(0));
    let is_well = |(ordinal, (_, pod)): (&i64, &Pod)| {
        let is_updated = *ordinal < first || *revision_of(pod) == *look.revisions.template;
        look.is_deferred(pod) || (is_updated && look.is_available(pod))
    };
    let is_through = status.replicas == look.set.replicas
        && look.condemned.is_empty()
        && look.replicas.iter().all(is_well);
    if is_through { Rest::Through } else { Rest::Open }
}

/// Notes how many other templates had the name that the newest revision was to get.
pub(super) fn note_collisions(id: &ObjectId, set: &StatefulSet, collisions: i64) -> Option<Action> {
    let is_known = set.status.collision_count.unwrap_or(0) == collisions;
    let change = || StatusChange::of_fields(json!({ "collisionCount": collisions }));
    (!is_known).then(|| change_of(id, set, change()))
}

pub(super) fn change_of(id: &ObjectId, set: &StatefulSet, change: StatusChange) -> Action {
    let (id, uid) = (id.clone(), Arc::clone(&set.meta.uid));
    Action::Workload(BY, WorkloadAction::WriteStatus { id, uid, change })
}

/// The fields as they are written; zero counts that Kubernetes leaves out are taken away.
fn written(status: &StatefulSetStatus) -> Value {
    let counted = |count: i64| if count == 0 { Value::Null } else { count.into() };
    json!({
        "observedGeneration": counted(status.observed_generation),
        "replicas": status.replicas,
        "readyReplicas": counted(status.ready_replicas),
        "currentReplicas": counted(status.current_replicas),
        "updatedReplicas": counted(status.updated_replicas),
        "availableReplicas": status.available_replicas,
        "currentRevision": status.current_revision,
        "updateRevision": status.update_revision,
        "collisionCount": status.collision_count,
    })
}
