//! Topology spread, beyond the golden cases.

use serde_json::{Value, json};

use super::fixture::{Cluster, labelled, with};

fn zones(zones: &[(&str, &str)]) -> Cluster {
    let mut cluster = Cluster::default();
    for (name, zone) in zones {
        let labels = json!({
            "topology.kubernetes.io/zone": zone, "kubernetes.io/hostname": name, "disk": if *name == "c" { "hdd" } else { "ssd" },
        });
        cluster.add_node(&labelled(name, &labels));
    }
    cluster
}

fn constraint(more: &Value) -> Value {
    let mut constraint = json!({
        "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": { "matchLabels": { "app": "x" } },
    });
    for (field, value) in more.as_object().unwrap() {
        constraint[field] = value.clone();
    }
    json!({ "topologySpreadConstraints": [constraint] })
}

fn placed(cluster: &mut Cluster, name: &str, labels: &Value, node: &str) {
    cluster.add_pod(&with(name, labels, &json!({ "nodeName": node })));
}

#[test]
fn nodes_that_the_pod_cannot_go_to_count_by_policy() {
    let check = |policy: &str, fits: bool| {
        let mut cluster = zones(&[("a", "1"), ("c", "2")]);
        placed(&mut cluster, "e", &json!({ "app": "x" }), "a");
        let mut spec = constraint(&json!({ "nodeAffinityPolicy": policy }));
        spec["nodeSelector"] = json!({ "disk": "ssd" });
        let outcome = cluster.outcome(&with("p", &json!({ "app": "x" }), &spec));
        assert_eq!(outcome == "a", fits, "{policy}: {outcome}");
    };
    check("Honor", true);
    check("Ignore", false);
}

#[test]
fn a_revision_is_spread_apart_from_the_one_before() {
    let mut cluster = zones(&[("a", "1"), ("b", "2")]);
    for (name, node) in [("o1", "b"), ("o2", "b")] {
        placed(&mut cluster, name, &json!({ "app": "x", "hash": "1" }), node);
    }
    placed(&mut cluster, "n1", &json!({ "app": "x", "hash": "2" }), "a");
    let spec = constraint(&json!({ "matchLabelKeys": ["hash"] }));
    assert_eq!(cluster.outcome(&with("p", &json!({ "app": "x", "hash": "2" }), &spec)), "b");
}

#[test]
fn pods_that_are_being_deleted_do_not_count() {
    let mut cluster = zones(&[("a", "1"), ("b", "2")]);
    let mut going = with("e", &json!({ "app": "x" }), &json!({ "nodeName": "b" }));
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    cluster.add_pod(&going);
    placed(&mut cluster, "f", &json!({ "app": "x" }), "a");
    assert_eq!(cluster.outcome(&with("p", &json!({ "app": "x" }), &constraint(&json!({})))), "b");
}

#[test]
fn a_missing_domain_counts_as_empty_when_enough_are_asked_for() {
    let check = |domains: i64, expected: bool| {
        let mut cluster = zones(&[("a", "1"), ("b", "2")]);
        placed(&mut cluster, "e", &json!({ "app": "x" }), "a");
        placed(&mut cluster, "f", &json!({ "app": "x" }), "b");
        let spec = constraint(&json!({ "minDomains": domains }));
        let outcome = cluster.outcome(&with("p", &json!({ "app": "x" }), &spec));
        assert_eq!(["a", "b"].contains(&&*outcome), expected, "{outcome}");
    };
    check(2, true);
    check(3, false);
}

#[test]
fn replicas_are_spread_by_default() {
    let owner = |kind: &str| json!([{ "apiVersion": "apps/v1", "kind": kind, "name": "r", "uid": "r", "controller": true }]);
    let check = |kind: &str, expected: [&str; 3]| {
        let mut cluster = zones(&[("a", "1"), ("b", "1"), ("d", "2")]);
        // What other pods use would have all replicas on `a`.
        for (name, node) in [("f1", "b"), ("f2", "b"), ("f3", "b"), ("f4", "d"), ("f5", "d"), ("f6", "d")] {
            placed(&mut cluster, name, &json!({}), node);
        }
        let found = ["p0", "p1", "p2"].map(|name| {
            let mut pod = with(name, &json!({ "app": "x" }), &json!({}));
            pod["metadata"]["ownerReferences"] = owner(kind);
            cluster.outcome(&pod)
        });
        assert_eq!(found, expected, "{kind}");
    };
    check("ReplicaSet", ["a", "d", "b"]);
    check("Job", ["a", "a", "a"]);
}
