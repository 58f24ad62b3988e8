//! Scores, from 0 to 100 per plugin, weighed by the profile.

use std::cmp::Reverse;

use super::{
    far::Incoming,
    images,
    profile::{Profile, Resources},
    snapshot::{
        Slot, Snapshot,
        classes::{Spread, SpreadLabels},
        counters::Counter,
        terms::Kind,
    },
    verdicts::Verdict,
};
use crate::view::{NodeInfo, PodTemplate, Usage};

/// A node that can take the pod.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fitting {
    pub(crate) slot: Slot,
    pub(crate) verdict: Verdict,
}

/// What each plugin gives to a node, weighed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scores {
    pub(crate) resources: i64,
    pub(crate) taints: i64,
    pub(crate) node_affinity: i64,
    pub(crate) spread: i64,
    pub(crate) pod_affinity: i64,
    pub(crate) images: i64,
    pub(crate) artifacts: i64,
}

/// Who scores.
#[derive(Clone, Copy, Debug)]
enum Plugin {
    Resources,
    Taints,
    NodeAffinity,
    Spread,
    PodAffinity,
    Images,
    Artifacts,
}

impl Scores {
    fn of(&mut self, plugin: Plugin) -> &mut i64 {
        match plugin {
            Plugin::Resources => &mut self.resources,
            Plugin::Taints => &mut self.taints,
            Plugin::NodeAffinity => &mut self.node_affinity,
            Plugin::Spread => &mut self.spread,
            Plugin::PodAffinity => &mut self.pod_affinity,
            Plugin::Images => &mut self.images,
            Plugin::Artifacts => &mut self.artifacts,
        }
    }

    pub(crate) const fn sum(&self) -> i64 {
        self.resources
            + self.taints
            + self.node_affinity
            + self.spread
            + self.pod_affinity
            + self.images
            + self.artifacts
    }
}

/// The best of the nodes that fit; `None` when there is none.
pub(crate) fn best(
    snapshot: &Snapshot,
    incoming: &Incoming<'_>,
    profile: &Profile,
    fitting: &[Fitting],
) -> Option<Slot> {
    if let [only] = fitting {
        return Some(only.slot);
    }
    let mut sums = vec![0; fitting.len()];
    weigh(snapshot, incoming, profile, fitting, |place, _, score| sums[place] += score);
    let order = |(fitting, sum): &(&Fitting, i64)| {
        let mark = snapshot.mark(fitting.slot);
        (*sum, Reverse(mark.pods), Reverse(mark.rank))
    };
    fitting.iter().zip(sums).max_by_key(order).map(|(fitting, _)| fitting.slot)
}

/// The scores of nodes that fit, each in view of the others.
pub(crate) fn all(
    snapshot: &Snapshot,
    incoming: &Incoming<'_>,
    profile: &Profile,
    fitting: &[Fitting],
) -> Vec<Scores> {
    let mut scores = vec![Scores::default(); fitting.len()];
    weigh(snapshot, incoming, profile, fitting, |place, plugin, score| *scores[place].of(plugin) = score);
    scores
}

/// Gives each node that fits, by its place, what each plugin weighs it; nothing where all plugins' scores are zero.
fn weigh(
    snapshot: &Snapshot,
    incoming: &Incoming<'_>,
    profile: &Profile,
    fitting: &[Fitting],
    mut give: impl FnMut(usize, Plugin, i64),
) {
    let weights = &profile.weights;
    let verdicts = || fitting.iter().map(|fitting| &fitting.verdict).enumerate();
    let intolerable_most = verdicts().map(|(_, verdict)| verdict.taints).max().unwrap_or(0);
    for (place, verdict) in verdicts() {
        give(place, Plugin::Resources, verdict.resources);
        let taints = if intolerable_most == 0 { 0 } else { verdict.taints * SCORE_MAX / intolerable_most };
        give(place, Plugin::Taints, weights.taints * (SCORE_MAX - taints));
    }
    let preferred_most = verdicts().map(|(_, verdict)| verdict.preferred).max().unwrap_or(0);
    if preferred_most > 0 {
        for (place, verdict) in verdicts() {
            let score = verdict.preferred * SCORE_MAX / preferred_most;
            give(place, Plugin::NodeAffinity, weights.node_affinity * score);
        }
    }
    if !incoming.class.spread_soft.is_empty() {
        for (place, score) in spread(snapshot, incoming, fitting).into_iter().enumerate() {
            give(place, Plugin::Spread, weights.spread * score);
        }
    }
    if !incoming.class.preferred.is_empty() || !incoming.class.weighing.is_empty() {
        for (place, score) in pod_affinity(snapshot, incoming, fitting).into_iter().enumerate() {
            give(place, Plugin::PodAffinity, weights.pod_affinity * score);
        }
    }
    if let Some(images) = images::Images::of(snapshot, &incoming.pod.template) {
        for (place, fitting) in fitting.iter().enumerate() {
            let Some(node) = &snapshot.node(fitting.slot).info else { continue };
            give(place, Plugin::Images, weights.images * images.large(node));
            give(place, Plugin::Artifacts, weights.artifacts * images.small(node));
        }
    }
}

/// How much of the node is left with the pod on it, or how little, counting containers without requests as Kubernetes assumes.
pub(crate) fn fit(template: &PodTemplate, resources: Resources, node: &NodeInfo, usage: &Usage) -> i64 {
    let score = |wanted: u64, held: u64, allocatable: u64| {
        let requested = wanted.saturating_add(held);
        if allocatable == 0 {
            return None;
        }
        if requested > allocatable {
            return Some(0);
        }
        let counted = match resources {
            Resources::LeastAllocated => allocatable - requested,
            Resources::MostAllocated => requested,
        };
        Some(ratio_percent(counted, allocatable))
    };
    let scores = [
        score(template.assumed_cpu, usage.assumed_cpu, node.allocatable.cpu.0),
        score(template.assumed_memory, usage.assumed_memory, node.allocatable.memory.0),
    ];
    let (sum, count) =
        scores.into_iter().flatten().fold((0, 0), |(sum, count), score| (sum + score, count + 1));
    if count == 0 { 0 } else { sum / count }
}

/// How much more even the use of CPU and memory becomes with the pod on the node; 0 for pods that request neither.
pub(crate) fn balance(template: &PodTemplate, node: &NodeInfo, usage: &Usage) -> i64 {
    let wanted = &template.requests;
    if wanted.cpu.0 == 0 && wanted.memory.0 == 0 {
        return 0;
    }
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

/// The fewer like pods are near, the higher.
fn spread(snapshot: &Snapshot, incoming: &Incoming<'_>, fitting: &[Fitting]) -> Vec<i64> {
    let class = incoming.class;
    let counters: Vec<(&Spread, &Counter)> = class
        .spread_soft
        .iter()
        .filter_map(|spread| Some((spread, snapshot.counters.get(spread.counter)?)))
        .collect();
    let domain = |counter: &Counter, slot| snapshot.topology.domain(counter.key, slot);
    let counts = |slot: Slot| {
        class.spread_labels == SpreadLabels::Optional
            || counters.iter().all(|(_, counter)| domain(counter, slot).is_some())
    };
    let counted: Vec<Slot> = fitting.iter().map(|one| one.slot).filter(|slot| counts(*slot)).collect();
    let weights: Vec<f64> = counters
        .iter()
        .map(|(spread, counter)| {
            let domains = if spread.by_node {
                counted.len()
            } else {
                let mut seen: Vec<_> = counted.iter().filter_map(|slot| domain(counter, *slot)).collect();
                seen.sort_unstable_by_key(|domain| domain.index());
                seen.dedup();
                seen.len()
            };
            float(i64::try_from(domains).unwrap_or(i64::MAX) + 2).ln()
        })
        .collect();
    let raw: Vec<Option<i64>> = fitting
        .iter()
        .map(|one| {
            counts(one.slot).then(|| {
                let parts = counters.iter().zip(&weights).filter_map(|((spread, counter), weight)| {
                    let pods = counter.pods(domain(counter, one.slot)?);
                    Some(float(pods) * weight + float(spread.max_skew - 1))
                });
                whole(parts.sum::<f64>().round())
            })
        })
        .collect();
    let least = raw.iter().flatten().min().copied().unwrap_or(0);
    let most = raw.iter().flatten().max().copied().unwrap_or(0);
    let normal = |score: Option<i64>| match score {
        None => 0,
        Some(_) if most == 0 => SCORE_MAX,
        Some(score) => SCORE_MAX * (most + least - score) / most,
    };
    raw.into_iter().map(normal).collect()
}

/// The more pods are near that the pod would be near to, or that would be near to it, the higher.
fn pod_affinity(snapshot: &Snapshot, incoming: &Incoming<'_>, fitting: &[Fitting]) -> Vec<i64> {
    let own = |slot: Slot| {
        let weigh = |(weight, id): &(i64, _)| {
            let counter = snapshot.counters.get(*id)?;
            Some(weight * counter.pods(snapshot.topology.domain(counter.key, slot)?))
        };
        incoming.class.preferred.iter().filter_map(weigh).sum::<i64>()
    };
    let of_placed = |slot: Slot| {
        let weigh = |id| {
            let term = snapshot.terms.get(id)?;
            let weight = match term.spec.kind {
                Kind::Forbids => 0,
                Kind::Required => HARD_AFFINITY_WEIGHT,
                Kind::Weighs(weight) => i64::from(weight),
            };
            Some(weight * term.pods(snapshot.topology.domain(term.key, slot)?))
        };
        incoming.class.weighing.iter().copied().filter_map(weigh).sum::<i64>()
    };
    let raw: Vec<i64> = fitting.iter().map(|one| own(one.slot) + of_placed(one.slot)).collect();
    let least = raw.iter().min().copied().unwrap_or(0);
    let spread = raw.iter().max().copied().unwrap_or(0) - least;
    let normal = |score: i64| {
        // The very steps of Kubernetes, whose rounding shows.
        if spread == 0 { 0 } else { whole(float(SCORE_MAX) * (float(score - least) / float(spread))) }
    };
    raw.into_iter().map(normal).collect()
}

fn ratio_percent(part: u64, whole: u64) -> i64 {
    i64::try_from(u128::from(part) * 100 / u128::from(whole)).unwrap_or(SCORE_MAX)
}

/// Scores and counts of pods are far below 2^53, so nothing is lost.
const fn float(number: i64) -> f64 {
    number as f64
}

#[expect(clippy::cast_possible_truncation, reason = "only the part before the point counts")]
const fn whole(number: f64) -> i64 {
    number as i64
}

/// The best score of a plugin.
pub(crate) const SCORE_MAX: i64 = 100;

/// What a placed pod's required affinity weighs for those that it means.
const HARD_AFFINITY_WEIGHT: i64 = 1;
