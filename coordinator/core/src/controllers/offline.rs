//! Pods on nodes that are offline: deferred, not failed. `docs/design/workloads.md` says what that means to each kind.

use std::{collections::BTreeSet, sync::Arc};

use dunlin_link::NodeName;
use jiff::Timestamp;

use super::conditions;
use crate::{
    scheduler,
    view::{
        PodInfo, PodTemplate, View,
        workload::{Condition, DEFERRED, Meta},
    },
};

/// What pods on offline nodes mean to a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// It goes on without them and comes back to them.
    Defer,
    /// They are not available, as in Kubernetes.
    Strict,
}

/// Pods that are deferred, and where.
#[derive(Clone, Debug, Default)]
pub(super) struct Deferred {
    /// How many.
    pods: i64,
    /// On which offline nodes. Pods that wait for one are on none.
    nodes: BTreeSet<NodeName>,
    /// Whether pods of the template that was looked at last wait for an offline node: the next is likely of it, too.
    waits: Option<(Arc<PodTemplate>, bool)>,
}

impl Policy {
    /// What an object's annotation says. The API lets nothing else through than what is known here.
    pub(super) fn of(meta: &Meta) -> Self {
        if meta.annotation(POLICY) == Some("strict") { Self::Strict } else { Self::Defer }
    }

    /// Whether pods are deferred.
    pub(super) fn defers(self) -> bool {
        self == Self::Defer
    }
}

/// How far what is not deferred is, where no other condition says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// It may be missing, too.
    Open,
    /// It is as it is to be.
    Through,
}

impl Rest {
    const fn reason(self) -> &'static str {
        match self {
            Self::Open => "NodesOffline",
            Self::Through => "OnlyNodesOffline",
        }
    }
}

impl Deferred {
    /// Counts a pod in, if it is deferred. Says whether it is.
    pub(super) fn count(&mut self, view: &View, pod: &PodInfo) -> bool {
        let is_deferred = match &pod.node {
            None if may_be(pod) => self.waits(view, pod),
            _ => is_deferred(view, pod),
        };
        if is_deferred {
            self.pods += 1;
            self.nodes.extend(pod.node.clone());
        }
        is_deferred
    }

    /// Says in a condition how many they are and how far the rest is, or takes it away. True when it was not there before.
    pub(super) fn tell(&self, rest: Rest, all: &mut Vec<Condition>, now: Timestamp) -> bool {
        let known = conditions::get(all, DEFERRED);
        if self.pods == 0 {
            conditions::remove(all, DEFERRED);
            return false;
        }
        let is_new = known.is_none();
        conditions::say(all, DEFERRED, ("True", rest.reason(), &self.message()), now);
        is_new
    }

    /// How many there are.
    pub(super) const fn pods(&self) -> i64 {
        self.pods
    }

    /// How many they are, and where.
    pub(super) fn message(&self) -> String {
        let (pods, are, wait) = if self.pods == 1 { ("pod", "is", "waits") } else { ("pods", "are", "wait") };
        let mut named: Vec<&str> = self.nodes.iter().take(NAMED_MAX).map(NodeName::as_str).collect();
        let more = format!("{} more", self.nodes.len().saturating_sub(NAMED_MAX));
        if self.nodes.len() > NAMED_MAX {
            named.push(&more);
        }
        let places = if named.is_empty() { String::new() } else { format!(": {}", named.join(", ")) };
        format!("{} {pods} {are} on nodes that are offline, or {wait} for them{places}", self.pods)
    }

    fn waits(&mut self, view: &View, pod: &PodInfo) -> bool {
        if let Some((template, waits)) = &self.waits
            && Arc::ptr_eq(template, &pod.template)
        {
            return *waits;
        }
        let waits = waits_for_offline_node(view, pod);
        self.waits = Some((Arc::clone(&pod.template), waits));
        waits
    }
}

/// Whether a pod is deferred: it serves nobody, and its node is or just was offline, or every node that it may be on is.
pub(super) fn is_deferred(view: &View, pod: &PodInfo) -> bool {
    may_be(pod)
        && match &pod.node {
            Some(node) => view.is_offline(node) || pod.is_lost(),
            None => waits_for_offline_node(view, pod),
        }
}

fn may_be(pod: &PodInfo) -> bool {
    !pod.is_ready() && !pod.phase.finished() && !pod.gated
}

fn waits_for_offline_node(view: &View, pod: &PodInfo) -> bool {
    let is_admitted = |node: &NodeName| {
        let info = view.node(node).and_then(|entry| entry.info.as_ref());
        info.is_some_and(|info| scheduler::is_admitted(&pod.template, info))
    };
    view.offline_nodes().any(is_admitted)
        && !view.nodes().any(|(name, _)| !view.is_offline(name) && is_admitted(name))
}

/// Says what pods on offline nodes mean.
const POLICY: &str = "dunlin.dev/offline-policy";

/// Reason of the event when a rollout goes on without pods.
pub(super) const EVENT: &str = "RolloutDeferred";

/// Nodes that a message names.
const NAMED_MAX: usize = 5;
