//! Why no node fits, in the words of Kubernetes' `FailedScheduling`.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::{
    preempt::{Ineligible, Preemption},
    refusal::Refusal,
};
use crate::view::PodTemplate;

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
    /// A volume can only be used elsewhere.
    VolumeNodeAffinity,
    /// A claim names a volume that does not exist.
    VolumeMissing,
    /// There is no volume for a claim.
    VolumeUnbound,
    /// The node lacks the label of a spread constraint.
    SpreadLabelMissing,
    /// Too many like pods are near already.
    TopologySpread,
    /// No pod is near that the pod has to be near to.
    PodAffinity,
    /// A pod is near that the pod must not be near to.
    PodAntiAffinity,
    /// A pod is near that must not have this one near it.
    ExistingAntiAffinity,
    /// The pod has a Linux container, and the node runs none.
    NoContainers,
    /// The pod has a Linux container, and the node has no network for such pods.
    NoNetwork,
    /// An image of the pod is there for other machines than the node.
    OtherPlatform,
    /// What the pod itself refers to is missing or not ready, so that no node can do.
    Prerequisite,
    /// No pod there has a lower priority.
    NoVictims,
    /// Taking pods away would not help.
    PreemptionNotHelpful,
}

/// No node fits: the number of nodes, and for each reason how many it refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unschedulable {
    /// Nodes there are.
    pub nodes: usize,
    /// Nodes per reason; a node counts for each of its reasons.
    pub reasons: BTreeMap<Reason, usize>,
    /// Pods that go so that the pod will fit.
    pub preemption: Option<Preemption>,
    refused: usize,
    /// Kubernetes' message when no node was even looked at.
    prerequisite: Option<String>,
    remedy: Remedy,
}

/// What became of preemption.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Remedy {
    Found,
    Ineligible(Ineligible),
    /// It would not help, for these reasons.
    Useless(BTreeMap<Reason, usize>),
}

/// Nodes per refusal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Remedies(Vec<(Refusal, usize)>);

impl Remedies {
    /// Counts refused nodes.
    pub(crate) fn count(&mut self, refusal: Refusal, nodes: usize) {
        if nodes == 0 {
            return;
        }
        match self.0.iter_mut().find(|(known, _)| *known == refusal) {
            Some((_, known)) => *known += nodes,
            None => self.0.push((refusal, nodes)),
        }
    }

    /// All nodes counted.
    pub(crate) fn total(&self) -> usize {
        self.0.iter().map(|(_, nodes)| nodes).sum()
    }

    fn reasons(&self, template: &PodTemplate) -> BTreeMap<Reason, usize> {
        let mut reasons = BTreeMap::new();
        for (refusal, nodes) in &self.0 {
            for reason in refusal.reasons(template) {
                *reasons.entry(reason).or_default() += nodes;
            }
        }
        reasons
    }
}

impl Unschedulable {
    /// There is not one node, or each was refused for these reasons.
    pub(crate) fn new(
        template: &PodTemplate,
        nodes: usize,
        refused: &Remedies,
        preemption: Result<Result<Preemption, Remedies>, Ineligible>,
    ) -> Self {
        let (preemption, remedy) = match preemption {
            Ok(Ok(preemption)) => (Some(preemption), Remedy::Found),
            Ok(Err(mut useless)) => {
                useless.count(Refusal::HOPELESS, nodes.saturating_sub(useless.total()));
                (None, Remedy::Useless(useless.reasons(template)))
            }
            Err(why) => (None, Remedy::Ineligible(why)),
        };
        let reasons = refused.reasons(template);
        Self { nodes, reasons, preemption, refused: refused.total(), prerequisite: None, remedy }
    }

    /// Something that the pod refers to makes every node unfit.
    pub(crate) fn prerequisite(nodes: usize, message: String) -> Self {
        Self {
            nodes,
            reasons: [(Reason::Prerequisite, nodes)].into(),
            preemption: None,
            refused: nodes,
            prerequisite: Some(message),
            remedy: Remedy::Found,
        }
    }

    /// Whether a node that is kept for the pod is still: pods are going from it, or are to.
    pub fn keeps_nomination(&self) -> bool {
        self.preemption.is_some() || self.remedy == Remedy::Ineligible(Ineligible::VictimsTerminating)
    }

    /// Nodes that were refused; all of them, for nothing else makes a pod unschedulable.
    pub fn refused(&self) -> usize {
        self.refused
    }
}

impl fmt::Display for Unschedulable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        if let Some(message) = &self.prerequisite {
            // The last words are what Kubernetes' plugin for resource claims says when it was not asked before.
            return write!(f, "0/{} nodes are available: {message}. not found", self.nodes);
        }
        write_counts(f, self.nodes, &self.reasons)?;
        // Kubernetes' scheduler says this of resource claims, which nothing here has, unless preemption is under way.
        let claims = " no new claims to deallocate, preemption: ";
        match &self.remedy {
            Remedy::Found => Ok(()),
            Remedy::Ineligible(Ineligible::Never) => {
                write!(f, "{claims}not eligible due to preemptionPolicy=Never.")
            }
            Remedy::Ineligible(Ineligible::VictimsTerminating) => {
                write!(f, "{claims}not eligible due to a terminating pod on the nominated node.")
            }
            Remedy::Useless(reasons) => {
                f.write_str(claims)?;
                write_counts(f, self.nodes, reasons)
            }
        }
    }
}

fn write_counts(f: &mut fmt::Formatter<'_>, nodes: usize, reasons: &BTreeMap<Reason, usize>) -> fmt::Result {
    let mut counts: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    // Kubernetes sorts the finished texts, so that "1 b" stands before "2 a".
    counts.sort();
    write!(f, "0/{nodes} nodes are available: {}.", counts.join(", "))
}

impl Reason {
    /// The plugin of Kubernetes that refuses for this reason.
    pub const fn plugin(&self) -> &'static str {
        match self {
            Self::NodeUnschedulable => "NodeUnschedulable",
            Self::UntoleratedTaint => "TaintToleration",
            Self::NotNamed | Self::NodeAffinity => "NodeAffinity",
            Self::NodePorts => "NodePorts",
            Self::TooManyPods
            | Self::InsufficientCpu
            | Self::InsufficientMemory
            | Self::InsufficientEphemeralStorage
            | Self::InsufficientExtended(_) => "NodeResourcesFit",
            Self::VolumeNodeAffinity | Self::VolumeMissing | Self::VolumeUnbound | Self::Prerequisite => {
                "VolumeBinding"
            }
            Self::SpreadLabelMissing | Self::TopologySpread => "PodTopologySpread",
            Self::PodAffinity | Self::PodAntiAffinity | Self::ExistingAntiAffinity => "InterPodAffinity",
            Self::NoContainers | Self::NoNetwork | Self::OtherPlatform => "ContainerSupport",
            Self::NoVictims | Self::PreemptionNotHelpful => "DefaultPreemption",
        }
    }
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
            Self::VolumeNodeAffinity => "node(s) didn't match PersistentVolume's node affinity",
            Self::VolumeMissing => {
                "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
            }
            Self::VolumeUnbound => "node(s) didn't find available persistent volumes to bind",
            Self::SpreadLabelMissing => {
                "node(s) didn't match pod topology spread constraints (missing required label)"
            }
            Self::TopologySpread => "node(s) didn't match pod topology spread constraints",
            Self::PodAffinity => "node(s) didn't match pod affinity rules",
            Self::PodAntiAffinity => "node(s) didn't match pod anti-affinity rules",
            Self::ExistingAntiAffinity => "node(s) didn't satisfy existing pods anti-affinity rules",
            Self::NoContainers => "node(s) cannot run Linux containers",
            Self::NoNetwork => "node(s) had no network for pods",
            Self::OtherPlatform => "node(s) were not of the images' platform",
            Self::Prerequisite => "node(s) lack what the pod refers to",
            Self::NoVictims => "No preemption victims found for incoming pod",
            Self::PreemptionNotHelpful => "Preemption is not helpful for scheduling",
        })
    }
}
