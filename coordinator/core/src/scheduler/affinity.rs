//! Node selectors: whether a node's labels and name satisfy terms, and which nodes a pod names outright.

use std::collections::{BTreeMap, BTreeSet};

use crate::view::{NodeInfo, NodeTerm, Operator, PodTemplate};

/// Whether `node` satisfies the pod's node selector and its required node affinity.
pub(crate) fn required_matches(template: &PodTemplate, node: &NodeInfo) -> bool {
    selects(&template.node_selector, template.required.as_deref(), node)
}

/// Whether `node` has all of these labels and satisfies one of these terms.
pub(crate) fn selects(
    node_selector: &[(String, String)],
    required: Option<&[NodeTerm]>,
    node: &NodeInfo,
) -> bool {
    node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value))
        && required.is_none_or(|terms| terms.iter().any(|term| term_matches(term, node)))
}

/// Whether all requirements of a term hold; a term without any matches nothing.
pub(crate) fn term_matches(term: &NodeTerm, node: &NodeInfo) -> bool {
    if term.labels.is_empty() && term.fields.is_empty() {
        return false;
    }
    let label = |key: &str| node.labels.get(key).map(String::as_str);
    let field = |key: &str| (key == NAME_FIELD).then(|| node.name.as_str());
    term.labels.iter().all(|requirement| requirement.holds(label(&requirement.key)))
        && term.fields.iter().all(|requirement| requirement.holds(field(&requirement.key)))
}

/// Sum of the weights of preferred terms that match.
pub(crate) fn preference(template: &PodTemplate, node: &NodeInfo) -> i64 {
    let matching = template.preferred.iter().filter(|(_, term)| term_matches(term, node));
    matching.map(|(weight, _)| i64::from(*weight)).sum()
}

/// The names of the only nodes that can match, when every required term names nodes; otherwise `None`.
pub(crate) fn named_nodes(template: &PodTemplate) -> Option<BTreeSet<&str>> {
    let mut names = BTreeSet::new();
    for term in template.required.as_ref()? {
        let mut of_term: Option<BTreeMap<&str, usize>> = None;
        let mut requirements = 0;
        for field in &term.fields {
            if field.key == NAME_FIELD && field.operator == Some(Operator::In) {
                requirements += 1;
                let counts = of_term.get_or_insert_default();
                for value in &field.values {
                    *counts.entry(value).or_default() += 1;
                }
            }
        }
        names.extend(of_term?.into_iter().filter(|(_, count)| *count == requirements).map(|(name, _)| name));
    }
    Some(names)
}

/// The one field that a node selector can name.
const NAME_FIELD: &str = "metadata.name";
