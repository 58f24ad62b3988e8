//! What a node's silence means: its condition, its taints, and in the end its pods.
//!
//! A node whose session is gone for longer than a grace period becomes `Unknown` and is tainted as unreachable; what its pods
//! tolerate, and for how long, decides when they are evicted. After a restart of the coordinator no node has been heard of, which
//! says nothing about the nodes: stored conditions stay as they are until a grace period has ended. When most nodes of a zone
//! fall silent together, the fault is more likely on the way than in the nodes, and nothing is evicted for it.

mod disruption;
mod eviction;
mod taints;

use std::time::Duration;

use dunlin_link::NodeName;
use jiff::Timestamp;

use super::{Action, Plan};
use crate::{
    pod_status::REASON_NODE_LOST,
    view::{Liveness, NodeEntry, NodeInfo, ObjectKey, PodInfo, View},
};

/// What to do for `node` now.
pub fn reconcile(view: &View, node: &NodeName, now: Timestamp) -> Plan {
    let Some(entry) = view.node(node) else { return Plan::nothing() };
    let Some(info) = &entry.info else { return Plan::nothing() };
    let mut plan = Plan::nothing();
    let health = Health::of(view, entry, info, now, &mut plan);
    let (node, uid) = (info.name.clone(), info.uid.clone());
    if entry.liveness == Liveness::Live && info.is_offline() {
        // The mark was on its way when the session opened.
        plan.actions.push(Action::MarkNodeKnown { node, uid });
    } else if health == Some(Health::Unknown) && !info.is_offline() && !info.is_revoked() {
        // Why a revoked node is not Ready is known better than that it is silent.
        plan.actions.push(Action::MarkNodeUnknown { node, uid });
    }
    let removed = taints::set(view, info, health, now, &mut plan);
    if let Some(health) = health {
        mark_pods(view, entry, health, &mut plan);
    }
    eviction::evict(view, entry, info, &removed, now, &mut plan);
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
    /// `None` while a grace period runs, or what is stored is about to be taken back: nothing changes yet, but what was decided before
    /// still runs its course.
    fn of(view: &View, entry: &NodeEntry, info: &NodeInfo, now: Timestamp, plan: &mut Plan) -> Option<Self> {
        let Some(since) = silent_since(view, entry) else { return Self::of_condition(info) };
        // One that was revoked will not come back on its own.
        if info.is_revoked() || since <= now {
            return Some(Self::Unknown);
        }
        plan.wake_at(since);
        None
    }

    fn of_condition(info: &NodeInfo) -> Option<Self> {
        match info.condition("Ready") {
            Some("True") => Some(Self::Ready),
            Some("Unknown") => None,
            _ => Some(Self::NotReady),
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

fn mark_pods(view: &View, entry: &NodeEntry, health: Health, plan: &mut Plan) {
    for (key, pod) in on_node(view, entry) {
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

/// Pods of a node that have not ended.
fn on_node<'a>(view: &'a View, entry: &'a NodeEntry) -> impl Iterator<Item = (&'a ObjectKey, &'a PodInfo)> {
    let pods = entry.pods.iter().filter_map(|key| Some((key, view.pod(key)?.as_ref())));
    pods.filter(|(_, pod)| !pod.phase.finished())
}

/// Those of them that nobody has asked to end.
fn running<'a>(view: &'a View, entry: &'a NodeEntry) -> impl Iterator<Item = (&'a ObjectKey, &'a PodInfo)> {
    on_node(view, entry).filter(|(_, pod)| pod.deletion.is_none())
}

/// How long after the coordinator's start nodes may take to be heard of: as long as the longest reconnect delay, and some.
const RESTART_GRACE: Duration = Duration::from_secs(90);

#[cfg(test)]
mod tests;
