//! What events say of what controllers of workloads made and deleted, in Kubernetes' words.

use dunlin_api::Kind;
use dunlin_coordinator_core::controllers::{
    create::Blueprint,
    tell::{Component, Severity},
};

/// How much it matters, why in one word, and what happened.
pub(super) type Told = (Severity, &'static str, String);

/// Of an object of a kind and name that was created, or could not be. Of what its controller tells of itself there is nothing to say.
pub(super) fn of_creation(
    by: Component,
    owner: &str,
    what: &Blueprint,
    (kind, name): (&str, &str),
    outcome: Result<(), &str>,
) -> Option<Told> {
    let made = |message: String| Some((Severity::Normal, "SuccessfulCreate", message));
    let failed = |message: String| Some((Severity::Warning, "FailedCreate", message));
    match (what, kind, outcome) {
        (Blueprint::Revision { .. }, ..) => None,
        (_, "Pod", Ok(())) if by == Component::StatefulSet => {
            made(format!("create Pod {name} in StatefulSet {owner} successful"))
        }
        (_, "Pod", Err(why)) if by == Component::StatefulSet => {
            failed(format!("create Pod {name} in StatefulSet {owner} failed error: {why}"))
        }
        (_, "PersistentVolumeClaim", Ok(())) => {
            let pod = pod_of(owner, name);
            made(format!("create Claim {name} Pod {pod} in StatefulSet {owner} success"))
        }
        (_, "PersistentVolumeClaim", Err(why)) => {
            let pod = pod_of(owner, name);
            failed(format!("create Claim {name} for Pod {pod} in StatefulSet {owner} failed error: {why}"))
        }
        (Blueprint::Job { .. }, _, Ok(())) => made(format!("Created job {name}")),
        (Blueprint::Job { .. }, _, Err(why)) => failed(format!("Error creating job: {why}")),
        (Blueprint::ReplicaSet { .. }, _, Ok(())) => None,
        (Blueprint::ReplicaSet { .. }, _, Err(why)) => {
            let message = format!("Failed to create new replica set \"{name}\": {why}");
            Some((Severity::Warning, "ReplicaSetCreateError", message))
        }
        (_, _, Ok(())) => made(format!("Created pod: {name}")),
        (_, _, Err(why)) => failed(format!("Error creating: {why}")),
    }
}

/// Of an object that was deleted, or could not be.
pub(super) fn of_deletion(
    by: Component,
    owner: &str,
    (kind, name): (&Kind, &str),
    outcome: Result<(), &str>,
) -> Told {
    match (by, outcome) {
        (Component::StatefulSet, Ok(())) => {
            let message = format!("delete Pod {name} in StatefulSet {owner} successful");
            (Severity::Normal, "SuccessfulDelete", message)
        }
        (Component::StatefulSet, Err(why)) => {
            let message = format!("delete Pod {name} in StatefulSet {owner} failed error: {why}");
            (Severity::Warning, "FailedDelete", message)
        }
        (_, Ok(())) => (Severity::Normal, "SuccessfulDelete", format!("Deleted {}: {name}", noun(kind))),
        (_, Err(why)) => (Severity::Warning, "FailedDelete", format!("Error deleting: {why}")),
    }
}

/// The pod that a claim of a StatefulSet is for: both end in the same number.
fn pod_of(set: &str, claim: &str) -> String {
    let number = claim.rsplit('-').next().unwrap_or_default();
    format!("{set}-{number}")
}

/// What events call an object of a kind.
fn noun(kind: &Kind) -> &'static str {
    match kind.kind {
        "Pod" => "pod",
        "ReplicaSet" => "replica set",
        "Job" => "job",
        other => other,
    }
}
