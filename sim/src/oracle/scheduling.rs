//! Every decision about a pod is true: where it is placed it may be, and where none will have it, each node is refused for the reason
//! that is said.
//!
//! This is a second, obvious reading of the same objects; it knows the filters that the clients' pods and nodes can meet.

use std::collections::BTreeMap;

use dunlin_coordinator_core::{
    ObjectKey,
    scheduler::{Reason, Unschedulable},
};
use dunlin_link::NodeName;
use serde_json::Value;

use super::rules;

/// What is wrong with what the scheduler decided about `pod`, given these nodes.
pub(super) fn wrong(
    nodes: &[&Value],
    key: &ObjectKey,
    pod: Option<&Value>,
    decision: Result<&NodeName, &Unschedulable>,
) -> Option<String> {
    let Some(pod) = pod else { return Some(format!("{key} is placed, and is not there")) };
    match decision {
        Ok(chosen) => {
            let Some(node) = nodes.iter().find(|node| node["metadata"]["name"] == chosen.as_str()) else {
                return Some(format!("{key} is placed on {chosen}, which is not there"));
            };
            refusal(pod, node).map(|why| format!("{key} is placed on {chosen}: {why:?}"))
        }
        Err(said) => {
            let mut reasons: BTreeMap<Reason, usize> = BTreeMap::new();
            for node in nodes {
                match refusal(pod, node) {
                    Some(reason) => *reasons.entry(reason).or_default() += 1,
                    None => {
                        return Some(format!(
                            "{key} waits (`{said}`), and {} would take it",
                            node["metadata"]["name"]
                        ));
                    }
                }
            }
            (said.nodes != nodes.len() || said.reasons != reasons)
                .then(|| format!("{key} waits: `{said}`; it should be {reasons:?} of {} nodes", nodes.len()))
        }
    }
}

/// Why a node does not take a pod: the first of Kubernetes' filters that refuses it.
fn refusal(pod: &Value, node: &Value) -> Option<Reason> {
    // Pods of a DaemonSet name their node, and no other is looked at.
    if rules::daemon_node(pod).is_some_and(|wanted| node["metadata"]["name"] != wanted) {
        return Some(Reason::NotNamed);
    }
    let unschedulable = taint("node.kubernetes.io/unschedulable", "NoSchedule");
    if node["spec"]["unschedulable"] == true && !tolerates(pod, &unschedulable) {
        return Some(Reason::NodeUnschedulable);
    }
    let keeps_off = |taint: &&Value| taint["effect"] == "NoSchedule" || taint["effect"] == "NoExecute";
    let mut taints = node["spec"]["taints"].as_array().into_iter().flatten().filter(keeps_off);
    taints.any(|taint| !tolerates(pod, taint)).then_some(Reason::UntoleratedTaint)
}

fn taint(key: &str, effect: &str) -> Value {
    serde_json::json!({ "key": key, "effect": effect })
}

/// As `core/v1` has it: an empty key with `Exists` means every taint, an empty effect every effect.
fn tolerates(pod: &Value, taint: &Value) -> bool {
    let mut tolerations = pod["spec"]["tolerations"].as_array().into_iter().flatten();
    tolerations.any(|toleration| {
        let fits = |field: &str| toleration[field].is_null() || toleration[field] == taint[field];
        let is_same = toleration["operator"] == "Exists" || toleration["value"] == taint["value"];
        fits("key") && fits("effect") && is_same
    })
}
