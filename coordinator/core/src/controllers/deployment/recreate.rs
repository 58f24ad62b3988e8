//! Replacing all pods at once: those of old revisions end before any of the new one starts.

use super::sets::Sets;
use crate::view::{Deployment, View};

/// Takes all pods from old sets. True when any goes.
pub(super) fn shrink(sets: &mut Sets) -> bool {
    let mut shrinks = false;
    for set in sets.old.iter_mut().filter(|set| set.replicas > 0) {
        set.scale(0);
        shrinks = true;
    }
    shrinks
}

/// Whether a pod of an old revision has not ended yet.
pub(super) fn old_pods_are_there(view: &View, sets: &Sets) -> bool {
    sets.old.iter().any(|set| {
        set.info.status.replicas > 0
            || view.pods_controlled_by(&set.info.meta.uid).any(|(_, pod)| !pod.phase.finished())
    })
}

/// Gives the newest set all pods.
pub(super) fn grow(deployment: &Deployment, sets: &mut Sets) {
    if let Some(newest) = &mut sets.newest
        && newest.replicas != deployment.replicas
    {
        newest.scale(deployment.replicas);
    }
}
