//! Which pods of a ReplicaSet go first when there are too many: those whose end costs least.

use std::{cmp::Reverse, collections::HashMap, sync::Arc};

use dunlin_link::NodeName;
use jiff::Timestamp;

use super::are_related;
use crate::{
    ObjectKey,
    view::{Phase, PodInfo, ReplicaSet, View},
};

/// The `count` pods to delete.
pub(super) fn first_to_go<'a>(
    view: &View,
    set: &ReplicaSet,
    active: &'a [(ObjectKey, Arc<PodInfo>)],
    count: usize,
) -> Vec<(&'a ObjectKey, &'a Arc<PodInfo>)> {
    if count == 0 {
        return Vec::new();
    }
    let crowds = crowds(view, set);
    let newest = active
        .iter()
        .filter_map(|(_, pod)| pod.ready_since)
        .chain(active.iter().map(|(_, pod)| pod.created))
        .max();
    let newest = newest.unwrap_or_default();
    let mut ranked: Vec<_> = active.iter().map(|(key, pod)| (rank(pod, &crowds, newest), key, pod)).collect();
    ranked.sort_by(|one, other| one.0.cmp(&other.0).then_with(|| one.1.cmp(other.1)));
    ranked.into_iter().take(count).map(|(_, key, pod)| (key, pod)).collect()
}

/// Pods of the same Deployment, or of the set alone, per node.
fn crowds(view: &View, set: &ReplicaSet) -> HashMap<NodeName, usize> {
    let owner = set.meta.controller.as_ref().map(|controller| &controller.uid);
    let siblings = owner.into_iter().flat_map(|uid| view.workloads().controlled_by(uid));
    let mut uids: Vec<Arc<str>> = siblings
        .filter(|(_, sibling)| are_related(set, sibling))
        .map(|(_, sibling)| Arc::clone(&sibling.meta().uid))
        .collect();
    if uids.is_empty() {
        uids.push(Arc::clone(&set.meta.uid));
    }
    let mut crowds = HashMap::new();
    for uid in uids {
        for (_, pod) in view.pods_controlled_by(&uid).filter(|(_, pod)| pod.is_active()) {
            if let Some(node) = &pod.node {
                *crowds.entry(node.clone()).or_default() += 1;
            }
        }
    }
    crowds
}

/// The smaller goes first. As `ActivePodsWithRanks` of Kubernetes.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    is_assigned: bool,
    is_running: bool,
    is_ready: bool,
    deletion_cost: i32,
    beside: Reverse<usize>,
    /// Ready for longer is worth more, but only if much longer: else chance decides, so that not all that came together go together.
    ready_for: u32,
    restarts: Reverse<u32>,
    exists_for: u32,
    chance: Arc<str>,
}

fn rank(pod: &PodInfo, crowds: &HashMap<NodeName, usize>, newest: Timestamp) -> Rank {
    Rank {
        is_assigned: pod.node.is_some(),
        is_running: pod.phase == Phase::Running,
        is_ready: pod.is_ready(),
        deletion_cost: pod.deletion_cost,
        beside: Reverse(pod.node.as_ref().and_then(|node| crowds.get(node)).copied().unwrap_or(0)),
        ready_for: pod.ready_since.map_or(0, |since| magnitude(since, newest)),
        restarts: Reverse(pod.restarts),
        exists_for: magnitude(pod.created, newest),
        chance: pod.uid.as_str().into(),
    }
}

/// How long ago something was, by powers of two. Ages count from the newest pod, so that the order does not change with time.
fn magnitude(since: Timestamp, newest: Timestamp) -> u32 {
    let age = newest.duration_since(since).as_secs().max(0).unsigned_abs();
    u64::BITS - age.leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_count_by_powers_of_two() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let check = |age, expected| assert_eq!(magnitude(at(0), at(age)), expected, "{age}");
        check(0, 0);
        check(1, 1);
        check(3, 2);
        check(4, 3);
        check(1000, 10);
        assert_eq!(magnitude(at(5), at(0)), 0);
    }
}
