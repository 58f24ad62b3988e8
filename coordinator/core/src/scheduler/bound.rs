//! Pods that name their node themselves, past the scheduler: whether their node selector and affinity let them be there.
//!
//! A kubelet asks that when a pod comes to it. Here the labels of nodes are the coordinator's, so that it is asked when the pod is
//! written: one that must not be on its node has failed from the start, and no node hears of it.

use dunlin_link::NodeName;
use serde_json::{Value, json};

use super::affinity;
use crate::view::{DecodeError, NodeInfo, PodInfo};

/// `status.reason` of a pod that does not match the node that it names; the kubelet's.
pub const REASON_NODE_AFFINITY: &str = "NodeAffinity";

/// Whether a new pod names a node, and says more of nodes than that.
pub fn is_to_be_checked(pod: &Value) -> bool {
    let spec = &pod["spec"];
    let says = |value: &Value| value.as_object().is_some_and(|object| !object.is_empty());
    says(&spec["nodeSelector"]) || says(&spec["affinity"]["nodeAffinity"])
}

/// Whether a pod may be on a node by its node selector and its required node affinity.
///
/// # Errors
/// When one of them cannot be read.
pub fn may_be_on(pod: &Value, (name, node): (&NodeName, &Value)) -> Result<bool, DecodeError> {
    let pod = PodInfo::decode(pod.to_string().as_bytes())?;
    let node = NodeInfo::decode(name.clone(), node.to_string().as_bytes())?;
    Ok(affinity::required_matches(&pod.template, &node))
}

/// The status of a pod that may not.
pub fn refused_status(now: &str) -> Value {
    let message =
        "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
    json!({ "phase": "Failed", "reason": REASON_NODE_AFFINITY, "message": message, "startTime": now })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_what_the_pod_asks_for() {
        let node = json!({"metadata": {"name": "n", "uid": "u", "labels": {"disk": "ssd"}}});
        let check = |spec: Value, expected: bool| {
            let pod = json!({"metadata": {"name": "p", "uid": "u"}, "spec": spec});
            assert!(is_to_be_checked(&pod));
            assert_eq!(may_be_on(&pod, (&NodeName::new("n"), &node)).unwrap(), expected, "{pod}");
        };
        check(json!({"containers": [], "nodeSelector": {"disk": "ssd"}}), true);
        check(json!({"containers": [], "nodeSelector": {"disk": "none"}}), false);
        let required = |operator: &str| {
            let terms = [json!({"matchExpressions": [{"key": "disk", "operator": operator}]})];
            let required = json!({"nodeSelectorTerms": terms});
            json!({"containers": [], "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}})
        };
        check(required("Exists"), true);
        check(required("DoesNotExist"), false);
        assert!(!is_to_be_checked(
            &json!({"spec": {"nodeName": "n", "affinity": {"podAffinity": {"x": 1}}}})
        ));
    }
}
