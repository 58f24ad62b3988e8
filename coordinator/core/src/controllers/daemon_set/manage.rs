//! What every node gets or loses: a pod where there should be one, an end to those that are too many, in the wrong place, or failed.

use dunlin_link::NodeName;

use super::{
    super::tell::Severity,
    Look, Pod,
    places::{Place, Places},
};
use crate::{
    scheduler::Eligibility,
    view::{Phase, PodInfo},
};

/// Looks after all places. Whether there is anything to do.
pub(super) fn places(look: &mut Look<'_>, places: &Places) -> bool {
    let (mut nodes, mut doomed) = (Vec::new(), Vec::new());
    for (node, place) in &places.by_node {
        match place.eligibility {
            Some(Eligibility::Runs) if place.pods.is_empty() => nodes.push(node.as_str().to_owned()),
            Some(Eligibility::Runs | Eligibility::Stays) => {
                let has_none = keep(look, node, place, &mut doomed);
                if has_none && place.runs() && surges(look) {
                    // What is about to go does not keep its successor back.
                    nodes.push(node.as_str().to_owned());
                }
            }
            Some(Eligibility::Leaves) => {
                doomed.extend(place.pods.iter().filter(|(_, pod)| pod.deletion.is_none()));
            }
            // Nothing else deletes a pod that waits for a node which is gone.
            None => {
                let waits = |(_, pod): &&Pod| pod.node.is_none() && pod.deletion.is_none();
                doomed.extend(place.pods.iter().filter(waits));
            }
        }
    }
    look.sync(nodes, &doomed)
}

/// Finds what is too much on a node that may have a pod. Whether no pod is left.
fn keep<'a>(look: &mut Look<'_>, node: &NodeName, place: &'a Place, doomed: &mut Vec<&'a Pod>) -> bool {
    let (mut running, mut is_held_back) = (Vec::new(), false);
    for pod in place.pods.iter().filter(|(_, pod)| pod.deletion.is_none()) {
        let (key, info) = pod;
        match info.phase {
            Phase::Failed => {
                if let Some(due) = look
                    .view
                    .daemon_failures()
                    .due(&look.set.meta.uid, node, look.now)
                    .filter(|due| *due > look.now)
                {
                    is_held_back = true;
                    look.plan.wake_at(due);
                    continue;
                }
                let message = format!("Found failed daemon pod {key} on node {node}, will try to kill it");
                look.tell(Severity::Warning, "FailedDaemonPod", message);
                doomed.push(pod);
            }
            Phase::Succeeded => {
                let message =
                    format!("Found succeeded daemon pod {key} on node {node}, will try to delete it");
                look.tell(Severity::Normal, "SucceededDaemonPod", message);
                doomed.push(pod);
            }
            Phase::Pending | Phase::Running => running.push(pod),
        }
    }
    if surges(look) {
        prune_to_two(look, &running, doomed);
    } else {
        doomed.extend(running.iter().skip(1));
    }
    // Beside one that failed and is kept for a while none comes either: each would fail as soon, and they would be ever more.
    running.is_empty() && !is_held_back
}

/// One of the newest revision may stand beside an older one, as long as the older serves and the newer does not yet.
fn prune_to_two<'a>(look: &Look<'_>, running: &[&'a Pod], doomed: &mut Vec<&'a Pod>) {
    if running.len() <= 1 {
        return;
    }
    let is_new =
        |pod: &PodInfo| pod.affiliation.labels.get(super::HASH_LABEL).is_some_and(|hash| hash == look.hash());
    let (mut new, mut old) = (None, None);
    for pod in running {
        let first = if is_new(&pod.1) { &mut new } else { &mut old };
        match first {
            None => *first = Some(*pod),
            Some(_) => doomed.push(pod),
        }
    }
    if let (Some((_, new)), Some(old)) = (new, old)
        && (!old.1.is_ready() || look.is_available(new))
    {
        doomed.push(old);
    }
}

/// Whether a node may have two pods for a while.
fn surges(look: &Look<'_>) -> bool {
    look.set.rolling.is_some_and(|rolling| rolling.max_surge.of_all(1) > 0)
}
