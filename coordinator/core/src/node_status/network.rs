//! Whether a node's pods get a network of their own, as the condition that Kubernetes has for it.

use dunlin_link::node_network::NodeNetwork;
use jiff::Timestamp;
use serde_json::Value;

use super::{containers::set_condition, object_at};

/// Sets what a node tells of its network. Says whether anything changed.
pub fn merge_network(node: &mut Value, network: &NodeNetwork, now: Timestamp) -> bool {
    let Some(status) = object_at(node, "status") else { return false };
    let told = match network {
        NodeNetwork::Works { limits } if limits.is_empty() => {
            ("False", POD_NETWORK_READY, "pods get a network of their own".to_owned())
        }
        NodeNetwork::Works { limits } => ("False", POD_NETWORK_LIMITED, limits.clone()),
        NodeNetwork::Lacks { message } => ("True", POD_NETWORK_NOT_READY, message.clone()),
    };
    let before = status.get("conditions").cloned();
    let mut conditions = before.as_ref().and_then(Value::as_array).cloned().unwrap_or_default();
    set_condition(&mut conditions, NETWORK_UNAVAILABLE, Some(told), now);
    let conditions = Some(Value::Array(conditions));
    let changed = conditions != before;
    if let Some(conditions) = conditions.filter(|_| changed) {
        status.insert("conditions".to_owned(), conditions);
    }
    changed
}

/// Takes away what a node told of its network, since it does not tell any more. Says whether anything changed.
pub fn forget_network(node: &mut Value) -> bool {
    let Some(conditions) = node.pointer_mut("/status/conditions").and_then(Value::as_array_mut) else {
        return false;
    };
    let before = conditions.len();
    // One of whoever else sees to networks stays.
    conditions.retain(|condition| {
        let reason = condition["reason"].as_str().unwrap_or_default();
        condition["type"] != NETWORK_UNAVAILABLE || !REASONS.contains(&reason)
    });
    conditions.len() != before
}

/// Type of the condition.
pub(crate) const NETWORK_UNAVAILABLE: &str = "NetworkUnavailable";

/// Its reason where the node itself says so: pods that need no network of their own run there all the same.
pub(crate) const POD_NETWORK_NOT_READY: &str = "PodNetworkNotReady";

const POD_NETWORK_READY: &str = "PodNetworkReady";

const POD_NETWORK_LIMITED: &str = "PodNetworkLimited";

/// All that nodes themselves give.
const REASONS: [&str; 3] = [POD_NETWORK_NOT_READY, POD_NETWORK_READY, POD_NETWORK_LIMITED];
