//! Which pods are removed, and when.

use std::time::Duration;

use dunlin_link::{NodeName, PodUid};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{Action, FINISHED_PODS_MAX, Removal, reconcile, reconcile_node};
use crate::view::{ObjectKey, View};

const START: Timestamp = Timestamp::UNIX_EPOCH;

fn apply(view: &mut View, name: &str, spec: serde_json::Value, metadata: serde_json::Value, phase: &str) {
    let mut object = json!({ "metadata": metadata, "spec": spec, "status": { "phase": phase } });
    object["metadata"]["uid"] = json!(name);
    view.apply_pod(&ObjectKey::new("d", name), object.to_string().as_bytes(), START).unwrap();
}

fn remove(name: &str, why: Removal) -> Action {
    Action::Remove(ObjectKey::new("d", name), PodUid::new(name), why)
}

#[test]
fn pods_of_an_absent_node_go_after_a_while() {
    let mut view = View::new(START, Duration::from_secs(20));
    let node = NodeName::new("n");
    apply(&mut view, "p", json!({ "containers": [], "nodeName": "n" }), json!({}), "Running");
    let due = START + SignedDuration::from_secs(40);
    let plan = reconcile_node(&view, &node, START);
    assert_eq!((plan.actions, plan.again_at), (vec![], Some(due)));
    assert_eq!(reconcile_node(&view, &node, due).actions, [remove("p", Removal::NodeGone)]);
    view.apply_node(&node, json!({ "metadata": {} }).to_string().as_bytes()).unwrap();
    assert_eq!(reconcile_node(&view, &node, due).actions, []);
    view.delete_node(&node, due);
    assert_eq!(reconcile_node(&view, &node, due).actions, [], "its absence starts anew");
}

#[test]
fn unbound_pods_being_deleted_and_the_oldest_finished_ones_go() {
    let mut view = View::new(START, Duration::from_secs(20));
    let deleting = json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" });
    apply(&mut view, "unbound", json!({ "containers": [] }), deleting.clone(), "Pending");
    apply(&mut view, "bound", json!({ "containers": [], "nodeName": "n" }), deleting, "Pending");
    assert_eq!(reconcile(&view).actions, [remove("unbound", Removal::Unattended)]);
    view.delete_pod(&ObjectKey::new("d", "unbound"));
    for index in 0..=FINISHED_PODS_MAX {
        let created = START + SignedDuration::from_secs(i64::try_from(index).unwrap());
        let metadata = json!({ "creationTimestamp": created.to_string() });
        apply(&mut view, &format!("done-{index}"), json!({ "containers": [] }), metadata, "Succeeded");
    }
    assert_eq!(reconcile(&view).actions, [remove("done-0", Removal::Ended)]);
}

#[test]
fn what_ends_on_a_node_out_of_service_is_not_waited_for() {
    let mut view = View::new(START, Duration::from_secs(20));
    let node = NodeName::new("n");
    let deleting = json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" });
    apply(&mut view, "ends", json!({ "containers": [], "nodeName": "n" }), deleting, "Running");
    apply(&mut view, "runs", json!({ "containers": [], "nodeName": "n" }), json!({}), "Running");
    let check = |view: &mut View, ready: &str, taint: &str, expected: &[Action]| {
        let node_json = json!({
            "metadata": {}, "spec": { "taints": [{ "key": taint, "effect": "NoExecute" }] },
            "status": { "conditions": [{ "type": "Ready", "status": ready }] },
        });
        view.apply_node(&node, node_json.to_string().as_bytes()).unwrap();
        assert_eq!(reconcile_node(view, &node, START).actions, expected);
    };
    check(&mut view, "Unknown", "node.kubernetes.io/unreachable", &[]);
    check(&mut view, "True", "node.kubernetes.io/out-of-service", &[]);
    check(&mut view, "Unknown", "node.kubernetes.io/out-of-service", &[remove("ends", Removal::Unattended)]);
}
