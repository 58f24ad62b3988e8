//! ClusterRoles that are made of others: which rules they have.

use dunlin_api::LabelSelector;
use serde_json::Value;

/// The rules that a ClusterRole with an `aggregationRule` shall have, from all ClusterRoles in the order of their names; `None` when it
/// has none. A role of the same name is never part of itself.
pub fn aggregated_rules(role: &Value, all: &[Value]) -> Option<Vec<Value>> {
    let selectors = role["aggregationRule"]["clusterRoleSelectors"].as_array()?;
    let mut rules: Vec<Value> = Vec::new();
    for selector in selectors.iter().filter_map(|selector| LabelSelector::from_object(selector).ok()) {
        for other in all.iter().filter(|other| other["metadata"]["name"] != role["metadata"]["name"]) {
            if !selector.matches(other["metadata"]["labels"].as_object()) {
                continue;
            }
            for rule in other["rules"].as_array().into_iter().flatten() {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    Some(rules)
}
