//! Which pods make way for the newest revision: the last first, and never more at once than may be missing.

use super::{Look, Pod, revision_of};
use crate::view::{PodInfo, workload::UpdateStrategy};

/// Deletes pods of other revisions, as far as the strategy allows it. Answers how many.
pub(super) fn update(look: &mut Look<'_>) -> i64 {
    let UpdateStrategy::RollingUpdate { partition, max_unavailable } = look.set.update else { return 0 };
    let first = look.set.start.saturating_add(partition.unwrap_or(0));
    let doomed = match max_unavailable {
        None => next(look, first).into_iter().collect(),
        Some(amount) => {
            // A part of a pod counts as none, but one pod may always be missing.
            let most = amount.of_all_rounded_down(look.set.replicas).max(1);
            several(look, first, usize::try_from(most).unwrap_or(usize::MAX))
        }
    };
    doomed.iter().for_each(|pod| look.delete(pod));
    i64::try_from(doomed.len()).unwrap_or(i64::MAX)
}

/// The last pod that is not of the newest revision, unless one after it does not serve yet. Those on nodes that are offline are passed over:
/// an old one goes when its node is seen again.
fn next(look: &Look<'_>, first: i64) -> Option<Pod> {
    let mut expected = look.set.start + look.set.replicas - 1;
    for (ordinal, pod) in look.replicas.range(first..).rev() {
        let has_gap = *ordinal != expected;
        expected = ordinal - 1;
        if has_gap {
            return None;
        }
        if look.is_deferred(&pod.1) {
            continue;
        }
        if is_old(look, pod) {
            return Some(pod.clone());
        }
        if !look.is_available(&pod.1) {
            return None;
        }
    }
    None
}

/// As many as may be missing beside those that are. Where pods do not wait for each other, those that do not serve anyway go first and
/// cost nothing: else pods of a revision that never serves would stay for ever.
fn several(look: &Look<'_>, first: i64, most: usize) -> Vec<Pod> {
    let counts = |pod: &PodInfo| look.is_available(pod) || look.is_deferred(pod);
    let there = look.replicas.values().filter(|(_, pod)| counts(pod)).count();
    let unavailable = usize::try_from(look.set.replicas).unwrap_or(usize::MAX).saturating_sub(there);
    let left = most.saturating_sub(unavailable);
    let old = || {
        let pods = look.replicas.range(first..).rev().map(|(_, pod)| pod);
        pods.filter(|pod| is_old(look, pod) && !look.is_deferred(&pod.1))
    };
    if look.is_ordered() {
        return old().take(left).cloned().collect();
    }
    let useless = old().filter(|(_, pod)| !look.is_available(pod));
    let serving = old().filter(|(_, pod)| look.is_available(pod)).take(left);
    useless.chain(serving).cloned().collect()
}

/// Whether a pod is of another revision and stays unless something is done.
fn is_old(look: &Look<'_>, (_, pod): &Pod) -> bool {
    pod.deletion.is_none() && *revision_of(pod) != *look.revisions.update
}
