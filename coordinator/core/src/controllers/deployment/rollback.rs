//! Automatic rollback of a Deployment: what its sets and conditions mean to the steps that all kinds share.

use super::{
    super::{
        auto_rollback::{
            Policy, STABLE, TIMED_OUT, keeps_crashing,
            steps::{self, Kept, Next, Situation},
        },
        conditions,
    },
    BY, Rollout, history, progress,
    sets::{Set, Sets},
};
use crate::view::Deployment;

/// Does what is due next; says whether it has to be seen before anything else is done.
pub(super) fn advance(rollout: &mut Rollout<'_>) -> bool {
    if rollout.deployment.paused {
        return false;
    }
    let decision = steps::decide(&situation(rollout));
    rollout.plan.actions.extend(decision.actions);
    if let Some(conditions) = decision.conditions {
        let mut status = rollout.deployment.status.clone();
        status.conditions = conditions;
        rollout.write_status(status);
    }
    match decision.next {
        Next::Rollout => false,
        Next::Wait => true,
        Next::Hold(id, verdict) => {
            rollout.verdict = Some(verdict);
            rollout.sets.hold(&id);
            false
        }
    }
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

/// Whether an old set has to be kept whatever the history's limit.
pub(super) fn are_kept<'a>(deployment: &Deployment, sets: &'a Sets) -> impl Fn(&Set) -> bool + use<'a> {
    let old: Vec<Kept<'a>> = sets.old.iter().map(kept).collect();
    let needed = steps::needed(&deployment.meta, &old);
    move |set| needed.contains(&&set.id)
}

fn situation<'a>(rollout: &'a Rollout<'_>) -> Situation<'a> {
    let (deployment, sets) = (rollout.deployment, &rollout.sets);
    let status = &deployment.status;
    let progressing = conditions::get(&status.conditions, progress::PROGRESSING);
    let of_reason = |reason| progressing.filter(|progressing| progressing.reason == reason);
    // A rollout that is through without any pod that serves proves nothing.
    let through = of_reason(progress::AVAILABLE).filter(|_| status.available_replicas > 0);
    let through =
        through.and_then(|through| sets.all().map(kept).find(|kept| kept.is_named(&through.message)));
    let newest = sets.newest.as_ref();
    let failed = of_reason(TIMED_OUT).zip(newest);
    let failed = failed.filter(|(failed, newest)| kept(newest).is_named(&failed.message));
    Situation {
        by: BY,
        restores: BY,
        id: rollout.id,
        meta: &deployment.meta,
        newest: newest.map(kept),
        old: sets.old.iter().map(kept).collect(),
        through,
        failure: failed.map(|(failed, newest)| reason(rollout, &failed.message, newest)),
        conditions: &status.conditions,
        now: rollout.now,
    }
}

/// What is wrong with the newest set.
fn reason(rollout: &Rollout<'_>, judged: &str, newest: &Set) -> String {
    let (available, wanted) = (newest.info.status.available_replicas, newest.replicas);
    let pods = rollout.view.pods_controlled_by(&newest.info.meta.uid);
    let broken = pods.filter(|(_, pod)| pod.is_active() && !pod.is_ready() && !rollout.defers(pod));
    let trouble = broken.filter_map(|(key, pod)| Some((key, pod.trouble.as_ref()?))).next();
    let trouble =
        trouble.map(|(key, trouble)| format!(", pod {} is in {trouble}", key.name)).unwrap_or_default();
    let judged = judged.trim_end_matches('.');
    format!("{judged}; {available} of {wanted} new pods are available{trouble}")
}

fn kept(set: &Set) -> Kept<'_> {
    Kept { id: &set.id, meta: &set.info.meta, number: set.info.meta.number(history::REVISION).unwrap_or(0) }
}
