//! Replacing all pods at once: those of old revisions end before any of the new one starts.

use super::sets::Sets;
use crate::view::{Deployment, PodInfo, View};

/// Takes all pods from old sets. True when any goes.
pub(super) fn shrink(sets: &mut Sets) -> bool {
    let mut shrinks = false;
    for set in sets.old.iter_mut().filter(|set| set.replicas > 0) {
        set.scale(0);
        shrinks = true;
    }
    shrinks
}

/// Whether a pod of an old revision is there. One that was not deleted yet is, in any case.
pub(super) fn old_pods_are_there(view: &View, sets: &Sets, is_there: impl Fn(&PodInfo) -> bool) -> bool {
    sets.old.iter().any(|set| {
        set.info.status.replicas > 0
            || view.pods_controlled_by(&set.info.meta.uid).any(|(_, pod)| is_there(pod))
    })
}

/// Gives the newest set all pods.
pub(super) fn grow(deployment: &Deployment, sets: &mut Sets) {
    if let Some(newest) = &mut sets.newest {
        newest.scale(deployment.replicas);
    }
}
