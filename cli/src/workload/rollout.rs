//! How far the rollout of a Deployment, StatefulSet or DaemonSet is, in kubectl's words.

use anyhow::{Result, anyhow, bail};
use serde_json::Value;

use crate::{
    document::text,
    resource::Kind,
    workload::{condition, revisions},
};

/// How far a rollout is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It goes on, for this reason.
    Waiting(String),
    /// It is over.
    Done(String),
}

impl Step {
    /// The words for it.
    pub(crate) fn words(&self) -> &str {
        match self {
            Self::Waiting(words) | Self::Done(words) => words,
        }
    }
}

/// How far the rollout of `object` is; `revision` is the one that is asked about, if it is one.
///
/// # Errors
/// When the rollout cannot be waited for: it exceeded its deadline, is of another revision, or of a kind or strategy without one.
pub(crate) fn step(kind: &Kind, object: &Value, revision: Option<i64>) -> Result<Step> {
    match (kind.group, kind.kind) {
        ("apps", "Deployment") => deployment(object, revision),
        ("apps", "DaemonSet") => daemon_set(object),
        ("apps", "StatefulSet") => stateful_set(object),
        _ => bail!("no status viewer has been implemented for {}", qualified(kind)),
    }
}

/// A kind as `ReplicaSet.apps`.
pub(crate) fn qualified(kind: &Kind) -> String {
    match kind.group {
        "" => kind.kind.to_owned(),
        group => format!("{}.{group}", kind.kind),
    }
}

fn deployment(object: &Value, revision: Option<i64>) -> Result<Step> {
    let name = text(object, &["metadata", "name"]);
    if let Some(wanted) = revision {
        let running = revisions::number(object)
            .ok_or_else(|| anyhow!("cannot get the revision of deployment {name:?}"))?;
        if wanted != running {
            bail!("desired revision ({wanted}) is different from the running revision ({running})");
        }
    }
    if !is_observed(object) {
        return Ok(Step::Waiting("Waiting for deployment spec update to be observed...".to_owned()));
    }
    let late = |progressing: &Value| text(progressing, &["reason"]) == DEADLINE_EXCEEDED;
    if condition(object, "Progressing").is_some_and(late) {
        bail!("deployment {name:?} exceeded its progress deadline");
    }
    let wanted = object["spec"]["replicas"].as_i64().unwrap_or(1);
    let (all, updated) = (count(object, "replicas"), count(object, "updatedReplicas"));
    let available = count(object, "availableReplicas");
    let waiting = |what: String| {
        Ok(Step::Waiting(format!("Waiting for deployment {name:?} rollout to finish: {what}...")))
    };
    if let Some(why) = told(object, "RolledBack") {
        bail!("deployment {name:?} was rolled back: {why}");
    }
    let is_complete = |progressing: &Value| text(progressing, &["reason"]) == COMPLETE;
    if let Some(deferred) = told(object, "Deferred")
        && condition(object, "Progressing").is_some_and(is_complete)
    {
        // The controller says that it is over; whoever is offline follows when it is seen again.
        return Ok(Step::Done(format!("deployment {name:?} successfully rolled out; {deferred}")));
    }
    if updated < wanted {
        return waiting(format!("{updated} out of {wanted} new replicas have been updated"));
    }
    if all > updated {
        return waiting(format!("{} old replicas are pending termination", all - updated));
    }
    if available < updated {
        return waiting(format!("{available} of {updated} updated replicas are available"));
    }
    Ok(Step::Done(format!("deployment {name:?} successfully rolled out")))
}

fn daemon_set(object: &Value) -> Result<Step> {
    let name = text(object, &["metadata", "name"]);
    rolls(object)?;
    if !is_observed(object) {
        return Ok(Step::Waiting("Waiting for daemon set spec update to be observed...".to_owned()));
    }
    let (wanted, updated) =
        (count(object, "desiredNumberScheduled"), count(object, "updatedNumberScheduled"));
    let available = count(object, "numberAvailable");
    let waiting = |what: String| {
        Ok(Step::Waiting(format!("Waiting for daemon set {name:?} rollout to finish: {what}...")))
    };
    if updated < wanted {
        return waiting(format!("{updated} out of {wanted} new pods have been updated"));
    }
    if available < wanted {
        return waiting(format!("{available} of {wanted} updated pods are available"));
    }
    Ok(Step::Done(format!("daemon set {name:?} successfully rolled out")))
}

fn stateful_set(object: &Value) -> Result<Step> {
    rolls(object)?;
    if count(object, "observedGeneration") == 0 || !is_observed(object) {
        return Ok(Step::Waiting("Waiting for statefulset spec update to be observed...".to_owned()));
    }
    let wanted = object["spec"]["replicas"].as_i64().unwrap_or(1);
    let (ready, updated) = (count(object, "readyReplicas"), count(object, "updatedReplicas"));
    if ready < wanted {
        return Ok(Step::Waiting(format!("Waiting for {} pods to be ready...", wanted - ready)));
    }
    let partition = object["spec"]["updateStrategy"]["rollingUpdate"]["partition"].as_i64().unwrap_or(0);
    if object["spec"]["updateStrategy"]["rollingUpdate"].is_object() {
        let newer = wanted - partition;
        return Ok(if updated < newer {
            let progress = format!("{updated} out of {newer} new pods have been updated");
            Step::Waiting(format!("Waiting for partitioned roll out to finish: {progress}..."))
        } else {
            Step::Done(format!("partitioned roll out complete: {updated} new pods have been updated..."))
        });
    }
    let revision = |field: &str| text(object, &["status", field]).to_owned();
    let (current, update) = (revision("currentRevision"), revision("updateRevision"));
    Ok(if current == update {
        let pods = count(object, "currentReplicas");
        Step::Done(format!("statefulset rolling update complete {pods} pods at revision {current}..."))
    } else {
        let progress = format!("{updated} pods at revision {update}");
        Step::Waiting(format!("waiting for statefulset rolling update to complete {progress}..."))
    })
}

/// The message of a condition that holds.
fn told<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    let holds = condition(object, name).filter(|condition| text(condition, &["status"]) == "True")?;
    Some(text(holds, &["message"]))
}

/// What an object's conditions say of why it is not as it is to be, a line each.
pub(crate) fn remarks(object: &Value) -> Vec<String> {
    let all = ["ReplicaFailure", "RolledBack", "Deferred"].iter();
    all.filter_map(|name| {
        let condition = condition(object, name)?;
        // A rollback that could not be is told, too.
        let counts = *name == "RolledBack" || text(condition, &["status"]) == "True";
        counts.then(|| format!("{}: {}", text(condition, &["reason"]), text(condition, &["message"])))
    })
    .collect()
}

/// Refuses a strategy by which nothing rolls.
fn rolls(object: &Value) -> Result<()> {
    match text(object, &["spec", "updateStrategy", "type"]) {
        "" | "RollingUpdate" => Ok(()),
        _ => bail!("rollout status is only available for RollingUpdate strategy type"),
    }
}

fn is_observed(object: &Value) -> bool {
    object["metadata"]["generation"].as_i64().unwrap_or(0) <= count(object, "observedGeneration")
}

fn count(object: &Value, field: &str) -> i64 {
    object["status"][field].as_i64().unwrap_or(0)
}

/// The reason of a rollout that is over.
const COMPLETE: &str = "NewReplicaSetAvailable";

/// The reason of a rollout that was given up.
const DEADLINE_EXCEEDED: &str = "ProgressDeadlineExceeded";

#[cfg(test)]
mod tests;
