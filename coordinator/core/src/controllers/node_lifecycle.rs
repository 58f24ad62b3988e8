//! What a node's silence means: its condition, its taints, and in the end its pods.
//!
//! A node whose session is gone for longer than a grace period becomes `Unknown` and is tainted as unreachable; what its pods
//! tolerate, and for how long, decides when they are evicted. After a restart of the coordinator no node has been heard of, which
//! says nothing about the nodes: stored conditions stay as they are until a grace period has ended. When most nodes of a pool
//! fall silent together, the fault is more likely on the way than in the nodes, and nothing is evicted for it.

use std::time::Duration;

use dunlin_link::NodeName;
use jiff::Timestamp;

use super::{Action, Plan, TAINT_NOT_READY, TAINT_UNREACHABLE};
use crate::{
    pod_status::REASON_NODE_LOST,
    view::{Effect, Liveness, NodeEntry, NodeInfo, ObjectKey, PodInfo, Taint, View},
};

/// What to do for `node` now.
pub fn reconcile(view: &View, node: &NodeName, now: Timestamp) -> Plan {
    let Some(entry) = view.node(node) else { return Plan::nothing() };
    let Some(info) = &entry.info else { return Plan::nothing() };
    let mut plan = Plan::nothing();
    let silent = match silent_since(view, entry) {
        // It will not come back on its own.
        Some(_) if info.is_revoked() => Some(now),
        Some(since) if now < since => {
            plan.wake_at(since);
            None
        }
        since => since,
    };
    let health = if silent.is_some() {
        Health::Unknown
    } else if entry.liveness == Liveness::Live {
        Health::of_condition(info)
    } else {
        // Unverified or just gone: nothing changes yet, but what was decided before still runs its course.
        evict(view, entry, info, now, &mut plan);
        return plan;
    };
    if silent.is_none() && health == Health::Unknown {
        plan.actions.push(Action::MarkNodeKnown { node: info.name.clone(), uid: info.uid.clone() });
    }
    mark(info, health, &mut plan);
    mark_pods(view, entry, health, &mut plan);
    evict(view, entry, info, now, &mut plan);
    plan
}

/// A node's condition `Ready` as it is or should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Ready,
    NotReady,
    Unknown,
}

impl Health {
    fn of_condition(info: &NodeInfo) -> Self {
        match info.condition("Ready") {
            Some("True") => Self::Ready,
            // Until it is taken back the old word stands.
            Some("Unknown") => Self::Unknown,
            _ => Self::NotReady,
        }
    }
}

/// When a node counts as silent, in the future while its grace period runs; `None` for one that is live.
fn silent_since(view: &View, entry: &NodeEntry) -> Option<Timestamp> {
    match entry.liveness {
        Liveness::Live => None,
        Liveness::Silent(since) => Some(since + view.node_grace()),
        Liveness::Unverified(started) => Some(started + RESTART_GRACE),
    }
}

fn mark(info: &NodeInfo, health: Health, plan: &mut Plan) {
    // Why a revoked node is not Ready is known better than that it is silent.
    if health == Health::Unknown && info.condition("Ready") != Some("Unknown") && !info.is_revoked() {
        plan.actions.push(Action::MarkNodeUnknown { node: info.name.clone(), uid: info.uid.clone() });
    }
    let wanted = match health {
        Health::Ready => None,
        Health::NotReady => Some(TAINT_NOT_READY),
        Health::Unknown => Some(TAINT_UNREACHABLE),
    };
    let mut add = Vec::new();
    let mut remove = Vec::new();
    for key in [TAINT_NOT_READY, TAINT_UNREACHABLE] {
        for effect in [Effect::NoSchedule, Effect::NoExecute] {
            match (wanted == Some(key), info.tainted(key, effect)) {
                (true, false) => add.push((key, effect)),
                (false, true) => remove.push((key, effect)),
                _ => {}
            }
        }
    }
    for (condition, key) in PRESSURES {
        match (info.condition(condition) == Some("True"), info.tainted(key, Effect::NoSchedule)) {
            (true, false) => add.push((key, Effect::NoSchedule)),
            (false, true) => remove.push((key, Effect::NoSchedule)),
            _ => {}
        }
    }
    if !add.is_empty() || !remove.is_empty() {
        plan.actions.push(Action::Taint { node: info.name.clone(), uid: info.uid.clone(), add, remove });
    }
}

fn mark_pods(view: &View, entry: &NodeEntry, health: Health, plan: &mut Plan) {
    for (key, pod) in running(view, entry) {
        match (&pod.ready, health) {
            (Some((true, _)), Health::Unknown) => {
                plan.actions.push(Action::MarkPodLost(key.clone(), pod.uid.clone()));
            }
            (Some((false, reason)), Health::Ready) if reason == REASON_NODE_LOST && pod.containers_ready => {
                plan.actions.push(Action::MarkPodFound(key.clone(), pod.uid.clone()));
            }
            _ => {}
        }
    }
}

/// Evicts the pods that do not tolerate the node's taints any longer, and says when the next one is due.
fn evict(view: &View, entry: &NodeEntry, info: &NodeInfo, now: Timestamp, plan: &mut Plan) {
    let taints: Vec<&Taint> = info.taints.iter().filter(|taint| taint.effect == Effect::NoExecute).collect();
    let about_health = |taint: &&Taint| [TAINT_NOT_READY, TAINT_UNREACHABLE].contains(&taint.key.as_str());
    // Between a restart and the end of its grace period nobody knows whether the node is really gone.
    let verified = !matches!(entry.liveness, Liveness::Unverified(started) if now < started + RESTART_GRACE);
    let excused = taints.iter().any(about_health) && (!verified || pool_is_silent(view, info, now));
    let taints: Vec<&Taint> = taints.into_iter().filter(|taint| !(excused && about_health(taint))).collect();
    if excused {
        // Whether the pool is still silent does not show on this node.
        plan.wake_at(now + POOL_RECHECK);
    }
    if taints.is_empty() {
        return;
    }
    for (key, pod) in running(view, entry) {
        match eviction_due(pod, &taints, now) {
            Some(due) if due <= now => plan.actions.push(Action::Evict(key.clone(), pod.uid.clone())),
            Some(due) => plan.wake_at(due),
            None => {}
        }
    }
}

fn running<'a>(view: &'a View, entry: &'a NodeEntry) -> impl Iterator<Item = (&'a ObjectKey, &'a PodInfo)> {
    entry
        .pods
        .iter()
        .filter_map(|key| Some((key, view.pod(key)?.as_ref())))
        .filter(|(_, pod)| pod.deletion.is_none() && !pod.phase.finished())
}

/// When the first of the taints stops being tolerated; `None` is never.
fn eviction_due(pod: &PodInfo, taints: &[&Taint], now: Timestamp) -> Option<Timestamp> {
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

/// Whether so much of the node's pool is silent that the nodes are not to blame.
fn pool_is_silent(view: &View, info: &NodeInfo, now: Timestamp) -> bool {
    let zone = info.labels.get(ZONE_LABEL);
    let mut total = 0_usize;
    let mut silent = 0_usize;
    for (_, entry) in view.nodes() {
        let Some(other) = &entry.info else { continue };
        if zone.is_some() && other.labels.get(ZONE_LABEL) != zone {
            continue;
        }
        total += 1;
        silent += usize::from(silent_since(view, entry).is_some_and(|since| since <= now));
    }
    total >= POOL_MIN && silent * 100 >= total * POOL_SILENT_PERCENT
}

/// What a node runs short of, and the taint that keeps pods away meanwhile.
const PRESSURES: [(&str, &str); 3] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
];

/// How long after the coordinator's start nodes may take to be heard of: as long as the longest reconnect delay, and some.
const RESTART_GRACE: Duration = Duration::from_secs(90);

/// A smaller pool is not told apart from single failures.
const POOL_MIN: usize = 3;

/// Share of a pool that falls silent only when the way to it fails.
const POOL_SILENT_PERCENT: usize = 55;

/// How often an excused node looks again whether its pool is still silent.
const POOL_RECHECK: Duration = Duration::from_secs(10);

/// The label that splits a cluster into pools.
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

#[cfg(test)]
mod tests;
