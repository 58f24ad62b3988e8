//! How many pods of some kind are in each domain of a topology key: kept up to date pod by pod, so that nobody has to count.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    Slot,
    groups::Groups,
    slab::Slab,
    topology::{Domain, KeyId, Topology},
};
use crate::{
    scheduler::{affinity, taints},
    view::{Affiliation, Labels, NodeInfo, NodeTerm, PodTerm, Toleration},
};

/// A counter in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CounterId(usize);

/// What a counter counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Spec {
    /// A pod counts when all of these mean it,
    pub(crate) terms: Vec<PodTerm>,
    /// and when its controller has this uid, if one is given.
    pub(crate) controller: Option<String>,
    /// Pods are counted per value of this label of their nodes.
    pub(crate) key: String,
    /// Which nodes count; `None` is all.
    pub(crate) scope: Option<Arc<Scope>>,
    /// Whether pods that are being deleted count.
    pub(crate) terminating: Terminating,
}

/// Nodes that count for a spread constraint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Scope {
    /// Labels that they must have.
    pub(crate) keys: Vec<String>,
    /// Labels of the pod's node selector.
    pub(crate) node_selector: Vec<(String, String)>,
    /// The pod's required node affinity.
    pub(crate) required: Option<Vec<NodeTerm>>,
    /// Tolerations that must cover their taints.
    pub(crate) tolerations: Option<Vec<Toleration>>,
}

/// Whether pods that are being deleted count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Terminating {
    /// Like any other.
    Count,
    /// Not at all.
    Skip,
}

/// Counts per domain.
#[derive(Debug)]
pub(crate) struct Counter {
    pub(crate) spec: Spec,
    pub(crate) key: KeyId,
    users: usize,
    /// Domain of each node that counts.
    of_node: Vec<Option<Domain>>,
    nodes: Vec<u32>,
    pods: Vec<u32>,
    /// Number of domains by their number of pods, so that the least is at hand.
    levels: BTreeMap<u32, u32>,
    total: u64,
}

/// All counters in use.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    ids: HashMap<Spec, CounterId>,
    counters: Slab<Counter>,
}

impl CounterId {
    pub(super) const fn index(self) -> usize {
        self.0
    }
}

impl Scope {
    fn holds(&self, node: &NodeInfo) -> bool {
        self.keys.iter().all(|key| node.labels.contains_key(key))
            && affinity::selects(&self.node_selector, self.required.as_deref(), node)
            && self.tolerations.as_ref().is_none_or(|tolerations| taints::tolerates_all(tolerations, node))
    }
}

impl Spec {
    /// Whether a pod counts.
    pub(crate) fn matches(&self, namespace: &str, of_namespace: Option<&Labels>, pod: &Affiliation) -> bool {
        let controlled = |uid: &String| pod.controller.as_ref().is_some_and(|known| known.uid == *uid);
        self.controller.as_ref().is_none_or(controlled)
            && self.terms.iter().all(|term| term.matches(namespace, of_namespace, &pod.labels))
    }
}

impl Counters {
    pub(crate) fn get(&self, id: CounterId) -> Option<&Counter> {
        self.counters.get(id.0)
    }

    pub(super) fn get_mut(&mut self, id: CounterId) -> Option<&mut Counter> {
        self.counters.get_mut(id.0)
    }

    /// A counter that is in use already.
    pub(super) fn find(&mut self, spec: &Spec) -> Option<CounterId> {
        let id = *self.ids.get(spec)?;
        self.counters.get_mut(id.0)?.users += 1;
        Some(id)
    }

    /// Takes a new one into use; it has counted nothing yet.
    pub(super) fn insert(&mut self, spec: Spec, key: KeyId) -> CounterId {
        let counter = Counter {
            spec: spec.clone(),
            key,
            users: 1,
            of_node: Vec::new(),
            nodes: Vec::new(),
            pods: Vec::new(),
            levels: BTreeMap::new(),
            total: 0,
        };
        let id = CounterId(self.counters.insert(counter));
        self.ids.insert(spec, id);
        id
    }

    /// Gives one back.
    pub(super) fn leave(&mut self, id: CounterId, topology: &mut Topology, groups: &mut Groups) {
        let Some(counter) = self.counters.get_mut(id.0) else { return };
        counter.users = counter.users.saturating_sub(1);
        if counter.users == 0
            && let Some(counter) = self.counters.remove(id.0)
        {
            self.ids.remove(&counter.spec);
            topology.leave(counter.key);
            groups.forget_counter(id);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (CounterId, &Counter)> {
        self.counters.iter().map(|(place, counter)| (CounterId(place), counter))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Counter> {
        self.counters.iter_mut().map(|(_, counter)| counter)
    }
}

impl Counter {
    /// A node came; its pods are counted apart.
    pub(super) fn attach(&mut self, slot: Slot, node: &NodeInfo, topology: &Topology) {
        let Some(domain) = topology.domain(self.key, slot) else { return };
        if self.spec.scope.as_ref().is_some_and(|scope| !scope.holds(node)) {
            return;
        }
        if self.of_node.len() <= slot.index() {
            self.of_node.resize(slot.index() + 1, None);
        }
        if self.nodes.len() <= domain.index() {
            self.nodes.resize(domain.index() + 1, 0);
            self.pods.resize(domain.index() + 1, 0);
        }
        self.of_node[slot.index()] = Some(domain);
        self.nodes[domain.index()] += 1;
        if self.nodes[domain.index()] == 1 {
            *self.levels.entry(0).or_default() += 1;
        }
    }

    /// A node went, its pods before it.
    pub(super) fn detach(&mut self, slot: Slot) {
        let Some(domain) = self.of_node.get_mut(slot.index()).and_then(Option::take) else { return };
        self.nodes[domain.index()] -= 1;
        if self.nodes[domain.index()] == 0 {
            self.leave_level(self.pods[domain.index()]);
        }
    }

    /// A pod that counts came to a node.
    pub(super) fn add(&mut self, slot: Slot) {
        let Some(domain) = self.of(slot) else { return };
        let before = self.pods[domain.index()];
        self.pods[domain.index()] = before + 1;
        self.total += 1;
        self.leave_level(before);
        *self.levels.entry(before + 1).or_default() += 1;
    }

    /// A pod that counts went from a node.
    pub(super) fn remove(&mut self, slot: Slot) {
        let Some(domain) = self.of(slot) else { return };
        let before = self.pods[domain.index()];
        let after = before.saturating_sub(1);
        self.pods[domain.index()] = after;
        self.total = self.total.saturating_sub(1);
        self.leave_level(before);
        *self.levels.entry(after).or_default() += 1;
    }

    /// The domain of a node that counts.
    pub(crate) fn of(&self, slot: Slot) -> Option<Domain> {
        *self.of_node.get(slot.index())?
    }

    /// Pods in a domain.
    pub(crate) fn pods(&self, domain: Domain) -> i64 {
        self.pods.get(domain.index()).map_or(0, |pods| i64::from(*pods))
    }

    /// Pods in all domains.
    pub(crate) fn total(&self) -> i64 {
        i64::try_from(self.total).unwrap_or(i64::MAX)
    }

    /// Number of domains with nodes that count.
    pub(crate) fn domains(&self) -> i64 {
        self.levels.values().map(|domains| i64::from(*domains)).sum()
    }

    /// The fewest pods of any domain; `None` when there is no domain.
    pub(crate) fn fewest(&self) -> Option<i64> {
        self.levels.first_key_value().map(|(pods, _)| i64::from(*pods))
    }

    /// The same if one domain had so many pods more, or fewer.
    pub(crate) fn fewest_if(&self, domain: Domain, more: i64) -> Option<i64> {
        let now = self.pods.get(domain.index()).copied().unwrap_or(0);
        let others = self.levels.iter().find(|(pods, domains)| **pods != now || **domains > 1);
        let own = i64::from(now) + more;
        Some(others.map_or(own, |(pods, _)| own.min(i64::from(*pods))))
    }

    fn leave_level(&mut self, pods: u32) {
        if let Some(domains) = self.levels.get_mut(&pods) {
            *domains -= 1;
            if *domains == 0 {
                self.levels.remove(&pods);
            }
        }
    }
}
