//! The filters that look beyond a node: volumes, topology spread and affinity between pods.
//!
//! Each can be asked what would be if some pods came to the node or went, which is how preemption and pods that a node is kept for
//! are looked at.

use std::sync::Arc;

use super::{
    own_images::Architectures,
    refusal::Refusal,
    snapshot::{
        Nominee, Resident, Slot, Snapshot,
        classes::{Class, SelfMatch, Spread},
        counters::{Counter, Terminating},
        terms::TermId,
    },
    volumes::Volumes,
};
use crate::view::{Labels, ObjectKey, PodInfo};

/// The pod that is to be placed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incoming<'a> {
    pub(crate) key: &'a ObjectKey,
    pub(crate) pod: &'a PodInfo,
    pub(crate) class: &'a Class,
    pub(crate) volumes: &'a Volumes,
    pub(crate) kind: Containers,
    /// What its images that are known to be for Linux are there for.
    pub(crate) images: &'a [Architectures],
}

/// What is known of a pod's containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Containers {
    /// One at least is a Linux container.
    Linux,
    /// Nothing keeps them off a node that runs modules alone.
    Any,
}

/// A pod thought to come to a node, or to go from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change<'a> {
    namespace: &'a Arc<str>,
    pod: &'a PodInfo,
    /// Its terms as they are counted; none for one that comes.
    terms: &'a [TermId],
    by: i64,
}

impl<'a> Change<'a> {
    pub(crate) fn comes(nominee: &'a Nominee) -> Self {
        Self { namespace: &nominee.key.namespace, pod: &nominee.pod, terms: &[], by: 1 }
    }

    /// Whether the pod says nothing of others, so that only what it uses counts.
    pub(crate) fn is_quiet(&self) -> bool {
        self.by < 0 || self.pod.template.pod_affinity.is_none()
    }

    pub(crate) fn goes(resident: &'a Resident) -> Self {
        Self { namespace: &resident.key.namespace, pod: &resident.pod, terms: &resident.terms, by: -1 }
    }
}

impl Incoming<'_> {
    /// Whether a node that takes the pod by itself does so in view of all others.
    pub(crate) fn check(&self, snapshot: &Snapshot, slot: Slot, changes: &[Change<'_>]) -> Refusal {
        let volumes = self.volumes.check(snapshot.node(slot));
        if !volumes.is_none() || self.class.is_local() && changes.iter().all(Change::is_quiet) {
            return volumes;
        }
        let spread = self.check_spread(snapshot, slot, changes);
        if spread.is_none() { self.check_affinity(snapshot, slot, changes) } else { spread }
    }

    fn check_spread(&self, snapshot: &Snapshot, slot: Slot, changes: &[Change<'_>]) -> Refusal {
        for spread in &self.class.spread {
            let Some(counter) = snapshot.counters.get(spread.counter) else { continue };
            let Some(domain) = snapshot.topology.domain(counter.key, slot) else {
                return Refusal::SPREAD_LABEL;
            };
            let more = counted(snapshot, counter, slot, changes);
            let pods = counter.pods(domain) + more;
            let fewest = if more == 0 { counter.fewest() } else { counter.fewest_if(domain, more) };
            if skewed(spread, pods, fewest, counter.domains()) {
                return Refusal::SPREAD;
            }
        }
        Refusal::NONE
    }

    fn check_affinity(&self, snapshot: &Snapshot, slot: Slot, changes: &[Change<'_>]) -> Refusal {
        if !self.is_near(snapshot, slot, changes) {
            return Refusal::NEAR;
        }
        for id in &self.class.apart {
            let Some(counter) = snapshot.counters.get(*id) else { continue };
            let Some(domain) = snapshot.topology.domain(counter.key, slot) else { continue };
            if counter.pods(domain) + counted(snapshot, counter, slot, changes) > 0 {
                return Refusal::APART;
            }
        }
        if self.is_forbidden(snapshot, slot, changes) { Refusal::FORBIDDEN } else { Refusal::NONE }
    }

    fn is_near(&self, snapshot: &Snapshot, slot: Slot, changes: &[Change<'_>]) -> bool {
        let mut near = true;
        let mut anywhere = 0;
        for id in &self.class.near {
            let Some(counter) = snapshot.counters.get(*id) else { continue };
            // A node without the label is in no domain, so near nothing.
            let Some(domain) = snapshot.topology.domain(counter.key, slot) else { return false };
            let more = counted(snapshot, counter, slot, changes);
            near &= counter.pods(domain) + more > 0;
            anywhere += counter.total() + more;
        }
        // The first of pods that want to be near each other may go anywhere.
        near || anywhere == 0 && self.class.near_self == SelfMatch::Yes
    }

    fn is_forbidden(&self, snapshot: &Snapshot, slot: Slot, changes: &[Change<'_>]) -> bool {
        let by_placed = self.class.forbidding.iter().any(|id| {
            let Some(term) = snapshot.terms.get(*id) else { return false };
            let Some(domain) = snapshot.topology.domain(term.key, slot) else { return false };
            // A pod may have one term twice, and is counted twice then.
            let gone = changes.iter().flat_map(|change| change.terms).filter(|gone| *gone == id).count();
            term.pods(domain) > i64::try_from(gone).unwrap_or(i64::MAX)
        });
        by_placed
            || changes.iter().any(|change| change.by > 0 && self.is_forbidden_by(change, snapshot, slot))
    }

    fn is_forbidden_by(&self, change: &Change<'_>, snapshot: &Snapshot, slot: Slot) -> bool {
        let Some(affinity) = &change.pod.template.pod_affinity else { return false };
        let Some(node) = &snapshot.node(slot).info else { return false };
        affinity.anti_required.iter().filter(|term| node.labels.contains_key(&term.topology_key)).any(
            |term| {
                let term = term.resolve(change.namespace, &change.pod.affiliation.labels);
                let of_namespace = snapshot.namespaces.get(&self.key.namespace);
                term.matches(&self.key.namespace, of_namespace, self.labels())
            },
        )
    }

    fn labels(&self) -> &Labels {
        &self.pod.affiliation.labels
    }
}

/// How many of the pods that come, less those that go, a counter would count.
fn counted(snapshot: &Snapshot, counter: &Counter, slot: Slot, changes: &[Change<'_>]) -> i64 {
    if changes.is_empty() || counter.of(slot).is_none() {
        return 0;
    }
    let counts = |change: &&Change<'_>| {
        let of_namespace = snapshot.namespaces.get(change.namespace);
        (counter.spec.terminating == Terminating::Count || change.pod.deletion.is_none())
            && counter.spec.matches(change.namespace, of_namespace, &change.pod.affiliation)
    };
    changes.iter().filter(counts).map(|change| change.by).sum()
}

fn skewed(spread: &Spread, pods: i64, fewest: Option<i64>, domains: i64) -> bool {
    // Domains that are wanted and not there yet are empty.
    let fewest = if domains < spread.min_domains { 0 } else { fewest.unwrap_or(0) };
    pods + spread.own - fewest > spread.max_skew
}
