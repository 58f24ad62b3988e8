//! Scores, from 0 to 100 per plugin, with the weights of Kubernetes' default profile.

use std::cmp::Reverse;

use super::{Candidate, affinity, filter};
use crate::view::{Effect, NodeInfo, PodTemplate};

/// The best of the nodes that fit; `None` when there is none.
pub(crate) fn best<'a>(template: &PodTemplate, fitting: &[Candidate<'a>]) -> Option<&'a NodeInfo> {
    if let [only] = fitting {
        return Some(only.node);
    }
    let intolerable = normalize_reversed(fitting.iter().map(|one| intolerable_taints(template, one.node)));
    let preferred = normalize(fitting.iter().map(|one| preference(template, one.node)));
    fitting
        .iter()
        .zip(intolerable.into_iter().zip(preferred))
        .max_by_key(|(candidate, (taints, affinity))| {
            let score = TAINT_WEIGHT * taints
                + AFFINITY_WEIGHT * affinity
                + least_allocated(template, **candidate)
                + balanced_allocation(template, **candidate);
            (score, Reverse(candidate.usage.pods), Reverse(&candidate.node.name))
        })
        .map(|(candidate, _)| candidate.node)
}

/// How much of the node is left with the pod on it, counting containers without requests as Kubernetes assumes.
fn least_allocated(template: &PodTemplate, candidate: Candidate<'_>) -> i64 {
    let left = |wanted: u64, held: u64, allocatable: u64| {
        let requested = wanted.saturating_add(held);
        if allocatable == 0 {
            None
        } else if requested > allocatable {
            Some(0)
        } else {
            Some(ratio_percent(allocatable - requested, allocatable))
        }
    };
    let Candidate { node, usage } = candidate;
    let scores = [
        left(template.assumed_cpu, usage.assumed_cpu, node.allocatable.cpu.0),
        left(template.assumed_memory, usage.assumed_memory, node.allocatable.memory.0),
    ];
    let (sum, count) =
        scores.into_iter().flatten().fold((0, 0), |(sum, count), score| (sum + score, count + 1));
    if count == 0 { 0 } else { sum / count }
}

/// How much more even the use of CPU and memory becomes with the pod on the node; 0 for pods that request neither.
fn balanced_allocation(template: &PodTemplate, candidate: Candidate<'_>) -> i64 {
    let wanted = &template.requests;
    if wanted.cpu.0 == 0 && wanted.memory.0 == 0 {
        return 0;
    }
    let Candidate { node, usage } = candidate;
    let (held, allocatable) = (&usage.requested, &node.allocatable);
    let without = evenness([(held.cpu.0, allocatable.cpu.0), (held.memory.0, allocatable.memory.0)]);
    let with = evenness([
        (held.cpu.0.saturating_add(wanted.cpu.0), allocatable.cpu.0),
        (held.memory.0.saturating_add(wanted.memory.0), allocatable.memory.0),
    ]);
    SCORE_MAX / 2 + (SCORE_MAX / 2 + with - without) / 2
}

/// 100 when both resources are used to the same fraction, less the further they are apart.
fn evenness(used: [(u64, u64); 2]) -> i64 {
    // Millionths in integers instead of floats: the same on every machine.
    let fraction = |(used, allocatable): (u64, u64)| {
        (allocatable > 0).then(|| {
            let millionths = u128::from(used) * 1_000_000 / u128::from(allocatable);
            i64::try_from(millionths.min(1_000_000)).unwrap_or(1_000_000)
        })
    };
    match used.map(fraction) {
        [Some(cpu), Some(memory)] => ((2_000_000 - (cpu - memory).abs()) * SCORE_MAX) / 2_000_000,
        _ => SCORE_MAX,
    }
}

/// Number of taints that would rather keep the pod away.
fn intolerable_taints(template: &PodTemplate, node: &NodeInfo) -> i64 {
    let count = node
        .taints
        .iter()
        .filter(|taint| taint.effect == Effect::PreferNoSchedule)
        .filter(|taint| !filter::tolerated(&template.tolerations, &taint.key, &taint.value, taint.effect))
        .count();
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Sum of the weights of preferred terms that match.
fn preference(template: &PodTemplate, node: &NodeInfo) -> i64 {
    let matching = template.preferred.iter().filter(|(_, term)| affinity::term_matches(term, node));
    matching.map(|(weight, _)| i64::from(*weight)).sum()
}

/// Scales so that the largest becomes 100; all zero stays zero.
fn normalize(scores: impl Iterator<Item = i64>) -> Vec<i64> {
    let scores: Vec<i64> = scores.collect();
    let most = scores.iter().copied().max().unwrap_or(0);
    scores.into_iter().map(|score| if most == 0 { 0 } else { score * SCORE_MAX / most }).collect()
}

/// Scales so that zero becomes 100 and the largest 0; all zero becomes 100.
fn normalize_reversed(scores: impl Iterator<Item = i64>) -> Vec<i64> {
    normalize(scores).into_iter().map(|score| SCORE_MAX - score).collect()
}

fn ratio_percent(part: u64, whole: u64) -> i64 {
    i64::try_from(u128::from(part) * 100 / u128::from(whole)).unwrap_or(SCORE_MAX)
}

/// The best score of a plugin.
const SCORE_MAX: i64 = 100;

/// Weight of TaintToleration in Kubernetes' default profile.
const TAINT_WEIGHT: i64 = 3;

/// Weight of NodeAffinity in Kubernetes' default profile.
const AFFINITY_WEIGHT: i64 = 2;
