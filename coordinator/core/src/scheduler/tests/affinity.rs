//! Affinity between pods, beyond the golden cases.

use serde_json::{Value, json};

use super::fixture::{Cluster, labelled, with};

const NO_NEIGHBOUR: &str = "0/2 nodes are available: 2 node(s) didn't match pod affinity rules. \
                            no new claims to deallocate, preemption: 0/2 nodes are available: \
                            2 Preemption is not helpful for scheduling.";

fn two_zones() -> Cluster {
    let mut cluster = Cluster::default();
    cluster.add_namespace("default", &json!({}));
    cluster.add_namespace("blue", &json!({ "colour": "blue" }));
    for (name, zone) in [("a", "1"), ("b", "2")] {
        cluster.add_node(&labelled(name, &json!({ "zone": zone, "kubernetes.io/hostname": name })));
    }
    cluster
}

fn near(term: &Value) -> Value {
    json!({ "affinity": { "podAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [term] } } })
}

fn apart(term: &Value) -> Value {
    json!({ "affinity": { "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [term] } } })
}

fn placed(cluster: &mut Cluster, name: &str, labels: &Value, spec: &Value, node: &str) {
    let mut pod = with(name, labels, spec);
    pod["spec"]["nodeName"] = json!(node);
    cluster.add_pod(&pod);
}

#[test]
fn namespaces_are_named_or_selected() {
    let check = |namespaces: &Value, expected: &str| {
        let mut cluster = two_zones();
        let mut pod = with("e", &json!({ "app": "x" }), &json!({ "nodeName": "b" }));
        pod["metadata"]["namespace"] = json!("blue");
        cluster.add_pod(&pod);
        let mut term = json!({ "topologyKey": "zone", "labelSelector": { "matchLabels": { "app": "x" } } });
        for (field, value) in namespaces.as_object().unwrap() {
            term[field] = value.clone();
        }
        assert_eq!(cluster.outcome(&with("p", &json!({}), &near(&term))), expected, "{namespaces}");
    };
    check(&json!({}), NO_NEIGHBOUR);
    check(&json!({ "namespaces": ["blue"] }), "b");
    check(&json!({ "namespaceSelector": {} }), "b");
    check(&json!({ "namespaceSelector": { "matchLabels": { "colour": "blue" } } }), "b");
    check(&json!({ "namespaceSelector": { "matchLabels": { "colour": "red" } } }), NO_NEIGHBOUR);
    check(
        &json!({ "namespaceSelector": { "matchLabels": { "colour": "red" } }, "namespaces": ["blue"] }),
        "b",
    );
}

#[test]
fn labels_of_a_namespace_may_change() {
    let mut cluster = two_zones();
    let mut pod = with("e", &json!({ "app": "x" }), &json!({ "nodeName": "b" }));
    pod["metadata"]["namespace"] = json!("blue");
    cluster.add_pod(&pod);
    let term = json!({
        "topologyKey": "zone", "labelSelector": { "matchLabels": { "app": "x" } },
        "namespaceSelector": { "matchLabels": { "colour": "green" } },
    });
    let pod = with("p", &json!({}), &near(&term));
    assert_eq!(cluster.outcome(&pod), NO_NEIGHBOUR);
    cluster.add_namespace("blue", &json!({ "colour": "green" }));
    assert_eq!(cluster.outcome(&pod), "b");
}

#[test]
fn label_keys_are_filled_from_the_pod() {
    let check = |keys: &Value, expected: &str| {
        let mut cluster = two_zones();
        placed(&mut cluster, "old", &json!({ "app": "x", "hash": "1" }), &json!({}), "a");
        placed(&mut cluster, "new", &json!({ "app": "x", "hash": "2" }), &json!({}), "b");
        let mut term = json!({ "topologyKey": "zone", "labelSelector": { "matchLabels": { "app": "x" } } });
        for (field, value) in keys.as_object().unwrap() {
            term[field] = value.clone();
        }
        let pod = with("p", &json!({ "app": "x", "hash": "2" }), &near(&term));
        assert_eq!(cluster.outcome(&pod), expected, "{keys}");
    };
    check(&json!({ "matchLabelKeys": ["hash"] }), "b");
    check(&json!({ "mismatchLabelKeys": ["hash"] }), "a");
    check(&json!({ "matchLabelKeys": ["absent"], "mismatchLabelKeys": ["hash"] }), "a");
}

#[test]
fn one_pod_has_to_meet_all_terms() {
    let mut cluster = two_zones();
    placed(&mut cluster, "one", &json!({ "app": "x" }), &json!({}), "a");
    placed(&mut cluster, "other", &json!({ "tier": "y" }), &json!({}), "a");
    let term = |key: &str, value: &str| json!({ "topologyKey": "zone", "labelSelector": { "matchLabels": { key: value } } });
    let both = json!({ "affinity": { "podAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [
        term("app", "x"), term("tier", "y"),
    ] } } });
    assert_eq!(cluster.outcome(&with("p", &json!({}), &both)), NO_NEIGHBOUR);
    placed(&mut cluster, "whole", &json!({ "app": "x", "tier": "y" }), &json!({}), "b");
    assert_eq!(cluster.outcome(&with("p", &json!({}), &both)), "b");
}

#[test]
fn a_placed_pod_keeps_others_out_until_it_is_gone() {
    let mut cluster = two_zones();
    let term = json!({ "topologyKey": "zone", "labelSelector": { "matchLabels": { "app": "x" } } });
    placed(&mut cluster, "a1", &json!({}), &apart(&term), "a");
    placed(&mut cluster, "b1", &json!({}), &apart(&term), "b");
    let pod = with("p", &json!({ "app": "x" }), &json!({}));
    assert_eq!(
        cluster.outcome(&pod),
        "0/2 nodes are available: 2 node(s) didn't satisfy existing pods anti-affinity rules. no new claims to \
         deallocate, preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."
    );
    cluster.view.delete_pod(&crate::view::ObjectKey::new("default", "b1"));
    assert_eq!(cluster.outcome(&pod), "b");
}

#[test]
fn a_node_that_moves_takes_its_pods_along() {
    let mut cluster = two_zones();
    placed(&mut cluster, "e", &json!({ "app": "x" }), &json!({}), "a");
    let term = json!({ "topologyKey": "zone", "labelSelector": { "matchLabels": { "app": "x" } } });
    let pod = with("p", &json!({}), &apart(&term));
    assert_eq!(cluster.outcome(&pod), "b");
    cluster.view.delete_pod(&crate::view::ObjectKey::new("default", "p"));
    cluster.add_node(&labelled("a", &json!({ "zone": "2" })));
    cluster.add_node(&labelled("c", &json!({ "zone": "1" })));
    assert_eq!(cluster.outcome(&pod), "c");
}
