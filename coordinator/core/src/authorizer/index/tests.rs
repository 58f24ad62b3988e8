//! The index of roles and bindings.

use serde_json::{Value, json};

use super::*;
use crate::authorizer::Target;

fn index(objects: &[(&str, &str, &str, Value)]) -> Index {
    let mut index = Index::default();
    for (plural, namespace, name, object) in objects {
        index.apply(plural, &ObjectKey::new(namespace, name), object.to_string().as_bytes()).unwrap();
    }
    index
}

fn reader(resource: &str) -> Value {
    json!({"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": [resource]}]})
}

fn binding(role: &str, kind: &str, subject: Value) -> Value {
    json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role}, "subjects": [subject]})
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": name})
}

fn ask(index: &Index, name: &str, groups: &[&str], resource: &str, namespace: &str) -> String {
    let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
    let target = Target::Resource { group: "", resource, subresource: "", namespace, name: "x" };
    match index.allows(Who { name, groups: &groups }, &Attributes { verb: "get", target }) {
        Ok(granted) => granted.to_string(),
        Err(missing) if missing.is_empty() => "no".to_owned(),
        Err(missing) => format!("no: {missing}"),
    }
}

#[test]
fn bindings_count_where_they_are() {
    let builder = json!({"kind": "ServiceAccount", "name": "builder"});
    let index = index(&[
        ("clusterroles", "", "read", reader("pods")),
        ("roles", "a", "read", reader("secrets")),
        (
            "clusterrolebindings",
            "",
            "ops",
            binding("read", "ClusterRole", json!({"kind": "Group", "name": "ops"})),
        ),
        ("rolebindings", "a", "one", binding("read", "ClusterRole", user("joe"))),
        ("rolebindings", "a", "two", binding("read", "Role", user("ann"))),
        ("rolebindings", "b", "two", binding("read", "Role", user("ann"))),
        ("rolebindings", "b", "account", binding("read", "ClusterRole", builder)),
    ]);
    let granted = "RBAC: allowed by RoleBinding \"one/a\" of ClusterRole \"read\" to User \"joe\"";
    assert_eq!(ask(&index, "joe", &[], "pods", "a"), granted);
    assert_eq!(ask(&index, "joe", &[], "pods", "b"), "no");
    assert_eq!(ask(&index, "joe", &[], "pods", ""), "no");
    assert_eq!(ask(&index, "joe", &[], "secrets", "a"), "no");
    let granted = "RBAC: allowed by ClusterRoleBinding \"ops\" of ClusterRole \"read\" to Group \"ops\"";
    assert_eq!(ask(&index, "joe", &["x", "ops"], "pods", "b"), granted);
    assert_eq!(ask(&index, "joe", &["ops"], "pods", ""), granted);
    let granted = "RBAC: allowed by RoleBinding \"two/a\" of Role \"read\" to User \"ann\"";
    assert_eq!(ask(&index, "ann", &[], "secrets", "a"), granted);
    // The role is one of another namespace.
    let missing = "no: role.rbac.authorization.k8s.io \"read\" not found";
    assert_eq!(ask(&index, "ann", &[], "secrets", "b"), missing);
    let granted =
        "RBAC: allowed by RoleBinding \"account/b\" of ClusterRole \"read\" to ServiceAccount \"builder/b\"";
    assert_eq!(ask(&index, "system:serviceaccount:b:builder", &[], "pods", "b"), granted);
    assert_eq!(ask(&index, "system:serviceaccount:a:builder", &[], "pods", "b"), "no");
}

#[test]
fn what_is_changed_or_gone_counts_no_more() {
    let mut index = index(&[
        ("clusterroles", "", "read", reader("pods")),
        ("clusterrolebindings", "", "b", binding("read", "ClusterRole", user("joe"))),
    ]);
    let key = ObjectKey::new("", "b");
    let changed = binding("read", "ClusterRole", user("ann")).to_string();
    index.apply("clusterrolebindings", &key, changed.as_bytes()).unwrap();
    assert_eq!(ask(&index, "joe", &[], "pods", "a"), "no");
    assert!(ask(&index, "ann", &[], "pods", "a").starts_with("RBAC: allowed"));
    index.forget("clusterroles", &ObjectKey::new("", "read"));
    let missing = "no: clusterrole.rbac.authorization.k8s.io \"read\" not found";
    assert_eq!(ask(&index, "ann", &[], "pods", "a"), missing);
    assert!(index.apply("clusterrolebindings", &key, b"{}").is_err());
    assert_eq!(ask(&index, "ann", &[], "pods", "a"), "no");
    assert!(index.users.is_empty() && index.groups.is_empty() && index.bindings.is_empty());
}

#[test]
fn rules_are_told_once_a_binding() {
    let both = json!({
        "roleRef": {"kind": "ClusterRole", "name": "read"},
        "subjects": [{"kind": "Group", "name": "g"}, {"kind": "Group", "name": "h"}, user("joe")],
    });
    let index = index(&[("clusterroles", "", "read", reader("pods")), ("rolebindings", "a", "b", both)]);
    let groups = ["g".to_owned(), "h".to_owned()];
    let (rules, missing) = index.rules_for(Who { name: "joe", groups: &groups }, "a");
    assert_eq!(rules.len(), 1);
    assert!(missing.is_empty());
}
