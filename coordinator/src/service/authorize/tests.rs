//! Tables of who may do what.

use dunlin_api::kind;
use serde_json::json;

use super::*;
use crate::service::{authorize::node::Opinion, path::Verb};

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

fn granted(scope: Scope) -> Grant {
    Grant { scope, guard: None }
}

#[test]
fn a_node_is_granted_what_running_pods_takes() {
    let name = NodeName::new("n1");
    let check = |verb, kind: &str, object: &str, subresource: &str, expected: Option<Opinion>| {
        let request = request(verb, kind, object, subresource);
        let found = node::opinion(&name, &request.attributes());
        let found = if matches!(found, Opinion::Silent(_)) { None } else { Some(found) };
        assert_eq!(found, expected, "{verb:?} {kind} {object} {subresource}");
    };
    let own = || Some(Opinion::Granted(Scope::OwnNode(name.clone())));
    let bound = || Some(Opinion::Granted(Scope::BoundPods(name.clone())));
    let named = || Some(Opinion::IfNamed(Scope::Full));
    check(Verb::Create, "Node", "", "", own());
    check(Verb::Get, "Node", "n1", "", own());
    check(Verb::Patch, "Node", "n1", "status", own());
    check(Verb::List, "Node", "", "", own());
    check(Verb::Get, "Node", "n2", "", None);
    check(Verb::Patch, "Node", "n2", "status", None);
    check(Verb::Delete, "Node", "n1", "", None);
    check(Verb::Watch, "Node", "n2", "", None);
    check(Verb::Get, "Pod", "p", "", bound());
    check(Verb::Watch, "Pod", "", "", bound());
    check(Verb::Update, "Pod", "p", "status", bound());
    check(Verb::Update, "Pod", "p", "", None);
    let mirrors = || Some(Opinion::Granted(Scope::OwnMirrors(name.clone())));
    check(Verb::Create, "Pod", "", "", mirrors());
    check(Verb::Delete, "Pod", "p", "", mirrors());
    check(Verb::DeleteCollection, "Pod", "", "", None);
    check(Verb::Patch, "Pod", "p", "", None);
    check(Verb::Create, "Pod", "p", "binding", None);
    check(Verb::Get, "Secret", "s", "", named());
    check(Verb::Get, "ConfigMap", "c", "", named());
    check(Verb::Watch, "Secret", "s", "", named());
    check(Verb::List, "Secret", "", "", None);
    check(Verb::Watch, "Secret", "", "", None);
    check(Verb::Update, "Secret", "s", "", None);
    let events = || Some(Opinion::Granted(Scope::OwnEvents(name.clone())));
    check(Verb::Create, "Event", "", "", events());
    check(Verb::Patch, "Event", "e", "", events());
    check(Verb::List, "Event", "", "", None);
    check(Verb::Get, "Namespace", "ns", "", None);
    check(Verb::Get, "ServiceAccount", "default", "", None);
    let tokens = || Some(Opinion::IfNamed(Scope::BoundTokens(name.clone())));
    check(Verb::Create, "ServiceAccount", "default", "token", tokens());
}

#[test]
fn a_node_has_the_objects_of_its_name() {
    let name = NodeName::new("n1");
    let check = |verb, (group, resource), namespace, object, expected: Option<&str>| {
        let target = Target::Resource { group, resource, subresource: "", namespace, name: object };
        let why = match node::opinion(&name, &Attributes { verb, target }) {
            Opinion::Granted(_) | Opinion::IfNamed(_) => None,
            Opinion::Silent(why) => Some(why),
        };
        assert_eq!(why.as_deref(), expected, "{verb} {resource} {object}");
    };
    let lease = ("coordination.k8s.io", "leases");
    check("update", lease, "kube-node-lease", "n1", None);
    check("create", lease, "kube-node-lease", "", None);
    let other = "can only access node lease with the same name as the requesting node";
    check("get", lease, "kube-node-lease", "n2", Some(other));
    let elsewhere = "can only access leases in the \"kube-node-lease\" system namespace";
    check("get", lease, "kube-system", "n1", Some(elsewhere));
    let verbs = "can only get, create, update, patch, or delete a node lease";
    check("list", lease, "kube-node-lease", "", Some(verbs));
    let csi = ("storage.k8s.io", "csinodes");
    check("patch", csi, "", "n1", None);
    check("get", csi, "", "n2", Some("can only access CSINode with the same name as the requesting node"));
    // By the rules of `system:node`.
    check("list", ("", "services"), "", "", None);
    check("create", ("authorization.k8s.io", "subjectaccessreviews"), "", "", None);
    check("create", ("", "namespaces"), "", "", Some(""));
}

#[test]
fn what_roles_give_to_a_node_stays_within_bounds() {
    let name = NodeName::new("n1");
    let check = |request: &ResourceRequest, expected: Option<Scope>| {
        assert_eq!(node::restriction(&name, &request.attributes()).ok(), expected, "{request:?}");
    };
    check(&request(Verb::List, "Pod", "", ""), Some(Scope::Full));
    check(&request(Verb::Create, "Pod", "", ""), Some(Scope::OwnMirrors(name.clone())));
    check(&request(Verb::Update, "Node", "n2", ""), None);
    check(&request(Verb::Update, "Pod", "p", ""), None);
    check(&request(Verb::Create, "ConfigMap", "", ""), Some(Scope::Full));
}

#[test]
fn refusals_say_what_was_asked() {
    let check = |request: &ResourceRequest, why: &str, expected: &str| {
        assert_eq!(refuse(&node(), request, why).message(), expected);
    };
    check(
        &request(Verb::Update, "Pod", "x", ""),
        "",
        "pods \"x\" is forbidden: User \"system:node:n1\" cannot update resource \"pods\" in API group \"\" in the \
         namespace \"ns\"",
    );
    check(
        &request(Verb::Get, "Node", "n2", "status"),
        "",
        "nodes \"n2\" is forbidden: User \"system:node:n1\" cannot get resource \"nodes/status\" in API group \"\" at the \
         cluster scope",
    );
    check(
        &request(Verb::List, "Secret", "", ""),
        "why",
        "secrets is forbidden: User \"system:node:n1\" cannot list resource \"secrets\" in API group \"\" in the namespace \
         \"ns\": why",
    );
    // A namespace lies in itself.
    check(
        &request(Verb::Get, "Namespace", "a", ""),
        "",
        "namespaces \"a\" is forbidden: User \"system:node:n1\" cannot get resource \"namespaces\" in API group \"\" in the \
         namespace \"a\"",
    );
    let path = refuse_path(&User::anonymous(), "get", "/metrics", "");
    assert_eq!(path.message(), "forbidden: User \"system:anonymous\" cannot get path \"/metrics\"");
}

#[test]
fn a_node_sees_bound_pods_only() {
    let grant = granted(Scope::BoundPods(NodeName::new("n1")));
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
    assert!(grant.check_list(&node(), &list, |_| Some("n1")).is_ok());
    assert!(grant.check_list(&node(), &list, |_| Some("n2")).is_err());
    assert!(grant.check_list(&node(), &list, |_| None).is_err());
}

#[test]
fn a_node_does_not_widen_its_rights() {
    let grant = granted(Scope::OwnNode(NodeName::new("n1")));
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
    let pods = granted(Scope::BoundPods(NodeName::new("n1")));
    let relabelled = json!({"metadata": {"labels": {"app": "x"}}});
    assert!(pods.check_change(&request(Verb::Patch, "Pod", "p", "status"), &json!({}), &relabelled).is_err());
}

#[test]
fn pods_name_objects_in_many_places() {
    let check = |spec: Value, resource: &str, named: &str, other: &str| {
        let pod = json!({ "metadata": {"name": "p"}, "spec": spec });
        assert!(node::names(&pod, resource, named), "{pod}");
        assert!(!node::names(&pod, resource, other), "{pod}");
        assert!(!node::names(&pod, "services", named), "{pod}");
    };
    check(json!({"volumes": [{"secret": {"secretName": "s"}}]}), "secrets", "s", "t");
    check(json!({"volumes": [{"configMap": {"name": "c"}}]}), "configmaps", "c", "d");
    check(json!({"volumes": [{"projected": {"sources": [{"secret": {"name": "s"}}]}}]}), "secrets", "s", "t");
    check(json!({"imagePullSecrets": [{"name": "s"}]}), "secrets", "s", "t");
    check(json!({"containers": [{"envFrom": [{"secretRef": {"name": "s"}}]}]}), "secrets", "s", "t");
    let by_key = json!({"initContainers": [{"env": [{"valueFrom": {"configMapKeyRef": {"name": "c"}}}]}]});
    check(by_key, "configmaps", "c", "d");
    check(json!({"serviceAccountName": "a"}), "serviceaccounts", "a", "default");
    let claims = json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}, {"name": "w", "ephemeral": {}}]});
    check(claims.clone(), "persistentvolumeclaims", "c", "v");
    check(claims, "persistentvolumeclaims", "p-w", "p-v");
    let pulled = json!({ "spec": {"imagePullSecrets": [{"name": "s"}]} });
    assert!(!node::names(&pulled, "configmaps", "s"));
}

#[test]
fn a_node_makes_and_deletes_mirrors_of_its_own_and_nothing_else() {
    let grant = granted(Scope::OwnMirrors(NodeName::new("n1")));
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
