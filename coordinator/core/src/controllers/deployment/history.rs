//! Revisions: which number a set has, what it notes about itself for a rollback, and which old sets are kept.

use std::collections::BTreeMap;

use super::{
    super::auto_rollback::{ROLLED_BACK, STABLE},
    rollback,
    sets::{Set, Sets},
};
use crate::view::{Deployment, workload::LAST_APPLIED};

/// What the newest set's annotations lack.
pub(super) struct Changes {
    /// Its revision.
    pub(super) revision: i64,
    /// Annotations to set.
    pub(super) annotations: BTreeMap<String, String>,
}

/// Annotations of a set that is yet to be created.
pub(super) fn of_new_set(deployment: &Deployment, sets: &Sets) -> BTreeMap<String, String> {
    let mut annotations = copied(deployment);
    annotations.insert(REVISION.to_owned(), next(sets).to_string());
    annotations.insert(DESIRED.to_owned(), deployment.replicas.to_string());
    let most = deployment.replicas + deployment.max_surge();
    annotations.insert(MOST.to_owned(), most.to_string());
    annotations
}

/// What has to be set at the newest set. One of an earlier revision that is current again gets the next number.
pub(super) fn changes_of_newest(deployment: &Deployment, sets: &Sets, newest: &Set) -> Changes {
    let meta = &newest.info.meta;
    let mut annotations = copied(deployment);
    annotations.retain(|key, value| meta.annotations.get(key) != Some(value));
    let (old, next) = (meta.number(REVISION).unwrap_or(0), next(sets));
    if old < next {
        annotations.insert(REVISION.to_owned(), next.to_string());
        if old > 0 {
            annotations.insert(HISTORY.to_owned(), with(meta.annotation(HISTORY), old));
        }
    }
    Changes { revision: old.max(next), annotations }
}

/// Old sets beyond `revisionHistoryLimit`, the lowest revisions first. Those that still have pods stay.
pub(super) fn superfluous<'a>(deployment: &Deployment, sets: &'a Sets) -> Vec<&'a Set> {
    let is_kept = rollback::are_kept(deployment, sets);
    let mut old: Vec<&Set> = sets.old.iter().filter(|set| !set.info.meta.deleting && !is_kept(set)).collect();
    let excess = old.len().saturating_sub(usize::try_from(deployment.revision_history_limit).unwrap_or(0));
    old.sort_by_key(|set| (set.info.meta.number(REVISION).unwrap_or(0), set.info.meta.created));
    old.truncate(excess);
    old.retain(|set| {
        let status = &set.info.status;
        set.replicas == 0 && status.replicas == 0 && status.observed_generation >= set.info.meta.generation
    });
    old
}

/// The number after that of every old set.
fn next(sets: &Sets) -> i64 {
    sets.old.iter().filter_map(|set| set.info.meta.number(REVISION)).max().unwrap_or(0) + 1
}

/// The Deployment's annotations, without those that are about itself.
fn copied(deployment: &Deployment) -> BTreeMap<String, String> {
    let mut annotations = deployment.meta.annotations.clone();
    annotations.retain(|key, _| !OWN.contains(&key.as_str()));
    annotations
}

/// A list of revisions with one more; the oldest fall out when it grows too long.
fn with(history: Option<&str>, revision: i64) -> String {
    let revision = revision.to_string();
    let mut revisions: Vec<&str> = history
        .into_iter()
        .flat_map(|history| history.split(','))
        .filter(|known| !known.is_empty())
        .collect();
    revisions.push(&revision);
    let length = |revisions: &[&str]| revisions.iter().map(|known| known.len() + 1).sum::<usize>();
    while length(&revisions) > HISTORY_BYTES_MAX && revisions.len() > 1 {
        revisions.remove(0);
    }
    revisions.join(",")
}

/// Which revision a set or a Deployment is.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";

/// Which revisions a set was before.
const HISTORY: &str = "deployment.kubernetes.io/revision-history";

/// `replicas` of the Deployment when a set was given its size.
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";

/// The same with `maxSurge`.
pub(super) const MOST: &str = "deployment.kubernetes.io/max-replicas";

/// What sets do not take over.
const OWN: [&str; 8] = [
    LAST_APPLIED,
    REVISION,
    HISTORY,
    DESIRED,
    MOST,
    "deprecated.deployment.rollback.to",
    STABLE,
    ROLLED_BACK,
];

/// How long the list of earlier revisions may be.
const HISTORY_BYTES_MAX: usize = 2000;
