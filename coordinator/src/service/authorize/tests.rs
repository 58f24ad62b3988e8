//! Tables of who may do what.

use dunlin_api::kind;
use serde_json::json;

use super::*;

fn request(verb: Verb, kind: &str, name: &str, subresource: &str) -> ResourceRequest {
    let kind = kind::by_kind("v1", kind).unwrap();
    let namespace = if kind.namespaced { "ns" } else { "" };
    ResourceRequest {
        verb,
        kind,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        subresource: subresource.to_owned(),
    }
}

fn node() -> User {
    User::node(&NodeName::new("n1"))
}

fn user(name: &str, groups: &[&str]) -> User {
    User { name: name.to_owned(), groups: groups.iter().map(|group| (*group).to_owned()).collect() }
}

#[test]
fn administrators_and_components_may_do_everything() {
    let trusted = [user("admin", &["system:masters"]), User::scheduler(), User::controller_manager()];
    for user in trusted {
        for verb in
            [Verb::Get, Verb::List, Verb::Watch, Verb::Create, Verb::Update, Verb::Patch, Verb::Delete]
        {
            assert_eq!(authorize(&user, &request(verb, "Secret", "s", "")).unwrap(), Grant::Full, "{user:?}");
        }
    }
}

#[test]
fn strangers_may_do_nothing() {
    // A name alone makes no node, and a group alone no name.
    for user in [
        user("joe", &[]),
        user("system:node:n1", &[]),
        user("x", &["system:nodes"]),
        user("system:node:", &["system:nodes"]),
    ] {
        for kind in ["Pod", "Node", "ConfigMap", "Namespace"] {
            assert_eq!(
                authorize(&user, &request(Verb::Get, kind, "x", "")).unwrap_err().code(),
                403,
                "{user:?}"
            );
        }
    }
}

#[test]
fn a_node_is_granted_what_running_pods_takes() {
    let name = NodeName::new("n1");
    let check = |verb, kind: &str, object: &str, subresource: &str, expected: Option<Grant>| {
        let found = authorize(&node(), &request(verb, kind, object, subresource)).ok();
        assert_eq!(found, expected, "{verb:?} {kind} {object} {subresource}");
    };
    let own = || Some(Grant::OwnNode(name.clone()));
    let bound = || Some(Grant::BoundPods(name.clone()));
    let config = || Some(Grant::NamedConfig(name.clone()));
    check(Verb::Create, "Node", "", "", own());
    check(Verb::Get, "Node", "n1", "", own());
    check(Verb::Patch, "Node", "n1", "status", own());
    check(Verb::Get, "Node", "n2", "", None);
    check(Verb::Patch, "Node", "n2", "status", None);
    check(Verb::Delete, "Node", "n1", "", None);
    check(Verb::List, "Node", "", "", None);
    check(Verb::Get, "Pod", "p", "", bound());
    check(Verb::Watch, "Pod", "", "", bound());
    check(Verb::Update, "Pod", "p", "status", bound());
    check(Verb::Update, "Pod", "p", "", None);
    let mirrors = || Some(Grant::OwnMirrors(name.clone()));
    check(Verb::Create, "Pod", "", "", mirrors());
    check(Verb::Delete, "Pod", "p", "", mirrors());
    check(Verb::DeleteCollection, "Pod", "", "", None);
    check(Verb::Patch, "Pod", "p", "", None);
    check(Verb::Create, "Pod", "p", "binding", None);
    check(Verb::Get, "Secret", "s", "", config());
    check(Verb::Get, "ConfigMap", "c", "", config());
    check(Verb::List, "Secret", "", "", None);
    check(Verb::Watch, "Secret", "", "", None);
    check(Verb::Update, "Secret", "s", "", None);
    check(Verb::Create, "Event", "", "", Some(Grant::OwnEvents(name.clone())));
    check(Verb::List, "Event", "", "", None);
    check(Verb::Get, "Namespace", "ns", "", None);
    check(Verb::Get, "ServiceAccount", "default", "", None);
}

#[test]
fn refusals_say_what_was_asked() {
    let check = |request: &ResourceRequest, expected: &str| {
        assert_eq!(authorize(&node(), request).unwrap_err().message(), expected);
    };
    check(
        &request(Verb::Update, "Pod", "x", ""),
        "pods \"x\" is forbidden: User \"system:node:n1\" cannot update resource \"pods\" in API group \"\" in the \
         namespace \"ns\"",
    );
    check(
        &request(Verb::Get, "Node", "n2", "status"),
        "nodes \"n2\" is forbidden: User \"system:node:n1\" cannot get resource \"nodes/status\" in API group \"\" at the \
         cluster scope",
    );
    let secrets = request(Verb::List, "Secret", "", "");
    check(
        &secrets,
        "secrets is forbidden: User \"system:node:n1\" cannot list resource \"secrets\" in API group \"\" in the namespace \
         \"ns\"",
    );
}

#[test]
fn a_node_sees_bound_pods_only() {
    let grant = Grant::BoundPods(NodeName::new("n1"));
    let get = request(Verb::Get, "Pod", "p", "");
    let pod = |node: &str| json!({"spec": {"nodeName": node}});
    assert!(grant.check_current(&node(), &get, &pod("n1")).is_ok());
    assert!(grant.check_current(&node(), &get, &json!({"spec": {}})).is_err());
    let refused = grant.check_current(&node(), &get, &pod("n2")).unwrap_err();
    assert!(
        refused.message().ends_with(": no relationship found between node 'n1' and this object"),
        "{refused}"
    );
    let list = request(Verb::List, "Pod", "", "");
    assert!(grant.check_list(&node(), &list, Some("n1")).is_ok());
    assert!(grant.check_list(&node(), &list, Some("n2")).is_err());
    assert!(grant.check_list(&node(), &list, None).is_err());
}

#[test]
fn a_node_does_not_widen_its_rights() {
    let grant = Grant::OwnNode(NodeName::new("n1"));
    let update = request(Verb::Update, "Node", "n1", "");
    let plain = json!({"metadata": {"name": "n1"}, "spec": {"taints": [{"key": "a"}]}});
    assert!(grant.check_change(&update, &plain, &plain).is_ok());
    let untainted = json!({"metadata": {"name": "n1"}, "spec": {}});
    assert!(grant.check_change(&update, &plain, &untainted).is_err());
    let labelled = |labels: Value| {
        let mut labelled = plain.clone();
        labelled["metadata"]["labels"] = labels;
        labelled
    };
    let restricted = "node-restriction.kubernetes.io/zone";
    for key in [restricted, "node-role.kubernetes.io/control-plane", "a.k8s.io/x"] {
        let with = labelled(json!({"site": "here", key: "x"}));
        let refused = grant.check_change(&update, &plain, &with).unwrap_err();
        let expected =
            format!("nodes \"n1\" is forbidden: node \"n1\" is not allowed to modify labels: {key}");
        assert_eq!(refused.message(), expected);
        assert!(grant.check_new(&node(), &update, &with).is_err(), "{key}");
        // What an administrator gave is neither changed nor taken away, and in nobody's way.
        assert!(grant.check_change(&update, &with, &plain).is_err(), "{key}");
        assert!(grant.check_change(&update, &with, &labelled(json!({key: "y"}))).is_err(), "{key}");
        assert!(grant.check_change(&update, &with, &labelled(json!({key: "x"}))).is_ok(), "{key}");
    }
    let own = labelled(json!({"topology.kubernetes.io/zone": "a", "node.kubernetes.io/x": "b", "site": "c"}));
    assert!(grant.check_change(&update, &plain, &own).is_ok());
    assert!(grant.check_new(&node(), &update, &own).is_ok());
    assert!(grant.check_new(&node(), &update, &plain).is_ok());
    assert!(grant.check_new(&node(), &update, &json!({"metadata": {"name": "n2"}})).is_err());
    let pods = Grant::BoundPods(NodeName::new("n1"));
    let relabelled = json!({"metadata": {"labels": {"app": "x"}}});
    assert!(pods.check_change(&request(Verb::Patch, "Pod", "p", "status"), &json!({}), &relabelled).is_err());
}

#[test]
fn pods_name_config_in_many_places() {
    let check = |spec: Value, kind: &str, name: &str, expected: bool| {
        let pod = json!({ "spec": spec });
        let kind = kind::by_kind("v1", kind).unwrap();
        assert_eq!(names_config(&pod, kind, name), expected, "{pod}");
    };
    check(json!({"volumes": [{"secret": {"secretName": "s"}}]}), "Secret", "s", true);
    check(json!({"volumes": [{"configMap": {"name": "c"}}]}), "ConfigMap", "c", true);
    check(json!({"volumes": [{"projected": {"sources": [{"secret": {"name": "s"}}]}}]}), "Secret", "s", true);
    check(json!({"imagePullSecrets": [{"name": "s"}]}), "Secret", "s", true);
    check(json!({"imagePullSecrets": [{"name": "s"}]}), "ConfigMap", "s", false);
    check(json!({"containers": [{"envFrom": [{"secretRef": {"name": "s"}}]}]}), "Secret", "s", true);
    let by_key = json!({"initContainers": [{"env": [{"valueFrom": {"configMapKeyRef": {"name": "c"}}}]}]});
    check(by_key.clone(), "ConfigMap", "c", true);
    check(by_key.clone(), "Secret", "c", false);
    check(by_key, "ConfigMap", "d", false);
}

#[test]
fn a_node_makes_and_deletes_mirrors_of_its_own_and_nothing_else() {
    let grant = Grant::OwnMirrors(NodeName::new("n1"));
    let mirror = json!({
        "metadata": {
            "name": "web-n1",
            "annotations": {"kubernetes.io/config.mirror": "x"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u", "controller": true}],
        },
        "spec": {
            "nodeName": "n1",
            "containers": [{"name": "c", "image": "web", "env": [{"name": "A", "value": "secretKeyRef"}]}],
            "volumes": [{"name": "v", "emptyDir": {}}],
        },
    });
    let check = |change: &dyn Fn(&mut Value), part: &str| {
        let mut pod = mirror.clone();
        change(&mut pod);
        let request = request(Verb::Create, "Pod", "", "");
        let made = grant.check_new(&node(), &request, &pod);
        match made {
            Ok(()) => assert_eq!(part, "", "{pod}"),
            Err(status) => {
                assert!(
                    status.code() == 403 && !part.is_empty() && status.message().contains(part),
                    "{status:?}"
                );
            }
        }
    };
    check(&|_| {}, "");
    check(&|pod| pod["metadata"]["annotations"] = json!({"a": "b"}), "can only create mirror pods");
    check(&|pod| pod["spec"]["nodeName"] = "n2".into(), "spec.nodeName set to itself");
    check(&|pod| pod["metadata"]["ownerReferences"] = json!([]), "single owner reference");
    check(&|pod| pod["metadata"]["ownerReferences"][0]["name"] = "n2".into(), "set to itself");
    check(&|pod| pod["metadata"]["ownerReferences"][0]["controller"] = false.into(), "controller owner");
    check(
        &|pod| pod["metadata"]["ownerReferences"][0]["blockOwnerDeletion"] = true.into(),
        "blockOwnerDeletion",
    );
    check(&|pod| pod["spec"]["serviceAccountName"] = "default".into(), "a service account");
    check(&|pod| pod["spec"]["imagePullSecrets"] = json!([{"name": "s"}]), "secrets");
    check(&|pod| pod["spec"]["volumes"][0] = json!({"name": "v", "secret": {"secretName": "s"}}), "volumes");
    check(&|pod| pod["spec"]["volumes"][0] = json!({"name": "v", "projected": {"sources": []}}), "volumes");
    let container = |field: &'static str, value: Value| {
        move |pod: &mut Value| pod["spec"]["containers"][0][field] = value.clone()
    };
    check(&container("envFrom", json!([{"secretRef": {"name": "s"}}])), "secrets");
    check(&container("envFrom", json!([{"configMapRef": {"name": "s"}}])), "configmaps");
    let key = |source: &str| json!([{"name": "A", "valueFrom": {source: {"name": "s", "key": "k"}}}]);
    check(&container("env", key("secretKeyRef")), "secrets");
    check(&container("env", key("configMapKeyRef")), "configmaps");
    check(&container("env", json!([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "f"}}}])), "");

    let delete = request(Verb::Delete, "Pod", "web-n1", "");
    assert!(grant.check_current(&node(), &delete, &mirror).is_ok());
    let mut other = mirror.clone();
    other["spec"]["nodeName"] = "n2".into();
    assert_eq!(grant.check_current(&node(), &delete, &other).unwrap_err().code(), 403);
    let mut plain = mirror.clone();
    plain["metadata"]["annotations"] = json!({});
    assert_eq!(grant.check_current(&node(), &delete, &plain).unwrap_err().code(), 403);
}
