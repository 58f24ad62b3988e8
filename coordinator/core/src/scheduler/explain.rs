//! Why no node fits, in the words of Kubernetes' `FailedScheduling`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use super::filter::Refusal;
use crate::view::{ObjectKey, PodInfo, PodTemplate, View};

/// Message of the condition `PodScheduled` while scheduling gates hold a pod.
pub const GATED_MESSAGE: &str = "Scheduling is blocked due to non-empty scheduling gates";

/// Why a filter refuses a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The node is cordoned.
    NodeUnschedulable,
    /// The pod names other nodes in its affinity.
    NotNamed,
    /// A taint that the pod does not tolerate.
    UntoleratedTaint,
    /// Labels that the pod asks for are not there.
    NodeAffinity,
    /// A port is taken.
    NodePorts,
    /// The node runs as many pods as it may.
    TooManyPods,
    /// Not enough CPU.
    InsufficientCpu,
    /// Not enough memory.
    InsufficientMemory,
    /// Not enough disk space.
    InsufficientEphemeralStorage,
    /// Not enough of another resource.
    InsufficientExtended(Arc<str>),
}

/// What taking other pods away would do for the pod on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Nothing.
    None,
    /// It could fit, but no pod there has a lower priority.
    NoVictims,
    /// It could fit, and there are pods of lower priority, which this scheduler does not evict.
    LowerPriority,
}

/// No node fits: the number of nodes, and for each reason how many it refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unschedulable {
    /// Nodes there are.
    pub nodes: usize,
    /// Nodes per reason; a node counts for each of its reasons.
    pub reasons: BTreeMap<Reason, usize>,
    preempts: bool,
    hopeless: usize,
    without_victims: usize,
    lower_priority: usize,
}

impl Unschedulable {
    pub(crate) fn new(template: &PodTemplate) -> Self {
        Self {
            nodes: 0,
            reasons: BTreeMap::new(),
            preempts: template.preempts,
            hopeless: 0,
            without_victims: 0,
            lower_priority: 0,
        }
    }

    /// Counts one refused node.
    pub(crate) fn count(&mut self, reasons: &[Reason], remedy: Remedy) {
        for reason in reasons {
            *self.reasons.entry(reason.clone()).or_default() += 1;
        }
        match remedy {
            Remedy::None => self.hopeless += 1,
            Remedy::NoVictims => self.without_victims += 1,
            Remedy::LowerPriority => self.lower_priority += 1,
        }
    }

    /// Nodes that were refused; all of them, for nothing else makes a pod unschedulable.
    pub fn refused(&self) -> usize {
        self.hopeless + self.without_victims + self.lower_priority
    }
}

/// Classifies a refused node for the text on preemption.
pub(crate) fn remedy(refusal: &Refusal, pod: &PodInfo, view: &View, on_node: &BTreeSet<ObjectKey>) -> Remedy {
    if !refusal.fits_when_emptied {
        return Remedy::None;
    }
    let lower =
        |key: &ObjectKey| view.pod(key).is_some_and(|other| other.template.priority < pod.template.priority);
    if on_node.iter().any(lower) { Remedy::LowerPriority } else { Remedy::NoVictims }
}

impl fmt::Display for Unschedulable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        let reasons = self.reasons.iter().map(|(reason, count)| format!("{count} {reason}"));
        write_counts(f, self.nodes, reasons.collect())?;
        // Kubernetes' scheduler always says this of resource claims, which nothing here has.
        f.write_str(" no new claims to deallocate, preemption: ")?;
        if !self.preempts {
            return f.write_str("not eligible due to preemptionPolicy=Never.");
        }
        let remedies = [
            (self.hopeless, "Preemption is not helpful for scheduling"),
            (self.without_victims, "No preemption victims found for incoming pod"),
            (self.lower_priority, "Preemption of pods with lower priority is not supported"),
        ];
        let remedies = remedies.iter().filter(|(count, _)| *count > 0);
        write_counts(f, self.nodes, remedies.map(|(count, text)| format!("{count} {text}")).collect())
    }
}

fn write_counts(f: &mut fmt::Formatter<'_>, nodes: usize, mut counts: Vec<String>) -> fmt::Result {
    // Kubernetes sorts the finished texts, so that "1 b" stands before "2 a".
    counts.sort();
    write!(f, "0/{nodes} nodes are available: {}.", counts.join(", "))
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NodeUnschedulable => "node(s) were unschedulable",
            Self::NotNamed => "node(s) didn't satisfy plugin(s) [NodeAffinity]",
            Self::UntoleratedTaint => "node(s) had untolerated taint(s)",
            Self::NodeAffinity => "node(s) didn't match Pod's node affinity/selector",
            Self::NodePorts => "node(s) didn't have free ports for the requested pod ports",
            Self::TooManyPods => "Too many pods",
            Self::InsufficientCpu => "Insufficient cpu",
            Self::InsufficientMemory => "Insufficient memory",
            Self::InsufficientEphemeralStorage => "Insufficient ephemeral-storage",
            Self::InsufficientExtended(name) => return write!(f, "Insufficient {name}"),
        })
    }
}
