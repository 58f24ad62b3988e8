//! Automatic rollback of a StatefulSet: what its revisions and conditions mean to the steps that all kinds share, and whether a rollout gets
//! on. Kubernetes has no deadline for StatefulSets, so that the condition `Progressing` is there only when somebody asks for a rollback.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    super::{
        auto_rollback::{
            Mark, PROGRESSING, Policy, STABLE, THROUGH, TIMED_OUT, UPDATED, deadline, keeps_crashing,
            steps::{self, Decision, Situation},
        },
        conditions,
        history::{History, Known},
        tell::Component,
    },
    BY, Look, Revisions, revision_of,
};
use crate::{
    times,
    view::{
        ObjectId, PodInfo, View,
        workload::{StatefulSet, StatefulSetStatus, UpdateStrategy},
    },
};

/// Decides on the step of a rollback that is due.
pub(super) fn decide(
    view: &View,
    id: &ObjectId,
    set: &StatefulSet,
    history: &History,
    revisions: &Revisions,
    now: Timestamp,
) -> Decision {
    if set.update == UpdateStrategy::OnDelete || set.meta.deleting {
        return Decision::default();
    }
    let (newest, old): (Vec<_>, Vec<_>) =
        history.revisions.iter().partition(|known| *known.name() == revisions.template);
    let status = &set.status;
    let is_through = status.current_revision == status.update_revision
        && status.available_replicas > 0
        && status.available_replicas == status.replicas;
    let through = history.revisions.iter().find(|known| **known.name() == *status.current_revision);
    let newest = newest.last().map(|known| known.kept());
    let failed = conditions::get(&status.conditions, PROGRESSING);
    let failed = failed.filter(|failed| {
        failed.reason == TIMED_OUT && newest.is_some_and(|newest| newest.is_named(&failed.message))
    });
    steps::decide(&Situation {
        by: BY,
        restores: Component::Rollback,
        id,
        meta: &set.meta,
        newest,
        old: old.into_iter().map(Known::kept).collect(),
        through: through.filter(|_| is_through).map(Known::kept),
        failure: failed.map(|failed| reason(view, set, &revisions.template, &failed.message)),
        conditions: &status.conditions,
        now,
    })
}

/// Names of revisions that have to be kept whatever the history's limit.
pub(super) fn needed(set: &StatefulSet, history: &History, revisions: &Revisions) -> Vec<String> {
    let old = history.revisions.iter().filter(|known| *known.name() != revisions.template);
    let old: Vec<_> = old.map(Known::kept).collect();
    steps::needed(&set.meta, &old).into_iter().map(|id| id.key.name.to_string()).collect()
}

/// Names of revisions that are or were left.
pub(super) fn left(history: &History) -> Vec<Arc<str>> {
    let left = history.revisions.iter().filter(|known| Mark::of(&known.info.meta).is_some());
    left.map(|known| Arc::clone(known.name())).collect()
}

/// Says whether the rollout gets on, and when it will have missed its deadline if it does not. `deferred` pods are not waited for.
pub(super) fn judge(look: &Look<'_>, deferred: i64, status: &mut StatefulSetStatus) -> Option<Timestamp> {
    let set = look.set;
    let UpdateStrategy::RollingUpdate { partition, .. } = set.update else {
        conditions::remove(&mut status.conditions, PROGRESSING);
        return None;
    };
    if Policy::of(&set.meta) == Policy::Never {
        conditions::remove(&mut status.conditions, PROGRESSING);
        return None;
    }
    let name = &look.revisions.template;
    if look.revisions.is_held() {
        let message = format!("Revision \"{name}\" was rolled back from and is not tried again.");
        conditions::say(&mut status.conditions, PROGRESSING, ("False", TIMED_OUT, &message), look.now);
        return None;
    }
    let wanted = (set.replicas - partition.unwrap_or(0)).max(0);
    let is_through = status.updated_replicas >= wanted
        && status.replicas == set.replicas
        && status.available_replicas + deferred >= set.replicas;
    let current = conditions::get(&status.conditions, PROGRESSING).cloned();
    let current = current.filter(|current| current.message.contains(&format!("\"{name}\"")));
    let was_through = current.as_ref().is_some_and(|current| current.reason == THROUGH);
    if is_through {
        let message = format!("Revision \"{name}\" was rolled out.");
        conditions::say(&mut status.conditions, PROGRESSING, ("True", THROUGH, &message), look.now);
    } else if was_through {
        // Pods that are missing later say nothing about the rollout.
    } else if let Some(broken) = broken(look) {
        conditions::say(&mut status.conditions, PROGRESSING, ("False", TIMED_OUT, &broken), look.now);
    } else if current.is_none() || has_progressed(&set.status, status) {
        // A new time each time: the deadline counts from it.
        conditions::remove(&mut status.conditions, PROGRESSING);
        let message = format!("Revision \"{name}\" is being rolled out.");
        conditions::set(&mut status.conditions, PROGRESSING, ("True", UPDATED, &message), look.now);
        return Some(times::after(look.now, deadline(&set.meta)));
    } else if let Some(since) = current.filter(|current| current.reason == UPDATED)?.last_transition_time {
        let at = times::after(since, deadline(&set.meta));
        if look.now < at {
            return Some(at);
        }
        let message = format!("Revision \"{name}\" has timed out progressing.");
        conditions::say(&mut status.conditions, PROGRESSING, ("False", TIMED_OUT, &message), look.now);
    }
    None
}

/// Why the newest revision is not waited for any longer, if that is so.
fn broken(look: &Look<'_>) -> Option<String> {
    let name = &look.revisions.template;
    if Policy::of(&look.set.meta) != Policy::Failures || look.stable.contains(name) {
        return None;
    }
    let is_broken =
        |pod: &PodInfo| *revision_of(pod) == **name && keeps_crashing(pod) && !look.is_deferred(pod);
    let (key, pod) = look.pods().find(|(_, pod)| is_broken(pod))?;
    Some(format!(
        "Revision \"{name}\" keeps crashing: pod {} was restarted {} times.",
        key.name, pod.restarts
    ))
}

/// Names of revisions that once were stable.
pub(super) fn stable(history: &History) -> Vec<Arc<str>> {
    let stable = history.revisions.iter().filter(|known| known.info.meta.annotation(STABLE).is_some());
    stable.map(|known| Arc::clone(known.name())).collect()
}

fn reason(view: &View, set: &StatefulSet, name: &str, judged: &str) -> String {
    let of_revision = |pod: &PodInfo| pod.is_active() && *revision_of(pod) == *name;
    let pods: Vec<_> = view.pods_controlled_by(&set.meta.uid).filter(|(_, pod)| of_revision(pod)).collect();
    let ready = pods.iter().filter(|(_, pod)| pod.is_ready()).count();
    let broken = pods.iter().filter(|(_, pod)| !pod.is_ready());
    let trouble = broken.filter_map(|(key, pod)| Some((key, pod.trouble.as_ref()?))).next();
    let trouble =
        trouble.map(|(key, trouble)| format!(", pod {} is in {trouble}", key.name)).unwrap_or_default();
    let judged = judged.trim_end_matches('.');
    format!("{judged}; {ready} of {} new pods are ready{trouble}", pods.len())
}

fn has_progressed(before: &StatefulSetStatus, after: &StatefulSetStatus) -> bool {
    after.updated_replicas > before.updated_replicas
        || after.ready_replicas > before.ready_replicas
        || after.available_replicas > before.available_replicas
        || after.replicas < before.replicas
}
