//! What pods that are placed say of pods that are not: their affinity terms, counted per domain.

use std::collections::HashMap;

use super::{
    Slot,
    slab::Slab,
    topology::{Domain, KeyId, Topology},
};
use crate::view::{Labels, PodTerm};

/// A term that some placed pod has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TermId(usize);

/// A term of a placed pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Spec {
    /// What it does to a pod that it means.
    pub(crate) kind: Kind,
    /// Which pods it means.
    pub(crate) term: PodTerm,
    /// The label whose values are the domains.
    pub(crate) key: String,
}

/// What a term of a placed pod does to a pod that it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Keeps it out of the domain.
    Forbids,
    /// The placed pod had to be near such pods, so they are drawn to it.
    Required,
    /// Draws it by a weight, or repels it by one below zero.
    Weighs(i32),
}

/// All terms of placed pods.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    ids: HashMap<Spec, TermId>,
    terms: Slab<Term>,
}

#[derive(Debug)]
pub(crate) struct Term {
    pub(crate) spec: Spec,
    pub(crate) key: KeyId,
    pods: HashMap<Domain, u32>,
    users: usize,
}

impl Terms {
    /// A term that some pod has already.
    pub(super) fn find(&mut self, spec: &Spec) -> Option<TermId> {
        let id = *self.ids.get(spec)?;
        self.terms.get_mut(id.0)?.users += 1;
        Some(id)
    }

    pub(super) fn insert(&mut self, spec: Spec, key: KeyId) -> TermId {
        let term = Term { spec: spec.clone(), key, pods: HashMap::new(), users: 1 };
        let id = TermId(self.terms.insert(term));
        self.ids.insert(spec, id);
        id
    }

    /// A pod with the term went. Says whether it was the last.
    pub(super) fn leave(&mut self, id: TermId, topology: &mut Topology) -> Last {
        let Some(term) = self.terms.get_mut(id.0) else { return Last::No };
        term.users = term.users.saturating_sub(1);
        if term.users > 0 {
            return Last::No;
        }
        if let Some(term) = self.terms.remove(id.0) {
            self.ids.remove(&term.spec);
            topology.leave(term.key);
        }
        Last::Yes
    }

    /// A pod with the term is on the node.
    pub(super) fn add(&mut self, id: TermId, slot: Slot, topology: &Topology) {
        let Some(term) = self.terms.get_mut(id.0) else { return };
        if let Some(domain) = topology.domain(term.key, slot) {
            *term.pods.entry(domain).or_default() += 1;
        }
    }

    /// It is not any more.
    pub(super) fn remove(&mut self, id: TermId, slot: Slot, topology: &Topology) {
        let Some(term) = self.terms.get_mut(id.0) else { return };
        let Some(domain) = topology.domain(term.key, slot) else { return };
        if let Some(pods) = term.pods.get_mut(&domain) {
            *pods -= 1;
            if *pods == 0 {
                term.pods.remove(&domain);
            }
        }
    }

    pub(crate) fn get(&self, id: TermId) -> Option<&Term> {
        self.terms.get(id.0)
    }

    /// The terms that mean a pod.
    pub(super) fn meaning(
        &self,
        namespace: &str,
        of_namespace: Option<&Labels>,
        labels: &Labels,
    ) -> Vec<TermId> {
        let means = |term: &Term| term.spec.term.matches(namespace, of_namespace, labels);
        self.terms.iter().filter(|(_, term)| means(term)).map(|(place, _)| TermId(place)).collect()
    }
}

impl Term {
    /// Pods with the term in a domain.
    pub(crate) fn pods(&self, domain: Domain) -> i64 {
        self.pods.get(&domain).map_or(0, |pods| i64::from(*pods))
    }
}

/// Whether the last pod with a term went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    Yes,
    No,
}
