//! Rolling updates: never more pods than `maxSurge` allows, never fewer available ones than `maxUnavailable` allows.

use super::sets::{Set, Sets};
use crate::view::{Deployment, Strategy};

/// The size of a set that is yet to be created.
pub(super) fn size_of_new(deployment: &Deployment, sets: &Sets) -> i64 {
    let room = deployment.replicas + deployment.max_surge() - sets.standing();
    match deployment.strategy {
        Strategy::Recreate => deployment.replicas,
        Strategy::RollingUpdate { .. } => room.clamp(0, deployment.replicas),
    }
}

/// Lets the newest set grow as far as there is room, or shrink to what is asked for. True when its size changes.
pub(super) fn grow(deployment: &Deployment, sets: &mut Sets) -> bool {
    let room = (deployment.replicas + deployment.max_surge() - sets.standing()).max(0);
    let Some(newest) = &mut sets.newest else { return false };
    if newest.replicas == deployment.replicas {
        return false;
    }
    let missing = deployment.replicas - newest.replicas;
    let size = newest.replicas + missing.min(room);
    let before = newest.replicas;
    newest.scale(size);
    size != before
}

/// Takes pods from old sets: first those that serve nobody, then as many of the others as may be missing. True when any goes.
pub(super) fn shrink(deployment: &Deployment, sets: &mut Sets) -> bool {
    let before: i64 = sets.old.iter().map(|set| set.replicas).sum();
    if before == 0 {
        return false;
    }
    let least = deployment.replicas - deployment.max_unavailable();
    // Deferred pods of the new revision hold nothing up, and of the others no more than allowed are missing.
    let newest_available = sets.newest_available();
    let newest_unavailable = sets.newest.as_ref().map_or(0, |newest| newest.replicas - newest_available);
    let spare = sets.total() - least - newest_unavailable;
    if spare <= 0 {
        return false;
    }
    let mut left = spare;
    for set in sets.old.iter_mut().filter(|set| set.replicas > 0) {
        let broken = (set.replicas - set.available()).min(left);
        if broken > 0 {
            set.scale(set.replicas - broken);
            left -= broken;
        }
    }
    let available: i64 = sets.old.iter().map(Set::available).sum();
    let mut left = available + newest_available - least;
    for set in sets.old.iter_mut().filter(|set| set.replicas > 0) {
        let doomed = set.replicas.min(left.max(0));
        if doomed > 0 {
            set.scale(set.replicas - doomed);
            left -= doomed;
        }
    }
    sets.old.iter().map(|set| set.replicas).sum::<i64>() < before
}
