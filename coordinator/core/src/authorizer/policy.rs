//! What a new cluster's roles, bindings, priority classes and flow control are, and how those of an older one come to have what is new.
//!
//! The facts are in `policy.jsonl`, made by `cargo xtask policy` from what a fresh Kubernetes cluster has; what controllers that Kubernetes
//! does not have may do is in `policy_own.jsonl`. What all of them have in common is left out there and put back here.

use serde_json::{Map, Value, json};

use super::{PolicyRule, covers};

/// What is to happen to an object that is there, so that it gives what it should.
#[derive(Clone, Debug, PartialEq)]
pub enum Reconciled {
    /// It becomes this.
    Update(Value),
    /// It is removed, and this takes its place.
    Replace(Value),
}

/// The objects that a new cluster begins with, in the order to make them.
pub fn objects() -> impl Iterator<Item = Value> {
    let facts = [include_str!("policy.jsonl"), include_str!("policy_own.jsonl")];
    facts.into_iter().flat_map(str::lines).map(|line| {
        let mut object: Value =
            serde_json::from_str(line).expect("the table holds JSON; a test reads all of it");
        match object["kind"].as_str() {
            Some("PriorityClass") => object["apiVersion"] = "scheduling.k8s.io/v1".into(),
            Some("PriorityLevelConfiguration" | "FlowSchema") => {
                object["apiVersion"] = "flowcontrol.apiserver.k8s.io/v1".into();
                object["metadata"]["annotations"] = json!({ AUTOUPDATE_SPEC: "true" });
            }
            _ => {
                object["apiVersion"] = format!("{}/v1", super::GROUP).into();
                object["metadata"]["labels"][BOOTSTRAPPING] = "rbac-defaults".into();
                object["metadata"]["annotations"] = json!({ AUTOUPDATE: "true" });
            }
        }
        object
    })
}

/// What to do with `existing` where `expected` should be: rights, subjects and labels are added, and never taken; flow control is put as
/// it should be. `None` when nothing is missing, or its annotation says that it is not to be touched.
pub fn reconciled(existing: &Value, expected: &Value) -> Option<Reconciled> {
    if existing["metadata"]["annotations"][AUTOUPDATE] == "false" || expected["kind"] == "PriorityClass" {
        return None;
    }
    if let Some(automatic) = expected["metadata"]["annotations"].get(AUTOUPDATE_SPEC) {
        let mut new = existing.clone();
        new["spec"] = expected["spec"].clone();
        let is_ours = existing["metadata"]["annotations"][AUTOUPDATE_SPEC] == *automatic;
        return (is_ours && new != *existing).then_some(Reconciled::Update(new));
    }
    let is_binding = expected.get("roleRef").is_some();
    if is_binding && existing["roleRef"] != expected["roleRef"] {
        return Some(Reconciled::Replace(expected.clone()));
    }
    let mut new = existing.clone();
    for field in ["labels", "annotations"] {
        let mut merged = map(&expected["metadata"][field]);
        merged.extend(map(&existing["metadata"][field]));
        new["metadata"][field] = merged.into();
    }
    if is_binding {
        append_missing(&mut new, expected, "subjects");
    } else {
        append_missing_rules(&mut new, expected);
    }
    (new != *existing).then_some(Reconciled::Update(new))
}

fn append_missing_rules(role: &mut Value, expected: &Value) {
    let rules = |role: &Value| -> Vec<PolicyRule> {
        serde_json::from_value(role["rules"].clone()).unwrap_or_default()
    };
    let missing = covers::missing(&rules(role), &rules(expected));
    if !missing.is_empty() {
        let missing = missing.into_iter().map(|rule| json!(rule));
        let all = list(&role["rules"]).iter().cloned().chain(missing).collect();
        role["rules"] = Value::Array(all);
    }
    if expected.get("aggregationRule").is_some() {
        append_missing(&mut role["aggregationRule"], &expected["aggregationRule"], "clusterRoleSelectors");
    }
}

/// Appends what the list at `field` of `expected` has beyond that of `existing`.
fn append_missing(existing: &mut Value, expected: &Value, field: &str) {
    let known = list(&existing[field]);
    let missing = list(&expected[field]).iter().filter(|entry| !known.contains(entry));
    let all: Vec<Value> = known.iter().chain(missing).cloned().collect();
    if all.len() > known.len() {
        existing[field] = all.into();
    }
}

fn map(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Says that a role or binding is brought up to date at each start, unless it is `false`.
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// Says that an object of flow control is put as it should be at each start, while it is `true`.
const AUTOUPDATE_SPEC: &str = "apf.kubernetes.io/autoupdate-spec";

const BOOTSTRAPPING: &str = "kubernetes.io/bootstrapping";

#[cfg(test)]
mod tests {
    use super::*;

    fn find(kind: &str, name: &str) -> Value {
        objects().find(|object| object["kind"] == kind && object["metadata"]["name"] == name).unwrap()
    }

    #[test]
    fn the_table_is_whole() {
        let count = |kind: &str| objects().filter(|object| object["kind"] == kind).count();
        assert_eq!(count("ClusterRole"), 70);
        assert_eq!(count("ClusterRoleBinding"), 51);
        assert_eq!((count("Role"), count("RoleBinding"), count("PriorityClass")), (7, 7, 2));
        assert_eq!((count("PriorityLevelConfiguration"), count("FlowSchema")), (8, 11));
        let edit = find("ClusterRole", "edit");
        assert_eq!(edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-admin"], "true");
        assert_eq!(edit["metadata"]["annotations"][AUTOUPDATE], "true");
    }

    #[test]
    fn what_is_there_is_left_alone() {
        for object in objects() {
            assert_eq!(reconciled(&object, &object), None);
        }
    }

    #[test]
    fn what_is_missing_is_added() {
        let expected = find("ClusterRole", "system:basic-user");
        let mut existing = expected.clone();
        existing["rules"] = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
        existing["metadata"]["labels"] = json!({"own": "label"});
        let Some(Reconciled::Update(new)) = reconciled(&existing, &expected) else { panic!("no update") };
        assert_eq!(new["rules"][0], existing["rules"][0]);
        let rules: Vec<PolicyRule> = serde_json::from_value(new["rules"].clone()).unwrap();
        let wanted: Vec<PolicyRule> = serde_json::from_value(expected["rules"].clone()).unwrap();
        assert!(covers::missing(&rules, &wanted).is_empty());
        assert_eq!(new["metadata"]["labels"]["own"], "label");
        assert_eq!(reconciled(&new, &expected), None);
        existing["metadata"]["annotations"][AUTOUPDATE] = "false".into();
        assert_eq!(reconciled(&existing, &expected), None);
    }

    #[test]
    fn flow_control_is_put_right_until_somebody_takes_it_over() {
        let expected = find("FlowSchema", "catch-all");
        let mut existing = expected.clone();
        existing["spec"]["matchingPrecedence"] = 7.into();
        existing["status"] = json!({"conditions": []});
        let Some(Reconciled::Update(new)) = reconciled(&existing, &expected) else { panic!("no update") };
        assert_eq!(new["spec"], expected["spec"]);
        assert_eq!(new["status"], existing["status"]);
        existing["metadata"]["annotations"][AUTOUPDATE_SPEC] = "false".into();
        assert_eq!(reconciled(&existing, &expected), None);
    }

    #[test]
    fn bindings_get_their_subjects_and_their_role_back() {
        let expected = find("ClusterRoleBinding", "system:discovery");
        let mut existing = expected.clone();
        existing["subjects"] =
            json!([{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "joe"}]);
        let Some(Reconciled::Update(new)) = reconciled(&existing, &expected) else { panic!("no update") };
        assert_eq!(list(&new["subjects"]).len(), 2);
        existing["roleRef"]["name"] = "cluster-admin".into();
        assert_eq!(reconciled(&existing, &expected), Some(Reconciled::Replace(expected.clone())));
    }
}
