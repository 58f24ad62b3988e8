//! Whether a rollout gets on: the condition `Progressing`, and the deadline.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    super::{auto_rollback::TIMED_OUT, conditions},
    sets::Sets,
    status,
};
use crate::{
    reconciler::Failure,
    times,
    view::{Deployment, DeploymentStatus},
};

/// Notes that the set of a new revision is being created, or why it could not be.
pub(super) fn created(
    deployment: &Deployment,
    name: &str,
    failure: Option<&Failure>,
    status: &mut DeploymentStatus,
    now: Timestamp,
) {
    if deployment.progress_deadline_seconds.is_none() {
        return;
    }
    if let Some(failure) = failure {
        let message = format!("Failed to create new replica set \"{name}\": {}", failure.message);
        conditions::set(&mut status.conditions, PROGRESSING, ("False", NOT_CREATED, &message), now);
    } else {
        let message = format!("Created new replica set \"{name}\"");
        renew(status, ("True", "NewReplicaSetCreated", &message), now);
    }
}

/// Notes that the rollout is paused, or no longer is, and that the set of the current template was found.
pub(super) fn note_pause(
    deployment: &Deployment,
    sets: &Sets,
    status: &mut DeploymentStatus,
    now: Timestamp,
) {
    if deployment.progress_deadline_seconds.is_none() {
        return;
    }
    let current = conditions::get(&status.conditions, PROGRESSING).map(|current| current.reason.as_str());
    match (deployment.paused, current) {
        // A deadline that was missed stays known.
        (_, Some(TIMED_OUT)) => {}
        (true, Some(PAUSED)) => {}
        (true, _) => renew(status, ("Unknown", PAUSED, "Deployment is paused"), now),
        (false, Some(PAUSED)) => {
            renew(status, ("Unknown", "DeploymentResumed", "Deployment is resumed"), now);
        }
        (false, None) => {
            if let Some(newest) = &sets.newest {
                let message = format!("Found new replica set \"{}\"", newest.id.key.name);
                renew(status, ("True", "FoundNewReplicaSet", &message), now);
            }
        }
        (false, Some(_)) => {}
    }
}

/// Compares what is now with what the status said, and says whether that is progress.
///
/// `broken` is why the newest set is not waited for any longer.
pub(super) fn judge(
    deployment: &Deployment,
    sets: &Sets,
    broken: Option<String>,
    status: &mut DeploymentStatus,
    now: Timestamp,
) {
    gather_failures(sets, status);
    if deployment.progress_deadline_seconds.is_none() {
        conditions::remove(&mut status.conditions, PROGRESSING);
        return;
    }
    if let Some(held) = &sets.held {
        let message =
            format!("ReplicaSet \"{}\" was rolled back from and is not tried again.", held.key.name);
        conditions::set(&mut status.conditions, PROGRESSING, ("False", TIMED_OUT, &message), now);
        return;
    }
    let current = conditions::get(&deployment.status.conditions, PROGRESSING);
    if status.replicas == status.updated_replicas
        && current.is_some_and(|current| current.reason == AVAILABLE)
    {
        return;
    }
    let what = sets
        .newest
        .as_ref()
        .map_or_else(|| "Deployment".to_owned(), |newest| format!("ReplicaSet \"{}\"", newest.id.key.name));
    if status::is_complete(deployment, sets, status) {
        let message = format!("{what} has successfully progressed.");
        conditions::set(&mut status.conditions, PROGRESSING, ("True", AVAILABLE, &message), now);
    } else if let Some(broken) = broken {
        // Not the deadline, but what clients know a failed rollout by.
        conditions::set(&mut status.conditions, PROGRESSING, ("False", TIMED_OUT, &broken), now);
    } else if has_progressed(&deployment.status, status) {
        let message = format!("{what} is progressing.");
        renew(status, ("True", UPDATED, &message), now);
    } else if has_timed_out(deployment, status, now) {
        let message = format!("{what} has timed out progressing.");
        conditions::set(&mut status.conditions, PROGRESSING, ("False", TIMED_OUT, &message), now);
    }
}

/// When a rollout that gets on no further will have missed its deadline.
pub(super) fn deadline(deployment: &Deployment, status: &DeploymentStatus) -> Option<Timestamp> {
    let condition = conditions::get(&status.conditions, PROGRESSING)?;
    if condition.reason == AVAILABLE || condition.reason == TIMED_OUT {
        return None;
    }
    let seconds = times::seconds(deployment.progress_deadline_seconds?);
    // The last update is written in whole seconds; one more is certainly after the deadline.
    Some(times::after(condition.last_update_time?, seconds.saturating_add(Duration::from_secs(1))))
}

/// Whether a rollout is not through.
pub(super) fn is_under_way(status: &DeploymentStatus) -> bool {
    conditions::get(&status.conditions, PROGRESSING).is_some_and(|current| current.reason != AVAILABLE)
}

/// Says why pods cannot be made, as the sets say it.
fn gather_failures(sets: &Sets, status: &mut DeploymentStatus) {
    let failure = |set: &super::Set| conditions::get(&set.info.status.conditions, REPLICA_FAILURE).cloned();
    conditions::remove(&mut status.conditions, REPLICA_FAILURE);
    let found = sets.newest.as_ref().and_then(failure).or_else(|| sets.old.iter().find_map(failure));
    if let Some(mut found) = found {
        found.last_update_time = found.last_transition_time;
        status.conditions.push(found);
    }
}

fn has_progressed(before: &DeploymentStatus, after: &DeploymentStatus) -> bool {
    let old = |status: &DeploymentStatus| status.replicas - status.updated_replicas;
    after.updated_replicas > before.updated_replicas
        || old(after) < old(before)
        || after.ready_replicas > before.ready_replicas
        || after.available_replicas > before.available_replicas
}

fn has_timed_out(deployment: &Deployment, status: &DeploymentStatus, now: Timestamp) -> bool {
    let Some(condition) = conditions::get(&status.conditions, PROGRESSING) else { return false };
    condition.reason == TIMED_OUT || deadline(deployment, status).is_some_and(|deadline| now >= deadline)
}

/// Sets the condition with a new time of update, for the deadline counts from it.
fn renew(status: &mut DeploymentStatus, (state, reason, message): (&str, &str, &str), now: Timestamp) {
    let since = conditions::get(&status.conditions, PROGRESSING)
        .filter(|current| current.status == state)
        .and_then(|current| current.last_transition_time);
    conditions::remove(&mut status.conditions, PROGRESSING);
    conditions::set(&mut status.conditions, PROGRESSING, (state, reason, message), now);
    if let (Some(since), Some(new)) = (since, status.conditions.last_mut()) {
        new.last_transition_time = Some(since);
    }
}

/// Type of the condition that says whether a rollout gets on.
pub(super) const PROGRESSING: &str = "Progressing";

/// Its reason when the rollout is through.
pub(super) const AVAILABLE: &str = "NewReplicaSetAvailable";

/// Its reason while pods come and go.
const UPDATED: &str = "ReplicaSetUpdated";

/// Its reason while the Deployment is paused.
const PAUSED: &str = "DeploymentPaused";

/// Its reason when the set of a new revision could not be created.
const NOT_CREATED: &str = "ReplicaSetCreateError";

/// Type of the condition of sets that cannot make or remove pods.
const REPLICA_FAILURE: &str = "ReplicaFailure";
