//! Pods that wait for a node: which is next, and what follows from where the scheduler would have it.

use std::sync::Arc;

use dunlin_link::NodeName;
use jiff::Timestamp;
use serde_json::Value;

use super::Reconciler;
use crate::{ObjectKey, pod_status, scheduler::Unschedulable, view::PodInfo};

/// Pods placed before whoever carries that out looks at its inputs again, so that a long queue does not keep changes from nodes.
pub const PLACEMENTS_PER_TURN: usize = 128;

/// What follows for a pod.
#[derive(Debug)]
pub enum Placement {
    /// It is to be bound to this node, and counts there already.
    On(NodeName),
    /// It waits, and its status is to say why. Others may have to go for its sake.
    Nowhere {
        /// Why.
        why: Box<Unschedulable>,
        /// What becomes of its `status.nominatedNodeName`.
        nomination: Nomination,
    },
}

/// What becomes of the node that is kept for a pod: `status.nominatedNodeName`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nomination {
    /// It stays as it is.
    Kept,
    /// It is set.
    Set(NodeName),
    /// It is removed.
    Cleared,
}

impl Nomination {
    /// Writes it into a pod; answers whether that changed anything.
    pub fn write(&self, pod: &mut Value) -> bool {
        match self {
            Self::Kept => false,
            Self::Set(node) => pod_status::set_nominated(pod, Some(node.as_str())),
            Self::Cleared => pod_status::set_nominated(pod, None),
        }
    }
}

impl Reconciler {
    /// The next pod that is to be placed now.
    pub fn next_waiting(&mut self, now: Timestamp) -> Option<(ObjectKey, Arc<PodInfo>)> {
        loop {
            let key = self.queue.pop(now)?;
            if let Some(pod) = self.view.pod(&key).cloned() {
                return Some((key, pod));
            }
            self.queue.remove(&key);
        }
    }

    /// Takes note of what the scheduler found for a pod, before the store knows.
    pub fn placed(
        &mut self,
        key: &ObjectKey,
        pod: &PodInfo,
        found: Result<NodeName, Box<Unschedulable>>,
        now: Timestamp,
    ) -> Placement {
        match found {
            Ok(node) => {
                self.view.assume(key, &node, now);
                Placement::On(node)
            }
            Err(why) => {
                self.queue.park(key, why.reasons.keys(), now);
                let nomination = self.nominate(key, pod, &why, now);
                Placement::Nowhere { why, nomination }
            }
        }
    }

    fn nominate(
        &mut self,
        key: &ObjectKey,
        pod: &PodInfo,
        why: &Unschedulable,
        now: Timestamp,
    ) -> Nomination {
        if let Some(preemption) = &why.preemption {
            self.view.nominate(key, &preemption.node, now);
            for displaced in &preemption.displaced {
                self.view.withdraw(displaced, now);
                self.queue.renew(displaced);
            }
            return Nomination::Set(preemption.node.clone());
        }
        if pod.nominated.is_some() && !why.keeps_nomination() {
            self.view.withdraw(key, now);
            return Nomination::Cleared;
        }
        Nomination::Kept
    }
}
