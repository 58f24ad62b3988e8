//! Automatic rollback of a Deployment. Each call does the next step that is due; what was done is found in what is stored.

use std::sync::Arc;

use serde_json::json;

use super::{
    super::{
        Action, WorkloadAction,
        auto_rollback::{
            CONDITION, Mark, NO_STABLE_REVISION, NOT_TRIED_AGAIN, Policy, ROLLED_BACK, STABLE,
            STABLE_REVISION_FAILS, Verdict, keeps_crashing,
        },
        conditions,
        tell::Severity,
    },
    BY, Rollout, history, patch_of, progress,
    sets::{Set, Sets},
};
use crate::view::Deployment;

/// What follows from a look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The rollout goes on.
    Rollout,
    /// What was done has to be seen before anything else is.
    Wait,
}

/// Does what is due next.
pub(super) fn advance(rollout: &mut Rollout<'_>) -> Next {
    if Policy::of(&rollout.deployment.meta) == Policy::Never || rollout.deployment.paused {
        return Next::Rollout;
    }
    if note_stable(rollout) == Next::Wait {
        return Next::Wait;
    }
    finish(rollout);
    let Some(newest) = rollout.sets.newest.clone() else { return Next::Rollout };
    let stable = last_stable(&rollout.sets).cloned();
    match (Mark::of(&newest.info.meta), stable) {
        (Some(Mark::Done), Some(stable)) => hold(rollout, &newest, &stable),
        (Some(Mark::Pending), Some(stable)) => return restore(rollout, &stable),
        // Nothing is there to run instead.
        (Some(_), None) => {}
        (None, stable) if has_failed(rollout.deployment, &newest) => {
            return give_up(rollout, &newest, stable.as_ref());
        }
        (None, _) => {}
    }
    Next::Rollout
}

/// Why the newest set counts as broken before its deadline, if it does.
pub(super) fn broken(rollout: &Rollout<'_>) -> Option<String> {
    let newest = rollout.sets.newest.as_ref()?;
    let is_asked = Policy::of(&rollout.deployment.meta) == Policy::Failures;
    if !is_asked || rollout.sets.held.is_some() || newest.info.meta.annotation(STABLE).is_some() {
        return None;
    }
    let mut pods = rollout.view.pods_controlled_by(&newest.info.meta.uid);
    let (key, pod) = pods.find(|(_, pod)| keeps_crashing(pod) && !rollout.defers(pod))?;
    let (set, pod, times) = (&newest.id.key.name, &key.name, pod.restarts);
    Some(format!("ReplicaSet \"{set}\" keeps crashing: pod {pod} was restarted {times} times."))
}

/// Old sets that have to be kept whatever the history's limit: the one to go back to, and the last one that was rolled back from.
pub(super) fn are_kept<'a>(deployment: &Deployment, sets: &'a Sets) -> impl Fn(&Set) -> bool + use<'a> {
    let is_asked = Policy::of(&deployment.meta) != Policy::Never;
    let rolled_back = sets.old.iter().filter(|set| Mark::of(&set.info.meta).is_some());
    let rolled_back = rolled_back.max_by_key(|set| revision(set));
    let kept = [last_stable(sets), rolled_back];
    move |set| is_asked && kept.iter().flatten().any(|kept| kept.id == set.id)
}

/// Notes on a set that it was rolled out in full.
fn note_stable(rollout: &mut Rollout<'_>) -> Next {
    let status = &rollout.deployment.status;
    let progressing = conditions::get(&status.conditions, progress::PROGRESSING);
    let Some(through) = progressing.filter(|progressing| progressing.reason == progress::AVAILABLE) else {
        return Next::Rollout;
    };
    // A rollout that is through without any pod that serves proves nothing.
    let Some(set) = rollout.sets.all().find(|set| is_named(&through.message, set)) else {
        return Next::Rollout;
    };
    let (set, known) = (set.clone(), set.info.meta.number(STABLE));
    if status.available_replicas == 0 || known == Some(revision(&set)) || Mark::of(&set.info.meta).is_some() {
        return Next::Rollout;
    }
    if known.is_none() && conditions::get(&status.conditions, CONDITION).is_some() {
        let mut status = status.clone();
        conditions::remove(&mut status.conditions, CONDITION);
        rollout.write_status(status);
    } else {
        annotate(rollout, &set, STABLE, &revision(&set).to_string());
    }
    Next::Wait
}

/// Notes on sets that were left that they were.
fn finish(rollout: &mut Rollout<'_>) {
    let is_left = |set: &&Set| Mark::of(&set.info.meta) == Some(Mark::Pending);
    let left: Vec<Set> = rollout.sets.old.iter().filter(is_left).cloned().collect();
    for set in left {
        annotate(rollout, &set, ROLLED_BACK, Mark::Done.text());
        let message = format!("Rolled back from {}", named(&set));
        rollout.tell_of(Severity::Normal, "RolledBack", message);
    }
}

/// Lets the stable set go on although the template is that of one that was rolled back from.
fn hold(rollout: &mut Rollout<'_>, newest: &Set, stable: &Set) {
    let message = format!(
        "The template is that of {}, which was rolled back from: {} is kept. Another template is rolled out.",
        named(newest),
        named(stable)
    );
    rollout.verdict = Some(Verdict { status: "True", reason: NOT_TRIED_AGAIN, message });
    rollout.sets.hold(&stable.id);
}

fn restore(rollout: &mut Rollout<'_>, stable: &Set) -> Next {
    let meta = &rollout.deployment.meta;
    rollout.plan.actions.push(Action::Workload(
        BY,
        WorkloadAction::RestoreTemplate {
            id: rollout.id.clone(),
            uid: Arc::clone(&meta.uid),
            generation: meta.generation,
            from: stable.id.clone(),
            from_uid: Arc::clone(&stable.info.meta.uid),
        },
    ));
    Next::Wait
}

/// The newest set has failed: says so, then marks it as the one to be left; or says why nothing is done about it.
fn give_up(rollout: &mut Rollout<'_>, newest: &Set, stable: Option<&Set>) -> Next {
    let why = reason(rollout, newest);
    let was_stable = newest.info.meta.annotation(STABLE).is_some();
    let verdict = match stable {
        Some(stable) if !was_stable => Verdict {
            status: "True",
            reason: progress::TIMED_OUT,
            message: format!("{} is rolled back to {}: {why}", named(newest), named(stable)),
        },
        _ => {
            let (reason, what) = if was_stable {
                (STABLE_REVISION_FAILS, "was stable before, so none is gone back to")
            } else {
                (NO_STABLE_REVISION, "has failed, and no revision is known that was stable")
            };
            Verdict { status: "False", reason, message: format!("{} {what}: {why}", named(newest)) }
        }
    };
    let told = conditions::get(&rollout.deployment.status.conditions, CONDITION);
    // What exactly is wrong may change from look to look; it is said once.
    if told.is_some_and(|told| {
        told.status == verdict.status && told.reason == verdict.reason && is_named(&told.message, newest)
    }) {
        if verdict.status == "False" {
            return Next::Rollout;
        }
        annotate(rollout, newest, ROLLED_BACK, Mark::Pending.text());
        return Next::Wait;
    }
    let mut status = rollout.deployment.status.clone();
    verdict.put(&mut status.conditions, rollout.now);
    rollout.write_status(status);
    let event = if verdict.status == "True" { "RollingBack" } else { "NotRolledBack" };
    rollout.tell_of(Severity::Warning, event, verdict.message);
    Next::Wait
}

/// What is wrong with the newest set.
fn reason(rollout: &Rollout<'_>, newest: &Set) -> String {
    let progressing = conditions::get(&rollout.deployment.status.conditions, progress::PROGRESSING);
    let judged = progressing.map_or("", |progressing| progressing.message.as_str()).trim_end_matches('.');
    let (available, wanted) = (newest.info.status.available_replicas, newest.replicas);
    let pods = rollout.view.pods_controlled_by(&newest.info.meta.uid);
    let broken = pods.filter(|(_, pod)| pod.is_active() && !pod.is_ready() && !rollout.defers(pod));
    let trouble = broken.filter_map(|(key, pod)| Some((key, pod.trouble.as_ref()?))).next();
    let trouble =
        trouble.map(|(key, trouble)| format!(", pod {} is in {trouble}", key.name)).unwrap_or_default();
    format!("{judged}; {available} of {wanted} new pods are available{trouble}")
}

fn has_failed(deployment: &Deployment, newest: &Set) -> bool {
    let progressing = conditions::get(&deployment.status.conditions, progress::PROGRESSING);
    progressing.is_some_and(|progressing| {
        progressing.reason == progress::TIMED_OUT && is_named(&progressing.message, newest)
    })
}

fn last_stable(sets: &Sets) -> Option<&Set> {
    let known = sets.old.iter().filter(|set| !set.info.meta.deleting && Mark::of(&set.info.meta).is_none());
    known.filter(|set| set.info.meta.number(STABLE).is_some()).max_by_key(|set| set.info.meta.number(STABLE))
}

fn annotate(rollout: &mut Rollout<'_>, set: &Set, annotation: &str, value: &str) {
    let patch = json!({ "metadata": { "annotations": { annotation: value } } });
    rollout.plan.actions.push(patch_of(&set.id, &set.info.meta.uid, "", patch));
}

fn revision(set: &Set) -> i64 {
    set.info.meta.number(history::REVISION).unwrap_or(0)
}

fn named(set: &Set) -> String {
    format!("revision {} (ReplicaSet \"{}\")", revision(set), set.id.key.name)
}

fn is_named(message: &str, set: &Set) -> bool {
    message.contains(&format!("\"{}\"", set.id.key.name))
}
