//! Claims and volumes.

use serde_json::{Value, json};

use super::fixture::{Cluster, labelled, with};
use crate::view::ObjectKey;

const NOT_HELPFUL: &str = "no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.";

fn outcome(claim: &Value, volume: &Value, class: &Value) -> String {
    let mut cluster = Cluster::default();
    cluster.add_node(&labelled("a", &json!({ "zone": "1" })));
    cluster.add_node(&labelled("b", &json!({ "zone": "2" })));
    if !claim.is_null() {
        let mut object = json!({ "metadata": { "name": "c", "uid": "c" } });
        for (field, value) in claim.as_object().unwrap() {
            object[field] = value.clone();
        }
        cluster.view.apply_claim(&ObjectKey::new("default", "c"), object.to_string().as_bytes()).unwrap();
    }
    if !volume.is_null() {
        cluster.view.apply_volume(&"v".into(), json!({ "spec": volume }).to_string().as_bytes()).unwrap();
    }
    cluster.view.apply_storage_class("s", class.to_string().as_bytes()).unwrap();
    let volumes = json!({ "volumes": [{ "name": "d", "persistentVolumeClaim": { "claimName": "c" } }] });
    cluster.outcome(&with("p", &json!({}), &volumes))
}

#[test]
fn claims_have_to_be_there_and_bound() {
    let check =
        |claim: &Value, expected: &str| assert_eq!(outcome(claim, &json!(null), &json!({})), expected);
    check(&json!(null), "0/2 nodes are available: persistentvolumeclaim \"c\" not found. not found");
    check(
        &json!({ "status": { "phase": "Pending" } }),
        "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found",
    );
    check(
        &json!({ "spec": { "volumeName": "v" }, "status": { "phase": "Lost" } }),
        "0/2 nodes are available: persistentvolumeclaim \"c\" bound to non-existent persistentvolume \"v\". not found",
    );
    let missing = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";
    check(
        &json!({ "spec": { "volumeName": "v" }, "status": { "phase": "Bound" } }),
        &format!("0/2 nodes are available: 2 {missing}. {NOT_HELPFUL}"),
    );
}

#[test]
fn a_bound_volume_says_where() {
    let claim = json!({ "spec": { "volumeName": "v" }, "status": { "phase": "Bound" } });
    let volume = json!({ "nodeAffinity": { "required": { "nodeSelectorTerms": [{
        "matchExpressions": [{ "key": "zone", "operator": "In", "values": ["2"] }],
    }] } } });
    assert_eq!(outcome(&claim, &volume, &json!({})), "b");
}

#[test]
fn a_claim_that_waits_for_its_first_pod_needs_a_volume() {
    let claim = json!({ "spec": { "storageClassName": "s" }, "status": { "phase": "Pending" } });
    let class = json!({ "volumeBindingMode": "WaitForFirstConsumer" });
    assert_eq!(
        outcome(&claim, &json!(null), &class),
        format!(
            "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind. {NOT_HELPFUL}"
        )
    );
}
