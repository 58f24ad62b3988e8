//! Every node's part in a decision: by which filter it was refused, or what each plugin would score it. Nothing is kept from before
//! and no node is left out, so this is also what shortcuts are compared with.

use std::sync::Arc;

use dunlin_link::NodeName;

use super::{
    Incoming, Volumes, containers,
    explain::Reason,
    profile::{self, Profile},
    refusal::Refusal,
    score::{self, Fitting, Scores},
    snapshot::Slot,
    verdicts::judge,
};
use crate::view::{ObjectKey, PodInfo, View};

/// How a pod would be placed now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The profile that scores, by the scheduler that the pod names.
    pub profile: String,
    /// Why no node can be looked at, in Kubernetes' words.
    pub prerequisite: Option<String>,
    /// Every node, the best first, those that do not fit by name.
    pub nodes: Vec<NodeDecision>,
}

/// One node's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeDecision {
    /// Its name.
    pub node: NodeName,
    /// Whether it fits.
    pub outcome: Outcome,
}

/// Whether a node fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It does, and scores so much.
    Fits {
        /// Sum of the plugins' scores.
        score: i64,
        /// What each plugin gives, its weight included.
        plugins: Vec<PluginScore>,
    },
    /// It does not, for these reasons of one filter.
    Refused(Vec<Reason>),
}

/// What a plugin gives to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PluginScore {
    /// Kubernetes' name of it.
    pub plugin: &'static str,
    /// From 0 to 100, times its weight.
    pub score: i64,
}

/// Tells of every node whether a pod would fit there now, and how it would score. One that has a node is thought away from it.
pub fn explain(view: &mut View, key: &ObjectKey, pod: &Arc<PodInfo>) -> Decision {
    let held = pod.node.as_ref().filter(|_| !pod.phase.finished());
    if let Some(node) = held {
        view.snapshot_mut().remove_pod(node, pod);
    }
    let decision = explain_unplaced(view, key, pod);
    if let Some(node) = held {
        view.snapshot_mut().add_pod(node, key, pod);
    }
    decision
}

fn explain_unplaced(view: &mut View, key: &ObjectKey, pod: &PodInfo) -> Decision {
    let order = view.snapshot_mut().order().to_vec();
    let name = &pod.template.scheduler_name;
    let nobody = |why| Decision { profile: name.clone(), prerequisite: Some(why), nodes: Vec::new() };
    let Some(profile) = profile::of(name) else {
        return nobody(format!(
            "scheduler \"{name}\" is not one of this cluster's: nothing here places the pod"
        ));
    };
    let volumes = match Volumes::of(view, key, pod) {
        Ok(volumes) => volumes,
        Err(message) => return nobody(message),
    };
    let class = view.snapshot_mut().class(key, pod);
    let images = view.snapshot().own_images.of(&pod.template);
    let kind = containers(view.snapshot(), pod, &images);
    let incoming = Incoming { key, pod, class: &class, volumes: &volumes, kind, images: &images };
    let nodes = decide(view, &incoming, profile, &order);
    Decision { profile: name.clone(), prerequisite: None, nodes }
}

fn decide(view: &View, incoming: &Incoming<'_>, profile: &Profile, order: &[Slot]) -> Vec<NodeDecision> {
    let snapshot = view.snapshot();
    let template = &incoming.pod.template;
    let mut fitting = Vec::new();
    let mut decisions: Vec<(i64, u32, NodeDecision)> = Vec::new();
    for slot in order {
        let (node, rank) = (snapshot.node(*slot), snapshot.mark(*slot).rank);
        let named = incoming.class.named.as_ref().is_none_or(|names| names.contains(&node.name));
        let mut verdict = judge(template, profile, node, Some(incoming.key));
        if !named {
            verdict.refusal = Refusal::NOT_NAMED;
        }
        if verdict.refusal.is_none() {
            verdict.refusal = incoming.check_all(snapshot, *slot);
        }
        if verdict.refusal.is_none() {
            fitting.push(Fitting { slot: *slot, verdict });
        } else {
            let outcome = Outcome::Refused(verdict.refusal.reasons(template).collect());
            decisions.push((-1, rank, NodeDecision { node: node.name.clone(), outcome }));
        }
    }
    for (fits, scores) in fitting.iter().zip(score::all(snapshot, incoming, profile, &fitting)) {
        let (node, rank) = (snapshot.node(fits.slot), snapshot.mark(fits.slot).rank);
        let outcome =
            Outcome::Fits { score: scores.sum(), plugins: plugins(&scores, incoming, profile, fits, view) };
        decisions.push((scores.sum(), rank, NodeDecision { node: node.name.clone(), outcome }));
    }
    let pods = |decision: &NodeDecision| snapshot.usage(&decision.node).map_or(0, |usage| usage.pods);
    decisions.sort_by_key(|(score, rank, decision)| {
        let pods = if *score < 0 { 0 } else { pods(decision) };
        (-*score, pods, *rank)
    });
    decisions.into_iter().map(|(_, _, decision)| decision).collect()
}

fn plugins(
    scores: &Scores,
    incoming: &Incoming<'_>,
    profile: &Profile,
    fits: &Fitting,
    view: &View,
) -> Vec<PluginScore> {
    let node = view.snapshot().node(fits.slot);
    let balance = node.info.as_ref().map_or(0, |info| {
        profile.weights.balance * score::balance(&incoming.pod.template, info, &node.usage)
    });
    [
        ("TaintToleration", scores.taints),
        ("NodeAffinity", scores.node_affinity),
        ("NodeResourcesFit", scores.resources - balance),
        ("NodeResourcesBalancedAllocation", balance),
        ("PodTopologySpread", scores.spread),
        ("InterPodAffinity", scores.pod_affinity),
        ("ImageLocality", scores.images),
        ("ArtifactLocality", scores.artifacts),
    ]
    .map(|(plugin, score)| PluginScore { plugin, score })
    .to_vec()
}
