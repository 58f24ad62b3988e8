//! Scaling in the middle of a rollout, or while it is paused: every set keeps its share.

use std::cmp::Reverse;

use super::{
    history,
    sets::{Set, Sets},
};
use crate::view::{Deployment, Strategy};

/// Gives the sets sizes that fit `replicas`.
pub(super) fn rescale(deployment: &Deployment, sets: &mut Sets) {
    if let Some(only) = active_or_latest(sets) {
        only.scale(deployment.replicas);
        return;
    }
    if is_saturated(deployment, sets) {
        sets.old.iter_mut().filter(|set| set.replicas > 0).for_each(|set| set.scale(0));
        return;
    }
    if matches!(deployment.strategy, Strategy::RollingUpdate { .. }) {
        share_out(deployment, sets);
    }
}

/// The only set with pods, or the latest when none has any; `None` when several have.
fn active_or_latest(sets: &mut Sets) -> Option<&mut Set> {
    let active = sets.all().filter(|set| set.replicas > 0).count();
    match active {
        0 => sets.newest.as_mut().or_else(|| sets.old.last_mut()),
        1 => sets.old.iter_mut().chain(&mut sets.newest).find(|set| set.replicas > 0),
        _ => None,
    }
}

/// Whether the newest set has all pods that it should, and all are available.
fn is_saturated(deployment: &Deployment, sets: &Sets) -> bool {
    sets.newest.as_ref().is_some_and(|newest| {
        newest.replicas == deployment.replicas
            && newest.info.meta.number(history::DESIRED) == Some(deployment.replicas)
            && sets.newest_available() == deployment.replicas
    })
}

fn share_out(deployment: &Deployment, sets: &mut Sets) {
    let most = if deployment.replicas > 0 { deployment.replicas + deployment.max_surge() } else { 0 };
    let missing = most - sets.total();
    let mut active: Vec<&mut Set> =
        sets.old.iter_mut().chain(&mut sets.newest).filter(|set| set.replicas > 0).collect();
    // What rounding leaves goes to the largest: the newest of them when pods come, the oldest when they go.
    active.sort_by(|one, other| {
        let by_age = if missing > 0 { other.age().cmp(&one.age()) } else { one.age().cmp(&other.age()) };
        Reverse(one.replicas).cmp(&Reverse(other.replicas)).then(by_age)
    });
    let mut added = 0;
    let sizes: Vec<i64> = active
        .iter()
        .map(|set| {
            let part = share(deployment, set, missing, added);
            added += part;
            set.replicas + part
        })
        .collect();
    for (position, (set, size)) in active.into_iter().zip(sizes).enumerate() {
        let rest = if position == 0 { missing - added } else { 0 };
        set.scale(size + rest);
    }
}

/// How many of the `missing` pods, of which `added` are given out, belong to a set.
fn share(deployment: &Deployment, set: &Set, missing: i64, added: i64) -> i64 {
    if missing == 0 || missing == added {
        return 0;
    }
    let (part, allowed) = (fraction(deployment, set), missing - added);
    if missing > 0 { part.min(allowed) } else { part.max(allowed) }
}

fn fraction(deployment: &Deployment, set: &Set) -> i64 {
    if deployment.replicas == 0 {
        return -set.replicas;
    }
    let most = deployment.replicas + deployment.max_surge();
    let known = set.info.meta.number(history::MOST).filter(|most| *most > 0);
    let before = known.unwrap_or(deployment.status.replicas);
    if before <= 0 {
        return 0;
    }
    // Rounded to the nearest whole, halves up; sizes are not negative.
    (2 * set.replicas * most + before) / (2 * before) - set.replicas
}
