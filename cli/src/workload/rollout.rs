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

/// The rollout was given up, or undone: what kept it back is worth telling.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct GivenUp(String);

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
    goes_on("deployment", object)?;
    let wanted = object["spec"]["replicas"].as_i64().unwrap_or(1);
    let (all, updated) = (count(object, "replicas"), count(object, "updatedReplicas"));
    let available = count(object, "availableReplicas");
    let waiting = |what: String| {
        Ok(Step::Waiting(format!("Waiting for deployment {name:?} rollout to finish: {what}...")))
    };
    if updated < wanted {
        return waiting(format!("{updated} out of {wanted} new replicas have been updated"));
    }
    if all > updated {
        return waiting(format!("{} old replicas are pending termination", all - updated));
    }
    // Where the controller says that it is over, whoever is offline follows when it is seen again.
    let is_through = told(object, "Deferred").is_some() && progress(object) == COMPLETE;
    if available < updated && !is_through {
        return waiting(format!("{available} of {updated} updated replicas are available"));
    }
    Ok(done(object, format!("deployment {name:?} successfully rolled out")))
}

fn daemon_set(object: &Value) -> Result<Step> {
    let name = text(object, &["metadata", "name"]);
    rolls(object)?;
    if !is_observed(object) {
        return Ok(Step::Waiting("Waiting for daemon set spec update to be observed...".to_owned()));
    }
    goes_on("daemon set", object)?;
    // Nodes that are offline are in none of these numbers.
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
    Ok(done(object, format!("daemon set {name:?} successfully rolled out")))
}

fn stateful_set(object: &Value) -> Result<Step> {
    rolls(object)?;
    if count(object, "observedGeneration") == 0 || !is_observed(object) {
        return Ok(Step::Waiting("Waiting for statefulset spec update to be observed...".to_owned()));
    }
    let wanted = object["spec"]["replicas"].as_i64().unwrap_or(1);
    goes_on("statefulset", object)?;
    let (ready, updated) = (count(object, "readyReplicas"), count(object, "updatedReplicas"));
    // Whoever is offline follows when it is seen again; all others are what they are to be.
    let is_through = condition(object, "Deferred").is_some_and(|deferred| {
        text(deferred, &["status"]) == "True" && text(deferred, &["reason"]) == ONLY_OFFLINE
    });
    if ready < wanted && !is_through {
        return Ok(Step::Waiting(format!("Waiting for {} pods to be ready...", wanted - ready)));
    }
    let partition = object["spec"]["updateStrategy"]["rollingUpdate"]["partition"].as_i64().unwrap_or(0);
    if object["spec"]["updateStrategy"]["rollingUpdate"].is_object() {
        let newer = wanted - partition;
        return Ok(if updated < newer && !is_through {
            let progress = format!("{updated} out of {newer} new pods have been updated");
            Step::Waiting(format!("Waiting for partitioned roll out to finish: {progress}..."))
        } else {
            done(object, format!("partitioned roll out complete: {updated} new pods have been updated..."))
        });
    }
    let revision = |field: &str| text(object, &["status", field]).to_owned();
    let (current, update) = (revision("currentRevision"), revision("updateRevision"));
    Ok(if current == update || is_through {
        let pods = if current == update { count(object, "currentReplicas") } else { updated };
        done(object, format!("statefulset rolling update complete {pods} pods at revision {update}..."))
    } else {
        let progress = format!("{updated} pods at revision {update}");
        Step::Waiting(format!("waiting for statefulset rolling update to complete {progress}..."))
    })
}

/// It is over, but for pods on nodes that are offline.
fn done(object: &Value, words: String) -> Step {
    match told(object, "Deferred") {
        None => Step::Done(words),
        Some(deferred) => Step::Done(format!("{words}; deferred: {deferred}")),
    }
}

/// Refuses to wait for a rollout that was given up or undone.
fn goes_on(what: &str, object: &Value) -> Result<()> {
    let name = text(object, &["metadata", "name"]);
    let progress = progress(object);
    if progress == DEADLINE_EXCEEDED {
        return Err(GivenUp(format!("{what} {name:?} exceeded its progress deadline")).into());
    }
    // While pods come and go it is another revision that is being rolled out, or that which is gone back to.
    if let Some(why) = told(object, "RolledBack").filter(|_| COMPLETES.contains(&progress)) {
        return Err(GivenUp(format!("{what} {name:?} was rolled back: {why}")).into());
    }
    Ok(())
}

/// What the controller says of the progress, in a word.
fn progress(object: &Value) -> &str {
    condition(object, "Progressing").map_or("", |progressing| text(progressing, &["reason"]))
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

/// The reason of a Deployment's rollout that is over.
const COMPLETE: &str = "NewReplicaSetAvailable";

/// The same of all kinds.
const COMPLETES: [&str; 2] = [COMPLETE, "NewRevisionAvailable"];

/// The reason of the condition `Deferred` of a StatefulSet of which nothing else is missing.
const ONLY_OFFLINE: &str = "OnlyNodesOffline";

/// The reason of a rollout that was given up.
const DEADLINE_EXCEEDED: &str = "ProgressDeadlineExceeded";

#[cfg(test)]
mod tests;
