//! What a pod says of the company it keeps: affinity to other pods, and how it spreads with its like over the fleet.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{api::core::v1, apimachinery::pkg::apis::meta::v1::LabelSelector};

use super::{Labels, Operator, Requirement};

/// Affinity of a pod to other pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PodAffinity {
    /// Every one of these must be met.
    pub required: Vec<AffinityTerm>,
    /// None of these may be.
    pub anti_required: Vec<AffinityTerm>,
    /// Better where they are met, by weight.
    pub preferred: Vec<(i32, AffinityTerm)>,
    /// Worse where they are, by weight.
    pub anti_preferred: Vec<(i32, AffinityTerm)>,
}

/// Pods, and the domains that count as being near them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AffinityTerm {
    /// Which pods; `None` is none.
    pub selector: Option<Selector>,
    /// Namespaces by name; none at all, and no selector of namespaces, is the pod's own.
    pub namespaces: Vec<String>,
    /// Namespaces by their labels.
    pub namespace_selector: Option<Selector>,
    /// Nodes with one value of this label are one domain.
    pub topology_key: String,
    /// Labels whose value must be the pod's own.
    pub match_label_keys: Vec<String>,
    /// Labels whose value must not be the pod's own.
    pub mismatch_label_keys: Vec<String>,
}

/// A selector of labels; one without requirements selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selector {
    /// All must hold.
    pub requirements: Vec<Requirement>,
}

/// How evenly pods are spread over the domains of a label.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpreadConstraint {
    /// `maxSkew`.
    pub max_skew: i64,
    /// `topologyKey`.
    pub topology_key: String,
    /// Whether a node that breaks it is refused, or only scored low.
    pub when: WhenUnsatisfiable,
    /// Which pods of the namespace; `None` is none.
    pub selector: Option<Selector>,
    /// `minDomains`.
    pub min_domains: Option<i64>,
    /// Whether only nodes that the pod's node affinity allows count.
    pub node_affinity: Policy,
    /// Whether only nodes whose taints the pod tolerates count.
    pub node_taints: Policy,
    /// Labels whose value must be the pod's own.
    pub match_label_keys: Vec<String>,
}

/// `whenUnsatisfiable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WhenUnsatisfiable {
    /// The node is refused.
    DoNotSchedule,
    /// The node is scored low.
    ScheduleAnyway,
}

/// `nodeAffinityPolicy` and `nodeTaintsPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Nodes that the pod cannot go to do not count.
    Honor,
    /// All nodes count.
    Ignore,
}

/// Pods of some namespaces with some labels: a term in which nothing refers to the pod that has it any more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodTerm {
    /// Which pods; `None` is none.
    pub selector: Option<Selector>,
    /// Namespaces by name.
    pub namespaces: Vec<Arc<str>>,
    /// Namespaces by their labels.
    pub namespace_selector: Option<Selector>,
}

impl PodAffinity {
    pub(super) fn of(
        affinity: Option<v1::PodAffinity>,
        anti: Option<v1::PodAntiAffinity>,
    ) -> Option<Box<Self>> {
        if affinity.is_none() && anti.is_none() {
            return None;
        }
        let terms = |list: Option<Vec<v1::PodAffinityTerm>>| -> Vec<_> {
            list.into_iter().flatten().map(AffinityTerm::of).collect()
        };
        let weighted = |list: Option<Vec<v1::WeightedPodAffinityTerm>>| -> Vec<_> {
            let list = list.into_iter().flatten();
            list.map(|term| (term.weight, AffinityTerm::of(term.pod_affinity_term))).collect()
        };
        let (affinity, anti) = (affinity.unwrap_or_default(), anti.unwrap_or_default());
        Some(Box::new(Self {
            required: terms(affinity.required_during_scheduling_ignored_during_execution),
            anti_required: terms(anti.required_during_scheduling_ignored_during_execution),
            preferred: weighted(affinity.preferred_during_scheduling_ignored_during_execution),
            anti_preferred: weighted(anti.preferred_during_scheduling_ignored_during_execution),
        }))
    }
}

impl AffinityTerm {
    fn of(term: v1::PodAffinityTerm) -> Self {
        Self {
            selector: term.label_selector.map(Selector::of),
            namespaces: term.namespaces.unwrap_or_default(),
            namespace_selector: term.namespace_selector.map(Selector::of),
            topology_key: term.topology_key,
            match_label_keys: term.match_label_keys.unwrap_or_default(),
            mismatch_label_keys: term.mismatch_label_keys.unwrap_or_default(),
        }
    }

    /// What it means for a pod of this namespace with these labels.
    pub fn resolve(&self, namespace: &Arc<str>, labels: &Labels) -> PodTerm {
        let mut selector = self.selector.clone();
        if let Some(selector) = &mut selector {
            selector.require_own(&self.match_label_keys, Operator::In, labels);
            selector.require_own(&self.mismatch_label_keys, Operator::NotIn, labels);
        }
        let mut namespaces: Vec<Arc<str>> = self.namespaces.iter().map(|name| name.as_str().into()).collect();
        if namespaces.is_empty() && self.namespace_selector.is_none() {
            namespaces.push(Arc::clone(namespace));
        }
        PodTerm { selector, namespaces, namespace_selector: self.namespace_selector.clone() }
    }
}

impl SpreadConstraint {
    pub(super) fn of(constraint: v1::TopologySpreadConstraint) -> Self {
        let policy = |text: Option<String>, otherwise| match text.as_deref() {
            Some("Honor") => Policy::Honor,
            Some("Ignore") => Policy::Ignore,
            _ => otherwise,
        };
        Self {
            max_skew: constraint.max_skew.into(),
            topology_key: constraint.topology_key,
            when: match constraint.when_unsatisfiable.as_str() {
                "ScheduleAnyway" => WhenUnsatisfiable::ScheduleAnyway,
                _ => WhenUnsatisfiable::DoNotSchedule,
            },
            selector: constraint.label_selector.map(Selector::of),
            min_domains: constraint.min_domains.map(i64::from),
            node_affinity: policy(constraint.node_affinity_policy, Policy::Honor),
            node_taints: policy(constraint.node_taints_policy, Policy::Ignore),
            match_label_keys: constraint.match_label_keys.unwrap_or_default(),
        }
    }

    /// Which pods it counts, for a pod of this namespace with these labels.
    pub fn resolve(&self, namespace: &Arc<str>, labels: &Labels) -> PodTerm {
        let mut selector = self.selector.clone();
        if let Some(selector) = &mut selector {
            selector.require_own(&self.match_label_keys, Operator::In, labels);
        }
        PodTerm { selector, namespaces: vec![Arc::clone(namespace)], namespace_selector: None }
    }
}

impl Selector {
    fn of(selector: LabelSelector) -> Self {
        let equal = selector.match_labels.into_iter().flatten().map(|(key, value)| Requirement {
            key,
            operator: Some(Operator::In),
            values: vec![value],
        });
        let expressions = selector.match_expressions.into_iter().flatten().map(|expression| Requirement {
            operator: Operator::parse(&expression.operator),
            key: expression.key,
            values: expression.values.unwrap_or_default(),
        });
        Self { requirements: equal.chain(expressions).collect() }
    }

    /// Selects what has all of these labels.
    pub fn of_labels(labels: &Labels) -> Self {
        let equal = |(key, value): (&String, &String)| Requirement {
            key: key.clone(),
            operator: Some(Operator::In),
            values: vec![value.clone()],
        };
        Self { requirements: labels.iter().map(equal).collect() }
    }

    /// Whether it selects what has these labels.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements
            .iter()
            .all(|requirement| requirement.holds(labels.get(&requirement.key).map(String::as_str)))
    }

    fn require_own(&mut self, keys: &[String], operator: Operator, labels: &Labels) {
        for key in keys {
            // A label that the pod does not have is left out, as in Kubernetes.
            let Some(value) = labels.get(key) else { continue };
            let own = Requirement { key: key.clone(), operator: Some(operator), values: vec![value.clone()] };
            // The API may have merged the very same requirement into the selector.
            if !self.requirements.contains(&own) {
                self.requirements.push(own);
            }
        }
    }
}

impl PodTerm {
    /// Whether it means a pod of this namespace (whose own labels are given, if it is known) with these labels.
    pub fn matches(&self, namespace: &str, of_namespace: Option<&Labels>, labels: &Labels) -> bool {
        let Some(selector) = &self.selector else { return false };
        let by_labels = || {
            let wanted = self.namespace_selector.as_ref();
            wanted.is_some_and(|wanted| {
                of_namespace.map_or(wanted.requirements.is_empty(), |labels| wanted.matches(labels))
            })
        };
        (self.namespaces.iter().any(|name| **name == *namespace) || by_labels()) && selector.matches(labels)
    }
}
