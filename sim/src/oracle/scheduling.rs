//! Every decision about a pod is true: where it is placed it may be, and where none will have it, each node is refused for the reason
//! that is said. Pods go for another's sake only where that helps, and none more than has to.
//!
//! This is a second, obvious reading of the same objects; it knows the filters that the clients' pods and nodes can meet.

use std::collections::BTreeMap;

use dunlin_coordinator_core::{
    ObjectKey,
    scheduler::{Preemption, Reason, Unschedulable},
};
use dunlin_link::NodeName;
use serde_json::Value;

use super::rules;

/// Nodes and pods as the coordinator's process has seen them.
#[derive(Debug)]
pub(crate) struct Fleet<'a> {
    pub(crate) nodes: Vec<&'a Value>,
    pub(crate) pods: Vec<Standing<'a>>,
}

/// Where a pod is, or is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing<'a> {
    pub(crate) key: &'a ObjectKey,
    pub(crate) object: &'a Value,
    /// The node that it is bound to, or about to be.
    pub(crate) node: Option<&'a NodeName>,
    /// The node that is kept for it.
    pub(crate) kept: Option<&'a NodeName>,
}

/// What is wrong with what the scheduler decided about a pod of this fleet.
pub(super) fn wrong(
    fleet: &Fleet<'_>,
    key: &ObjectKey,
    decision: Result<&NodeName, &Unschedulable>,
) -> Option<String> {
    let Some(pod) = fleet.pods.iter().find(|pod| pod.key == key) else {
        return Some(format!("{key} is placed, and is not there"));
    };
    match decision {
        Ok(chosen) => {
            let Some(node) = fleet.node(chosen) else {
                return Some(format!("{key} is placed on {chosen}, which is not there"));
            };
            fleet.refusal(pod, node, &[]).map(|why| format!("{key} is placed on {chosen}: {why:?}"))
        }
        Err(said) => fleet.wrong_reasons(pod, said).or_else(|| match &said.preemption {
            Some(preemption) => fleet.wrong_preemption(pod, preemption),
            None if said.keeps_nomination() => None,
            None => fleet.missed_preemption(pod),
        }),
    }
}

impl<'a> Fleet<'a> {
    fn node(&self, name: &NodeName) -> Option<&'a Value> {
        self.nodes.iter().copied().find(|node| node["metadata"]["name"] == name.as_str())
    }

    fn wrong_reasons(&self, pod: &Standing<'_>, said: &Unschedulable) -> Option<String> {
        let key = pod.key;
        let mut reasons: BTreeMap<Reason, usize> = BTreeMap::new();
        for node in &self.nodes {
            match self.refusal(pod, node, &[]) {
                Some(reason) => *reasons.entry(reason).or_default() += 1,
                None => {
                    let name = &node["metadata"]["name"];
                    return Some(format!("{key} waits (`{said}`), and {name} would take it"));
                }
            }
        }
        let all = self.nodes.len();
        (said.nodes != all || said.reasons != reasons)
            .then(|| format!("{key} waits: `{said}`; it should be {reasons:?} of {all} nodes"))
    }

    /// Only less important pods go for another's sake, it fits when they are gone, and would not if one of them stayed.
    fn wrong_preemption(&self, pod: &Standing<'_>, preemption: &Preemption) -> Option<String> {
        let (key, on) = (pod.key, &preemption.node);
        let Some(node) = self.node(on) else {
            return Some(format!("pods go for the sake of {key} from {on}, which is not there"));
        };
        let victims: Vec<&ObjectKey> = preemption.victims.iter().map(|victim| &victim.key).collect();
        for victim in &victims {
            let found = self.pods.iter().find(|pod| pod.key == *victim && pod.node == Some(on));
            let Some(found) = found else {
                return Some(format!("{victim} goes from {on} for the sake of {key}, and is not there"));
            };
            if priority(found.object) >= priority(pod.object) {
                return Some(format!("{victim} goes for the sake of {key}, which is not more important"));
            }
            let others: Vec<&ObjectKey> = victims.iter().copied().filter(|other| other != victim).collect();
            if self.refusal(pod, node, &others).is_none() {
                return Some(format!("{victim} goes for the sake of {key}, which would fit beside it"));
            }
        }
        let why = self.refusal(pod, node, &victims)?;
        Some(format!("{victims:?} go for the sake of {key}, which then does not fit on {on}: {why:?}"))
    }

    /// A pod waits although less important ones could go for its sake.
    fn missed_preemption(&self, pod: &Standing<'_>) -> Option<String> {
        let less_important = self.pods.iter().filter(|other| priority(other.object) < priority(pod.object));
        let less_important: Vec<&ObjectKey> = less_important.map(|other| other.key).collect();
        if less_important.is_empty() {
            return None;
        }
        let node = self.nodes.iter().find(|node| self.refusal(pod, node, &less_important).is_none())?;
        let name = &node["metadata"]["name"];
        Some(format!("{} waits, and less important pods of {name} could go for its sake", pod.key))
    }

    /// Why a node does not take a pod once some are gone: the first of Kubernetes' filters that refuses it.
    fn refusal(&self, pod: &Standing<'_>, node: &Value, gone: &[&ObjectKey]) -> Option<Reason> {
        let object = pod.object;
        // Pods of a DaemonSet name their node, and no other is looked at.
        if rules::daemon_node(object).is_some_and(|wanted| node["metadata"]["name"] != wanted) {
            return Some(Reason::NotNamed);
        }
        let unschedulable = taint("node.kubernetes.io/unschedulable", "NoSchedule");
        if node["spec"]["unschedulable"] == true && !tolerates(object, &unschedulable) {
            return Some(Reason::NodeUnschedulable);
        }
        let keeps_off = |taint: &&Value| taint["effect"] == "NoSchedule" || taint["effect"] == "NoExecute";
        let mut taints = node["spec"]["taints"].as_array().into_iter().flatten().filter(keeps_off);
        if taints.any(|taint| !tolerates(object, taint)) {
            return Some(Reason::UntoleratedTaint);
        }
        if !asks(object) {
            return None;
        }
        let counted = |other: &&Standing<'_>| {
            let here =
                |name: Option<&NodeName>| name.is_some_and(|name| node["metadata"]["name"] == name.as_str());
            let is_kept_for = other.node.is_none()
                && here(other.kept)
                && other.key != pod.key
                && priority(other.object) >= priority(object);
            (here(other.node) || is_kept_for) && !has_ended(other.object) && !gone.contains(&other.key)
        };
        let taken: i64 = self.pods.iter().filter(counted).map(|other| milli_cpu(other.object)).sum();
        (taken + milli_cpu(object) > allocatable(node)).then_some(Reason::InsufficientCpu)
    }
}

fn has_ended(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

fn priority(pod: &Value) -> i64 {
    pod["spec"]["priority"].as_i64().unwrap_or_default()
}

/// Whether a pod asks for any part of a node.
pub(crate) fn asks(pod: &Value) -> bool {
    milli_cpu(pod) > 0
}

/// What a pod asks for, in thousandths of a processor: it has one container.
fn milli_cpu(pod: &Value) -> i64 {
    milli(&pod["spec"]["containers"][0]["resources"]["requests"]["cpu"])
}

fn allocatable(node: &Value) -> i64 {
    milli(&node["status"]["allocatable"]["cpu"])
}

fn milli(amount: &Value) -> i64 {
    let Some(text) = amount.as_str() else { return 0 };
    text.strip_suffix('m').map_or_else(
        || text.parse::<i64>().map_or(0, |whole| whole * 1000),
        |milli| milli.parse().unwrap_or_default(),
    )
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
