//! The taints that follow from a node's conditions and from whether it is cordoned.
//!
//! Those that keep new pods away are set at once. The one that evicts comes to one node of a zone after the other, in the order
//! in which they fell silent, so that a fault which spreads is seen before its victims are given up.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    super::{Action, Plan, TAINT_NOT_READY, TAINT_UNREACHABLE},
    Health,
    disruption::Pace,
};
use crate::{
    node_status::{NETWORK_UNAVAILABLE, POD_NETWORK_NOT_READY},
    view::{Effect, NodeInfo, View},
};

/// Sets and removes taints; `health` is `None` while nobody knows. Answers the keys of those removed that evicted.
pub(super) fn set(
    view: &View,
    info: &NodeInfo,
    health: Option<Health>,
    now: Timestamp,
    plan: &mut Plan,
) -> Vec<&'static str> {
    let (mut managed, mut wanted) = (vec![(UNSCHEDULABLE, Effect::NoSchedule)], Vec::new());
    wanted.extend(info.unschedulable.then_some((UNSCHEDULABLE, Effect::NoSchedule)));
    for (key, kind) in OF_CONDITIONS {
        // What a node said last of its pressures stands while it is not heard of.
        if info.condition(kind) != Some("Unknown") {
            managed.push((key, Effect::NoSchedule));
        }
        let holds = info.condition(kind) == Some("True") && !lacks_pod_network_alone(info, kind);
        wanted.extend(holds.then_some((key, Effect::NoSchedule)));
    }
    if let Some(health) = health {
        managed
            .extend(OF_HEALTH.iter().flat_map(|key| [(*key, Effect::NoSchedule), (*key, Effect::NoExecute)]));
        let key = match health {
            Health::Ready => None,
            Health::NotReady => Some(TAINT_NOT_READY),
            Health::Unknown => Some(TAINT_UNREACHABLE),
        };
        wanted.extend(key.map(|key| (key, Effect::NoSchedule)));
        wanted.extend(key.filter(|_| may_evict(view, info, now, plan)).map(|key| (key, Effect::NoExecute)));
    }
    let has = |(key, effect): &(&'static str, Effect)| info.tainted(key, *effect);
    let add: Vec<_> = wanted.iter().filter(|taint| !has(taint)).copied().collect();
    let remove: Vec<_> = managed.into_iter().filter(|taint| has(taint) && !wanted.contains(taint)).collect();
    let evicted =
        remove.iter().filter(|(_, effect)| *effect == Effect::NoExecute).map(|(key, _)| *key).collect();
    if !add.is_empty() || !remove.is_empty() {
        plan.actions.push(Action::Taint { node: info.name.clone(), uid: info.uid.clone(), add, remove });
    }
    evicted
}

/// Whether a node that is not well may have, or keep, the taint that evicts.
fn may_evict(view: &View, info: &NodeInfo, now: Timestamp, plan: &mut Plan) -> bool {
    let zone = view.zones().of(info);
    let Pace::Every(interval) = Pace::of(view, zone, now) else {
        // That it is over does not show on this node.
        plan.wake_at(now + RECHECK);
        return false;
    };
    if OF_HEALTH.iter().any(|key| info.tainted(key, Effect::NoExecute)) {
        // Nor that others of the zone follow, and that the taint is to be taken back; there may be no pod here whose time would come.
        plan.wake_at(now + RECHECK);
        return true;
    }
    let next_at = zone.last_tainted().and_then(|last| last.checked_add(interval).ok());
    let is_next = zone.next() == Some(&info.name);
    match next_at {
        Some(at) if now < at => plan.wake_at(at),
        _ if is_next => return true,
        _ => plan.wake_at(now + RECHECK),
    }
    false
}

/// Whether the node itself says that pods get no network: those without Linux containers need none, so the scheduler sees to it.
fn lacks_pod_network_alone(info: &NodeInfo, kind: &str) -> bool {
    kind == NETWORK_UNAVAILABLE
        && info
            .conditions
            .iter()
            .any(|condition| condition.kind == kind && condition.reason == POD_NETWORK_NOT_READY)
}

/// Taints about a node's health, of which a node has one.
const OF_HEALTH: [&str; 2] = [TAINT_NOT_READY, TAINT_UNREACHABLE];

/// Taints that follow from other conditions that are true.
const OF_CONDITIONS: [(&str, &str); 4] = [
    ("node.kubernetes.io/memory-pressure", "MemoryPressure"),
    ("node.kubernetes.io/disk-pressure", "DiskPressure"),
    ("node.kubernetes.io/pid-pressure", "PIDPressure"),
    ("node.kubernetes.io/network-unavailable", NETWORK_UNAVAILABLE),
];

/// Taint of a node that is cordoned.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// How often a node that may not be given up looks again.
const RECHECK: Duration = Duration::from_secs(10);
