//! Pods to be placed, by what is the same for all of a workload: what of the counters and terms concerns them is found out once.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use dunlin_link::NodeName;

use super::{
    Snapshot,
    counters::{self, CounterId, Scope, Terminating},
    terms::{self, Kind, TermId},
};
use crate::{
    scheduler::affinity,
    view::{
        Affiliation, AffinityTerm, Labels, ObjectKey, PodAffinity, PodInfo, PodTemplate, PodTerm, Policy,
        SpreadConstraint, WhenUnsatisfiable,
    },
};

/// What of the fleet concerns pods of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Class {
    namespace: Arc<str>,
    affiliation: Arc<Labels>,
    /// The only nodes that the pods can go to.
    pub(crate) named: Option<Vec<NodeName>>,
    /// Pods that meet all required affinity, per topology key of the terms.
    pub(crate) near: Vec<CounterId>,
    /// Whether such a pod meets its own required affinity.
    pub(crate) near_self: SelfMatch,
    /// Pods that it must not be near.
    pub(crate) apart: Vec<CounterId>,
    /// Spread constraints that refuse nodes,
    pub(crate) spread: Vec<Spread>,
    /// and those that only score them.
    pub(crate) spread_soft: Vec<Spread>,
    /// Whether nodes without all labels of the latter score nothing.
    pub(crate) spread_labels: SpreadLabels,
    /// Pods that it would rather be near, by weight, or rather not, by one below zero.
    pub(crate) preferred: Vec<(i64, CounterId)>,
    /// Terms of placed pods that mean it: those that forbid,
    pub(crate) forbidding: Vec<TermId>,
    /// and those that weigh.
    pub(crate) weighing: Vec<TermId>,
}

/// A spread constraint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) counter: CounterId,
    pub(crate) max_skew: i64,
    pub(crate) min_domains: i64,
    /// One if the pod counts itself, else zero.
    pub(crate) own: i64,
    /// Whether each node is a domain of its own.
    pub(crate) by_node: bool,
}

/// Whether a pod is one of those it wants to be near.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SelfMatch {
    Yes,
    No,
}

/// What becomes of nodes that lack the label of a constraint that only scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpreadLabels {
    /// They score nothing.
    Needed,
    /// The constraint is left out for them.
    Optional,
}

/// All classes that were asked for of late.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    known: HashMap<Id, Known>,
    clock: u64,
}

/// Namespace, and the addresses of labels and template; [`Known`] keeps both from being used again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Id(Arc<str>, usize, usize);

#[derive(Debug)]
struct Known {
    class: Arc<Class>,
    used: u64,
    _pinned: (Weak<Affiliation>, Weak<PodTemplate>),
}

impl Class {
    /// Whether nothing beyond a node itself decides whether a pod fits there.
    pub(crate) fn is_local(&self) -> bool {
        self.near.is_empty() && self.apart.is_empty() && self.spread.is_empty() && self.forbidding.is_empty()
    }

    fn counters(&self) -> Vec<CounterId> {
        let spread = self.spread.iter().chain(&self.spread_soft).map(|spread| spread.counter);
        let preferred = self.preferred.iter().map(|(_, counter)| *counter);
        let required = self.near.iter().chain(&self.apart).copied();
        required.chain(spread).chain(preferred).collect()
    }

    fn learn(&mut self, id: TermId, kind: Kind) {
        match kind {
            Kind::Forbids => self.forbidding.push(id),
            Kind::Required | Kind::Weighs(_) => self.weighing.push(id),
        }
    }
}

impl Classes {
    pub(super) fn learn_term(
        &mut self,
        id: TermId,
        spec: &terms::Spec,
        namespaces: &HashMap<Arc<str>, Labels>,
    ) {
        for known in self.known.values_mut() {
            let class = &known.class;
            if spec.term.matches(&class.namespace, namespaces.get(&class.namespace), &class.affiliation) {
                Arc::make_mut(&mut known.class).learn(id, spec.kind);
            }
        }
    }

    pub(super) fn forget_term(&mut self, id: TermId) {
        for known in self.known.values_mut() {
            let class = &known.class;
            if class.forbidding.contains(&id) || class.weighing.contains(&id) {
                let class = Arc::make_mut(&mut known.class);
                class.forbidding.retain(|known| *known != id);
                class.weighing.retain(|known| *known != id);
            }
        }
    }

    /// Forgets all; answers the counters to give back.
    pub(super) fn drain(&mut self) -> Vec<CounterId> {
        self.known.drain().flat_map(|(_, known)| known.class.counters()).collect()
    }

    fn oldest(&self) -> Option<Id> {
        self.known.iter().min_by_key(|(_, known)| known.used).map(|(id, _)| id.clone())
    }
}

impl Snapshot {
    /// What concerns a pod.
    pub(crate) fn class(&mut self, key: &ObjectKey, pod: &PodInfo) -> Arc<Class> {
        let PodInfo { affiliation, template, .. } = pod;
        let id =
            Id(Arc::clone(&key.namespace), Arc::as_ptr(affiliation).addr(), Arc::as_ptr(template).addr());
        self.classes.clock += 1;
        let used = self.classes.clock;
        if let Some(known) = self.classes.known.get_mut(&id) {
            known.used = used;
            return Arc::clone(&known.class);
        }
        if self.classes.known.len() >= CLASSES_MAX
            && let Some(oldest) = self.classes.oldest()
            && let Some(known) = self.classes.known.remove(&oldest)
        {
            for counter in known.class.counters() {
                self.counters.leave(counter, &mut self.topology, &mut self.groups);
            }
        }
        let class = Arc::new(self.derive(key, pod));
        let pinned = (Arc::downgrade(affiliation), Arc::downgrade(template));
        self.classes.known.insert(id, Known { class: Arc::clone(&class), used, _pinned: pinned });
        class
    }

    fn derive(&mut self, key: &ObjectKey, pod: &PodInfo) -> Class {
        let template = &*pod.template;
        let labels = &pod.affiliation.labels;
        let mut class = Class {
            namespace: Arc::clone(&key.namespace),
            affiliation: Arc::new(labels.clone()),
            named: affinity::named_nodes(template)
                .map(|names| names.into_iter().map(NodeName::new).collect()),
            near: Vec::new(),
            near_self: SelfMatch::No,
            apart: Vec::new(),
            spread: Vec::new(),
            spread_soft: Vec::new(),
            spread_labels: SpreadLabels::Needed,
            preferred: Vec::new(),
            forbidding: Vec::new(),
            weighing: Vec::new(),
        };
        if let Some(affinity) = &template.pod_affinity {
            self.derive_affinity(&mut class, affinity, key, labels);
        }
        self.derive_spread(&mut class, key, pod);
        let of_namespace = self.namespaces.get(&key.namespace);
        for id in self.terms.meaning(&key.namespace, of_namespace, labels) {
            if let Some(term) = self.terms.get(id) {
                class.learn(id, term.spec.kind);
            }
        }
        class
    }

    fn derive_affinity(
        &mut self,
        class: &mut Class,
        affinity: &PodAffinity,
        key: &ObjectKey,
        labels: &Labels,
    ) {
        let resolve = |term: &AffinityTerm| term.resolve(&key.namespace, labels);
        let near: Vec<PodTerm> = affinity.required.iter().map(resolve).collect();
        let of_namespace = self.namespaces.get(&key.namespace);
        if near.iter().all(|term| term.matches(&key.namespace, of_namespace, labels)) {
            class.near_self = SelfMatch::Yes;
        }
        let mut counter = |terms: Vec<PodTerm>, key: &str| {
            self.enter_counter(counters::Spec {
                terms,
                controller: None,
                key: key.to_owned(),
                scope: None,
                terminating: Terminating::Count,
            })
        };
        for term in &affinity.required {
            class.near.push(counter(near.clone(), &term.topology_key));
        }
        for term in &affinity.anti_required {
            class.apart.push(counter(vec![resolve(term)], &term.topology_key));
        }
        for (weight, term) in &affinity.preferred {
            class.preferred.push((i64::from(*weight), counter(vec![resolve(term)], &term.topology_key)));
        }
        for (weight, term) in &affinity.anti_preferred {
            class.preferred.push((-i64::from(*weight), counter(vec![resolve(term)], &term.topology_key)));
        }
    }

    fn derive_spread(&mut self, class: &mut Class, key: &ObjectKey, pod: &PodInfo) {
        let PodInfo { template, affiliation, .. } = pod;
        let of = |when| template.spread.iter().filter(move |constraint| constraint.when == when);
        for when in [WhenUnsatisfiable::DoNotSchedule, WhenUnsatisfiable::ScheduleAnyway] {
            let keys: Vec<String> = of(when).map(|constraint| constraint.topology_key.clone()).collect();
            for constraint in of(when) {
                let spread = self.spread(constraint, keys.clone(), key, pod);
                match when {
                    WhenUnsatisfiable::DoNotSchedule => class.spread.push(spread),
                    WhenUnsatisfiable::ScheduleAnyway => class.spread_soft.push(spread),
                }
            }
        }
        let Some(controller) = &affiliation.controller else { return };
        if template.spread.is_empty() && SPREAD_KINDS.contains(&controller.kind.as_str()) {
            class.spread_labels = SpreadLabels::Optional;
            for (topology_key, max_skew) in SPREAD_DEFAULTS {
                let scope = scope(template, Vec::new(), Policy::Honor, Policy::Ignore);
                let counter = self.enter_counter(counters::Spec {
                    terms: Vec::new(),
                    controller: Some(controller.uid.clone()),
                    key: topology_key.to_owned(),
                    scope,
                    terminating: Terminating::Skip,
                });
                let by_node = topology_key == HOSTNAME;
                class.spread_soft.push(Spread { counter, max_skew, min_domains: 1, own: 1, by_node });
            }
        }
    }

    fn spread(
        &mut self,
        constraint: &SpreadConstraint,
        keys: Vec<String>,
        key: &ObjectKey,
        pod: &PodInfo,
    ) -> Spread {
        let labels = &pod.affiliation.labels;
        let term = constraint.resolve(&key.namespace, labels);
        let own = i64::from(term.matches(&key.namespace, None, labels));
        let counter = self.enter_counter(counters::Spec {
            terms: vec![term],
            controller: None,
            key: constraint.topology_key.clone(),
            scope: scope(&pod.template, keys, constraint.node_affinity, constraint.node_taints),
            terminating: Terminating::Skip,
        });
        Spread {
            counter,
            max_skew: constraint.max_skew,
            min_domains: constraint.min_domains.unwrap_or(1),
            own,
            by_node: constraint.topology_key == HOSTNAME,
        }
    }
}

fn scope(template: &PodTemplate, keys: Vec<String>, affinity: Policy, taints: Policy) -> Option<Arc<Scope>> {
    let mut scope = Scope { keys, ..Scope::default() };
    if affinity == Policy::Honor {
        scope.node_selector.clone_from(&template.node_selector);
        scope.required.clone_from(&template.required);
    }
    if taints == Policy::Honor {
        scope.tolerations = Some(template.tolerations.clone());
    }
    (scope != Scope::default()).then(|| Arc::new(scope))
}

/// Kinds of pods that are kept ready; looking for one of them again costs a look at all pods. Each may hold a few counters of some
/// bytes per node.
const CLASSES_MAX: usize = 512;

/// The label whose values are single nodes.
pub(crate) const HOSTNAME: &str = "kubernetes.io/hostname";

/// How pods of a controller are spread that say nothing of it: Kubernetes' system defaults, with their `maxSkew`.
const SPREAD_DEFAULTS: [(&str, i64); 2] = [(HOSTNAME, 3), ("topology.kubernetes.io/zone", 5)];

/// Controllers whose pods are spread by default.
const SPREAD_KINDS: [&str; 3] = ["ReplicaSet", "ReplicationController", "StatefulSet"];
