//! `status` of a ReplicaSet: how many pods there are, and how many of them serve.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    super::{Action, Plan, StatusChange, WorkloadAction, conditions},
    component,
};
use crate::{
    ObjectKey,
    reconciler::Failure,
    times,
    view::{
        ObjectId, PodInfo, ReplicaSet, ReplicaSetStatus,
        workload::{Condition, REPLICATION_CONTROLLERS},
    },
};

/// Adds what has to be written about the set to the plan, and when a pod becomes available by time alone.
pub(super) fn update(
    plan: &mut Plan,
    id: &ObjectId,
    set: &ReplicaSet,
    pods: &[(ObjectKey, Arc<PodInfo>)],
    failure: Option<&Failure>,
    now: Timestamp,
) {
    let min_ready = times::seconds(set.min_ready_seconds);
    let active = || pods.iter().map(|(_, pod)| pod).filter(|pod| pod.is_active());
    for at in active().filter_map(|pod| pod.available_at(min_ready)).filter(|at| *at > now) {
        plan.wake_at(at);
    }
    let count = |pods: usize| i64::try_from(pods).unwrap_or(i64::MAX);
    let is_labelled = |pod: &&Arc<PodInfo>| {
        set.template_labels.iter().all(|(key, value)| pod.affiliation.labels.get(key) == Some(value))
    };
    let has_terminating = id.resource != REPLICATION_CONTROLLERS;
    let terminating = pods.iter().filter(|(_, pod)| pod.deletion.is_some() && !pod.phase.finished()).count();
    let status = ReplicaSetStatus {
        observed_generation: set.meta.generation,
        replicas: count(active().count()),
        fully_labeled_replicas: count(active().filter(is_labelled).count()),
        ready_replicas: count(active().filter(|pod| pod.is_ready()).count()),
        available_replicas: count(active().filter(|pod| pod.is_available(min_ready, now)).count()),
        terminating_replicas: has_terminating.then(|| count(terminating)),
        conditions: with_failure(set, count(active().count()), failure, now),
    };
    if status != set.status {
        plan.actions.push(Action::Workload(
            component(id),
            WorkloadAction::WriteStatus {
                id: id.clone(),
                uid: Arc::clone(&set.meta.uid),
                change: StatusChange::of_fields(written(&status)).with_conditions(
                    &set.status.conditions,
                    &status.conditions,
                    conditions::written,
                ),
            },
        ));
    }
}

/// The conditions, with `ReplicaFailure` as long as pods cannot be made or removed.
fn with_failure(set: &ReplicaSet, have: i64, failure: Option<&Failure>, now: Timestamp) -> Vec<Condition> {
    let known = set.status.conditions.iter();
    let Some(failure) = failure.filter(|_| have != set.replicas) else {
        return known.filter(|condition| condition.kind != REPLICA_FAILURE).cloned().collect();
    };
    let reason = if have < set.replicas { "FailedCreate" } else { "FailedDelete" };
    let mut all: Vec<Condition> = known.cloned().collect();
    conditions::set(&mut all, REPLICA_FAILURE, ("True", reason, &failure.message), now);
    all
}

fn written(status: &ReplicaSetStatus) -> Value {
    // Zero counts that Kubernetes leaves out are taken away by a null.
    let counted = |count: i64| if count == 0 { Value::Null } else { count.into() };
    let mut value = json!({
        "observedGeneration": counted(status.observed_generation),
        "replicas": status.replicas,
        "fullyLabeledReplicas": counted(status.fully_labeled_replicas),
        "readyReplicas": counted(status.ready_replicas),
        "availableReplicas": counted(status.available_replicas),
    });
    if let Some(terminating) = status.terminating_replicas {
        value["terminatingReplicas"] = terminating.into();
    }
    value
}

/// Type of the condition that says that pods cannot be made or removed.
const REPLICA_FAILURE: &str = "ReplicaFailure";
