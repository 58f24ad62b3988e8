//! Pods that nobody else will ever remove.
//!
//! Three kinds: pods bound to a node that does not exist (after a while, for it may be created again), pods being deleted that
//! were never bound, and the oldest of the pods that ended, when there are too many of them.

use std::time::Duration;

use dunlin_link::NodeName;
use jiff::Timestamp;

use super::{Action, Plan};
use crate::view::{ObjectKey, View};

/// What to do about pods bound to `node`, if there is no such node.
pub fn reconcile_node(view: &View, node: &NodeName, now: Timestamp) -> Plan {
    let Some(entry) = view.node(node) else { return Plan::nothing() };
    let Some(since) = entry.missing_since else { return Plan::nothing() };
    let mut plan = Plan::nothing();
    let due = since + NODE_ABSENCE_GRACE;
    if now < due {
        plan.wake_at(due);
        return plan;
    }
    plan.actions.extend(entry.pods.iter().filter_map(|key| remove(view, key)));
    plan
}

/// What to do about pods that no node will report on.
pub fn reconcile(view: &View) -> Plan {
    let mut plan = Plan::nothing();
    plan.actions.extend(view.unassigned_deleting().filter_map(|key| remove(view, key)));
    let excess = view.finished().len().saturating_sub(FINISHED_PODS_MAX);
    plan.actions.extend(view.finished().iter().take(excess).filter_map(|(_, key)| remove(view, key)));
    plan
}

fn remove(view: &View, key: &ObjectKey) -> Option<Action> {
    view.pod(key).map(|pod| Action::Remove(key.clone(), pod.uid.clone()))
}

/// How long a node may be absent before its pods are removed; Kubernetes waits as long.
const NODE_ABSENCE_GRACE: Duration = Duration::from_secs(40);

/// Pods that ended and are kept, Kubernetes' default.
const FINISHED_PODS_MAX: usize = 12_500;

#[cfg(test)]
mod tests;
