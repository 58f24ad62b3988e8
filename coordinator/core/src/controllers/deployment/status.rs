//! `status` of a Deployment: its sets' statuses together.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    super::{StatusChange, conditions},
    sets::Sets,
};
use crate::view::{Deployment, DeploymentStatus, workload::Condition};

/// What the sets say together. Conditions about progress stay as they are.
pub(super) fn counted(deployment: &Deployment, sets: &Sets, now: Timestamp) -> DeploymentStatus {
    let sum = |count: fn(&crate::view::ReplicaSetStatus) -> i64| {
        sets.all().map(|set| count(&set.info.status)).sum::<i64>()
    };
    let available = sum(|status| status.available_replicas);
    let mut conditions = deployment.status.conditions.clone();
    let (status, reason, message) = if available >= deployment.replicas - deployment.max_unavailable() {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    conditions::set(&mut conditions, AVAILABLE, (status, reason, message), now);
    DeploymentStatus {
        observed_generation: deployment.meta.generation,
        replicas: sum(|status| status.replicas),
        updated_replicas: sets.updated(),
        ready_replicas: sum(|status| status.ready_replicas),
        available_replicas: available,
        unavailable_replicas: (sets.all().map(|set| set.info.replicas).sum::<i64>() - available).max(0),
        terminating_replicas: Some(sum(|status| status.terminating_replicas.unwrap_or(0))),
        collision_count: deployment.status.collision_count,
        conditions,
    }
}

/// Whether all pods are of the current revision and available or deferred, and no other is left.
pub(super) fn is_complete(deployment: &Deployment, sets: &Sets, status: &DeploymentStatus) -> bool {
    status.updated_replicas == deployment.replicas
        && status.replicas == deployment.replicas
        && status.available_replicas.max(sets.newest_available()) == deployment.replicas
        && status.observed_generation >= deployment.meta.generation
}

/// What of the status is to be written; zero counts that Kubernetes leaves out are taken away.
pub(super) fn change(before: &DeploymentStatus, status: &DeploymentStatus) -> StatusChange {
    let counted = |count: i64| if count == 0 { Value::Null } else { count.into() };
    let fields = json!({
        "observedGeneration": counted(status.observed_generation),
        "replicas": counted(status.replicas),
        "updatedReplicas": counted(status.updated_replicas),
        "readyReplicas": counted(status.ready_replicas),
        "availableReplicas": counted(status.available_replicas),
        "unavailableReplicas": counted(status.unavailable_replicas),
        "terminatingReplicas": status.terminating_replicas,
        "collisionCount": status.collision_count,
    });
    StatusChange::of_fields(fields).with_conditions(&before.conditions, &status.conditions, condition)
}

fn condition(condition: &Condition) -> Value {
    let mut value = conditions::written(condition);
    value["lastUpdateTime"] = conditions::time(condition.last_update_time);
    value
}

/// Type of the condition that says whether enough pods are available.
const AVAILABLE: &str = "Available";
