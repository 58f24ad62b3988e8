//! Kinds of the group `apps`.

mod controller_revision;
mod daemon_set;
mod deployment;
mod replica_set;
mod rollout_annotations;
mod stateful_set;

use serde_json::{Value, json};

use super::Kind;

/// Kinds of this group, in the order of discovery.
pub(super) static KINDS: &[&Kind] = &[
    &controller_revision::KIND,
    &daemon_set::KIND,
    &deployment::KIND,
    &replica_set::KIND,
    &stateful_set::KIND,
];

/// How to update, as messages show it: the way Go holds it.
fn shown_strategy(strategy: &Value) -> String {
    let rolling = &strategy["rollingUpdate"];
    let or_zero = |key: &str| if rolling[key].is_null() { json!(0) } else { rolling[key].clone() };
    let rolling = match rolling {
        Value::Null => "null".to_owned(),
        _ => {
            let [unavailable, surge] = ["maxUnavailable", "maxSurge"].map(or_zero);
            format!("{{\"MaxUnavailable\":{unavailable},\"MaxSurge\":{surge}}}")
        }
    };
    format!("{{\"Type\":{},\"RollingUpdate\":{rolling}}}", strategy["type"])
}
