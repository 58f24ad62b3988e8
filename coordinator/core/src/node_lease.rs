//! The Lease of a node: that it is there is stored, and when it was renewed last is known without writing while the node is heard of.
//!
//! A kubelet renews its Lease every ten seconds. Here a node's session says the same, and nothing is written while nothing changes:
//! the time is put into the stored bytes when somebody reads them.

use dunlin_api::{Kind, kind};
use dunlin_link::NodeName;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The namespace of nodes' Leases.
pub const NAMESPACE: &str = "kube-node-lease";

/// The kind of Leases.
pub fn kind() -> &'static Kind {
    kind::by_kind("coordination.k8s.io/v1", "Lease").expect("the registry has Leases")
}

/// The Lease of a node, as a kubelet makes it.
pub fn of(node: &NodeName, uid: &str, now: Timestamp) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": node.as_str(),
            "namespace": NAMESPACE,
            "ownerReferences": [owner(node, uid)],
        },
        "spec": {
            "holderIdentity": node.as_str(),
            "leaseDurationSeconds": DURATION_SECONDS,
            "renewTime": text(now),
        },
    })
}

/// Whether a Lease is that of this very node, and not of one of the same name before it.
pub fn is_of(lease: &Value, uid: &str) -> bool {
    lease["metadata"]["ownerReferences"].as_array().into_iter().flatten().any(|owner| owner["uid"] == uid)
}

/// Makes a Lease that of this very node. Says whether it changed.
pub fn claim(lease: &mut Value, node: &NodeName, uid: &str, now: Timestamp) -> bool {
    let new = of(node, uid, now);
    lease["metadata"]["ownerReferences"] = new["metadata"]["ownerReferences"].clone();
    lease["spec"] = new["spec"].clone();
    true
}

/// Sets when a Lease was renewed last. Says whether it changed.
pub fn renew(lease: &mut Value, at: Timestamp) -> bool {
    let before = lease["spec"]["renewTime"].clone();
    lease["spec"]["renewTime"] = text(at).into();
    before != lease["spec"]["renewTime"]
}

/// A stored Lease with the time at which it was renewed last, of the same length; `None` when it says none that can be replaced.
pub fn renewed(json: &[u8], at: Timestamp) -> Option<Vec<u8>> {
    let label = json.windows(LABEL.len()).rposition(|part| part == LABEL)?;
    let (start, new) = (label + LABEL.len(), text(at));
    let end = start + new.len();
    if json.get(end) != Some(&b'"') {
        return None;
    }
    let mut renewed = json.to_vec();
    renewed.get_mut(start..end)?.copy_from_slice(new.as_bytes());
    Some(renewed)
}

fn owner(node: &NodeName, uid: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Node", "name": node.as_str(), "uid": uid })
}

/// A time to the microsecond, always of the same length.
fn text(at: Timestamp) -> String {
    format!("{at:.6}")
}

/// How long a kubelet's Lease lasts.
const DURATION_SECONDS: u32 = 40;

/// What stands before the time. Objects are stored with their fields in order, `spec` last, and within a text quotes are escaped.
const LABEL: &[u8] = b"\"renewTime\":\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_put_into_what_is_stored() {
        let (node, first) = (NodeName::new("n1"), Timestamp::UNIX_EPOCH);
        let mut lease = of(&node, "u1", first);
        lease["metadata"]["managedFields"] = json!([{"fieldsV1": {"f:spec": {"f:renewTime": {}}}}]);
        lease["metadata"]["annotations"] = json!({"a": "\"renewTime\":\"x"});
        let later: Timestamp = "2026-01-02T03:04:05.000007Z".parse().unwrap();
        let renewed = renewed(lease.to_string().as_bytes(), later).unwrap();
        let mut expected = lease.clone();
        assert!(renew(&mut expected, later) && !renew(&mut expected, later));
        assert_eq!(serde_json::from_slice::<Value>(&renewed).unwrap(), expected);
        assert_eq!(expected["spec"]["renewTime"], "2026-01-02T03:04:05.000007Z");
        assert!(is_of(&lease, "u1") && !is_of(&lease, "u2"));
    }

    #[test]
    fn what_says_no_such_time_stays() {
        let at = Timestamp::UNIX_EPOCH;
        assert_eq!(renewed(b"{}", at), None);
        assert_eq!(renewed(br#"{"spec":{"renewTime":"2026"}}"#, at), None);
        assert_eq!(renewed(br#"{"spec":{"renewTime":""#, at), None);
    }
}
