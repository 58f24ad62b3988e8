//! Tables of mirrors to make and to remove.

use super::*;

fn stated(uid: &str, name: &str) -> StaticPodName {
    StaticPodName { uid: PodUid::new(uid), namespace: "default".to_owned(), name: name.to_owned() }
}

fn check(pods: &[(&str, &str)], known: &[(&str, &str, bool)], remove: &[&str], missing: &[&str]) {
    let pods: Vec<_> = pods.iter().map(|(uid, name)| stated(uid, name)).collect();
    let known = known.iter().map(|(of, name, deleting)| {
        let mirror =
            Mirror { uid: PodUid::new(format!("own-{of}")), of: PodUid::new(*of), deleting: *deleting };
        (ObjectKey::new("default", name), mirror)
    });
    let plan = plan(&pods, &known.collect());
    let removed: Vec<_> = plan.remove.iter().map(|(_, uid)| uid.as_str()).collect();
    let wanted: Vec<_> = plan.missing.iter().map(|pod| pod.uid.as_str()).collect();
    assert_eq!((removed.as_slice(), wanted.as_slice()), (remove, missing));
}

#[test]
fn a_mirror_is_there_exactly_while_its_pod_is() {
    check(&[], &[], &[], &[]);
    check(&[("u1", "a")], &[], &[], &["u1"]);
    check(&[("u1", "a")], &[("u1", "a", false)], &[], &[]);
    check(&[], &[("u1", "a", false)], &["own-u1"], &[]);
    // Another manifest under the name: the old mirror goes first.
    check(&[("u2", "a")], &[("u1", "a", false)], &["own-u1"], &[]);
    check(&[("u2", "a")], &[("u1", "a", true)], &[], &[]);
    check(&[("u1", "a")], &[("u1", "a", true)], &[], &[]);
    check(&[("u2", "b"), ("u1", "a")], &[("u3", "c", false)], &["own-u3"], &["u1", "u2"]);
}

#[test]
fn a_mirror_says_what_it_is_whatever_its_manifest_says() {
    let manifest = json!({
        "metadata": {
            "name": "web", "namespace": "other", "labels": {"app": "web"}, "uid": "x", "finalizers": ["f"],
            "annotations": {"a": "b", CONFIG_HASH: "forged", LAST_APPLIED: "{}"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n2", "uid": "y"}],
        },
        "spec": {"nodeName": "n2", "containers": [], "tolerations": [{"key": "k", "operator": "Exists"}]},
        "status": {"phase": "Failed"},
    });
    let mirror = object(&stated("u1", "web-n1"), &NodeName::new("n1"), "node-uid", &manifest);
    let expected = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "web-n1", "namespace": "default", "labels": {"app": "web"},
            "annotations": {"a": "b", CONFIG_SOURCE: "file", CONFIG_HASH: "u1", MIRROR: "u1"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "node-uid", "controller": true}],
        },
        "spec": {
            "nodeName": "n1", "containers": [],
            "tolerations": [{"key": "k", "operator": "Exists"}, {"operator": "Exists", "effect": "NoExecute"}],
        },
    });
    assert_eq!(mirror, expected);
    let odd = object(
        &stated("u1", "web-n1"),
        &NodeName::new("n1"),
        "node-uid",
        &json!({"spec": 1, "metadata": []}),
    );
    assert_eq!(odd["spec"]["nodeName"], "n1");
}

#[test]
fn a_node_knows_the_pod_that_a_mirror_shows() {
    let mirror = json!({"metadata": {"uid": "own", "annotations": {MIRROR: "u1"}}});
    assert_eq!(uid_on_node(&mirror), "u1");
    assert!(stands_for(&mirror, "u1") && stands_for(&mirror, "own") && !stands_for(&mirror, "u2"));
    let pod = json!({"metadata": {"uid": "own"}});
    assert_eq!(uid_on_node(&pod), "own");
    assert!(stands_for(&pod, "own") && !stands_for(&pod, "u1"));
}
