//! Pods that nobody else will ever remove.
//!
//! Four kinds: pods bound to a node that does not exist (after a while, for it may be created again), pods being deleted that
//! were never bound, those being deleted on a node that is not well and that an administrator declared out of service, and the
//! oldest of the pods that ended, when there are too many of them.

use std::time::Duration;

use dunlin_link::NodeName;
use jiff::Timestamp;

use super::{Action, Plan};
use crate::view::{NodeInfo, ObjectKey, PodInfo, View};

/// Why a pod is removed. One that did not end has to have failed first, so that whoever counts its end does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It ended.
    Ended,
    /// Nobody is there to end it.
    Unattended,
    /// The same, and it was not even asked to end.
    NodeGone,
}

impl Removal {
    /// Reason and message of the condition that says so first, if there is something to say.
    pub const fn condition(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Ended | Self::Unattended => None,
            Self::NodeGone => Some(("DeletionByPodGC", "PodGC: node no longer exists")),
        }
    }
}

/// What to do about pods bound to `node`, if there is no such node or it is out of service.
pub fn reconcile_node(view: &View, node: &NodeName, now: Timestamp) -> Plan {
    let Some(entry) = view.node(node) else { return Plan::nothing() };
    let mut plan = Plan::nothing();
    if entry.info.as_ref().is_some_and(|info| is_out_of_service(info)) {
        let is_ending = |pod: &PodInfo| pod.deletion.is_some();
        let pods = entry.pods.iter().filter(|key| view.pod(key).is_some_and(|pod| is_ending(pod)));
        plan.actions.extend(pods.filter_map(|key| remove(view, key, Removal::Unattended)));
        return plan;
    }
    let Some(since) = entry.missing_since else { return plan };
    let due = since + NODE_ABSENCE_GRACE;
    if now < due {
        plan.wake_at(due);
        return plan;
    }
    plan.actions.extend(entry.pods.iter().filter_map(|key| remove(view, key, Removal::NodeGone)));
    plan
}

/// What to do about pods that no node will report on.
pub fn reconcile(view: &View) -> Plan {
    let mut plan = Plan::nothing();
    plan.actions.extend(view.unassigned_deleting().filter_map(|key| remove(view, key, Removal::Unattended)));
    let excess = view.finished().len().saturating_sub(FINISHED_PODS_MAX);
    let oldest = view.finished().iter().take(excess);
    plan.actions.extend(oldest.filter_map(|(_, key)| remove(view, key, Removal::Ended)));
    plan
}

fn remove(view: &View, key: &ObjectKey, why: Removal) -> Option<Action> {
    let pod = view.pod(key)?;
    let why = if pod.phase.finished() { Removal::Ended } else { why };
    Some(Action::Remove(key.clone(), pod.uid.clone(), why))
}

/// Whether an administrator says of a node that is not well that nothing runs on it any more.
fn is_out_of_service(info: &NodeInfo) -> bool {
    info.condition("Ready") != Some("True") && info.taints.iter().any(|taint| taint.key == OUT_OF_SERVICE)
}

/// Taint by which an administrator says so.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// How long a node may be absent before its pods are removed; Kubernetes waits as long.
const NODE_ABSENCE_GRACE: Duration = Duration::from_secs(40);

/// Pods that ended and are kept, Kubernetes' default.
const FINISHED_PODS_MAX: usize = 12_500;

#[cfg(test)]
mod tests;
