//! Revisions of a workload: ReplicaSets of a Deployment, ControllerRevisions of a StatefulSet or DaemonSet.

use serde_json::Value;

use crate::{
    document::{at, text},
    workload::is_controlled_by,
};

/// One revision.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Revision {
    /// Its number; the largest is the newest.
    pub(crate) number: i64,
    /// Why it was made, as far as somebody said.
    pub(crate) cause: Option<String>,
    /// The pod template.
    pub(crate) template: Value,
    /// The object that keeps it.
    pub(crate) object: Value,
}

/// The revisions of `workload` among the objects that may keep them, the oldest first.
pub(crate) fn of(workload: &Value, keepers: &[Value]) -> Vec<Revision> {
    let own = keepers.iter().filter(|keeper| is_controlled_by(keeper, workload));
    let mut revisions: Vec<Revision> = own.filter_map(revision).collect();
    revisions.sort_by_key(|revision| revision.number);
    revisions
}

/// The revision that a Deployment or ReplicaSet is at.
pub(crate) fn number(object: &Value) -> Option<i64> {
    text(object, &["metadata", "annotations", REVISION]).parse().ok()
}

/// A template without the label that tells the pods of one ReplicaSet from those of another.
pub(crate) fn without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
        labels.remove(TEMPLATE_HASH);
    }
    template
}

fn revision(keeper: &Value) -> Option<Revision> {
    let cause =
        at(keeper, &["metadata", "annotations", CHANGE_CAUSE]).as_str().filter(|cause| !cause.is_empty());
    let (number, template) = match keeper["data"]["spec"]["template"].as_object() {
        Some(template) => {
            let mut template = template.clone();
            // How the whole is to be put in place is no part of it.
            template.remove("$patch");
            (keeper["revision"].as_i64()?, Value::Object(template))
        }
        None => (number(keeper)?, keeper["spec"]["template"].clone()),
    };
    Some(Revision { number, cause: cause.map(str::to_owned), template, object: keeper.clone() })
}

/// Which revision a Deployment is at, or a ReplicaSet keeps.
pub(crate) const REVISION: &str = "deployment.kubernetes.io/revision";

/// Tells the pods of a Deployment's ReplicaSets apart.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// Why a revision was made.
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{of, without_hash};

    fn metadata(uid: &str, revision: &str) -> Value {
        json!({"annotations": {"deployment.kubernetes.io/revision": revision, "kubernetes.io/change-cause": "why"},
               "ownerReferences": [{"uid": uid, "controller": true}]})
    }

    #[test]
    fn revisions_are_those_of_the_workload_in_order() {
        let owner = json!({"metadata": {"uid": "u"}});
        let set = |uid: &str, revision: &str| json!({"metadata": metadata(uid, revision), "spec": {"template": {"a": revision}}});
        let found = of(&owner, &[set("u", "10"), set("other", "3"), set("u", "9"), set("u", "x")]);
        let numbers: Vec<i64> = found.iter().map(|revision| revision.number).collect();
        assert_eq!(numbers, [9, 10]);
        assert_eq!((found[1].cause.as_deref(), &found[1].template), (Some("why"), &json!({"a": "10"})));
        let mut stored = json!({"metadata": metadata("u", ""), "revision": 4});
        stored["data"] = json!({"spec": {"template": {"$patch": "replace", "b": 1}}});
        let found = of(&owner, &[stored]);
        assert_eq!((found[0].number, &found[0].template), (4, &json!({"b": 1})));
    }

    #[test]
    fn templates_are_compared_without_their_hash() {
        let template = json!({"metadata": {"labels": {"a": "b", "pod-template-hash": "x"}}});
        assert_eq!(without_hash(&template), json!({"metadata": {"labels": {"a": "b"}}}));
    }
}
