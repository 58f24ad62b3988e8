//! Which pods have to leave a node because of its taints, and when.

use jiff::Timestamp;

use super::{
    super::{Action, Plan, TAINT_NOT_READY, TAINT_UNREACHABLE},
    RESTART_GRACE,
    disruption::Pace,
    running,
};
use crate::view::{Effect, Liveness, NodeEntry, NodeInfo, PodInfo, Taint, View};

/// Evicts the pods that do not tolerate the node's taints any longer, and says when the next one is due. Of those whose eviction was only
/// a matter of time, and is off with the taints that are removed, it says so.
pub(super) fn evict(
    view: &View,
    entry: &NodeEntry,
    info: &NodeInfo,
    removed: &[&str],
    now: Timestamp,
    plan: &mut Plan,
) {
    let of_effect = || info.taints.iter().filter(|taint| taint.effect == Effect::NoExecute);
    let about_health = |taint: &Taint| [TAINT_NOT_READY, TAINT_UNREACHABLE].contains(&taint.key.as_str());
    // Between a restart and the end of its grace period nobody knows whether the node is really gone.
    let is_verified =
        !matches!(entry.liveness, Liveness::Unverified(started) if now < started + RESTART_GRACE);
    let is_halted = || Pace::of(view, view.zones().of(info), now) == Pace::Halted;
    let is_excused = of_effect().any(about_health) && (!is_verified || is_halted());
    let (gone, kept): (Vec<&Taint>, Vec<&Taint>) =
        of_effect().partition(|taint| removed.contains(&taint.key.as_str()));
    let taints: Vec<&Taint> = kept.into_iter().filter(|taint| !is_excused || !about_health(taint)).collect();
    if taints.is_empty() && gone.is_empty() {
        return;
    }
    for (key, pod) in running(view, entry) {
        match due(pod, &taints, now) {
            Some(at) if at <= now => plan.actions.push(Action::Evict(key.clone(), pod.uid.clone())),
            Some(at) => plan.wake_at(at),
            None if due(pod, &gone, now).is_some() => {
                plan.actions.push(Action::CancelEviction(key.clone(), pod.uid.clone()));
            }
            None => {}
        }
    }
}

/// When the first of the taints stops being tolerated; `None` is never.
fn due(pod: &PodInfo, taints: &[&Taint], now: Timestamp) -> Option<Timestamp> {
    let tolerated_until = |taint: &Taint| -> Option<Timestamp> {
        let matching = pod
            .template
            .tolerations
            .iter()
            .filter(|toleration| toleration.tolerates(&taint.key, &taint.value, taint.effect));
        let mut shortest: Option<i64> = None;
        let mut tolerated = false;
        for toleration in matching {
            tolerated = true;
            if let Some(seconds) = toleration.seconds {
                let seconds = seconds.max(0);
                shortest = Some(shortest.map_or(seconds, |known| known.min(seconds)));
            }
        }
        let added = taint.added.unwrap_or(now);
        match (tolerated, shortest) {
            (false, _) => Some(added),
            (true, None) => None,
            // A bound beyond the calendar is never.
            (true, Some(seconds)) => added.checked_add(jiff::SignedDuration::from_secs(seconds)).ok(),
        }
    };
    taints.iter().filter_map(|taint| tolerated_until(taint)).min()
}
