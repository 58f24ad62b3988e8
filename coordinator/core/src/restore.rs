//! Going back to an earlier revision: its pod template, and what was said to be the cause of it.

use serde_json::{Map, Value};

use crate::view::workload::{HASH_LABEL, restored};

/// Gives an object the template that `revision`, a ReplicaSet or ControllerRevision, keeps. Says whether anything changed.
pub fn restore(object: &mut Value, revision: &Value) -> bool {
    let before = object.clone();
    let mut template = if revision["kind"] == "ControllerRevision" {
        restored(revision)
    } else {
        revision["spec"]["template"].clone()
    };
    if !template.is_object() || !object["spec"].is_object() {
        return false;
    }
    if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
        labels.remove(HASH_LABEL);
    }
    object["spec"]["template"] = template;
    let cause = &revision["metadata"]["annotations"][CAUSE];
    let metadata = object["metadata"].as_object_mut();
    if let Some(metadata) =
        metadata.filter(|metadata| !cause.is_null() || metadata.contains_key("annotations"))
    {
        let annotations = metadata.entry("annotations").or_insert_with(|| Map::new().into());
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.remove(CAUSE);
            annotations.extend((!cause.is_null()).then(|| (CAUSE.to_owned(), cause.clone())));
        }
    }
    *object != before
}

/// Why a revision was made, as `kubectl rollout history` shows it.
const CAUSE: &str = "kubernetes.io/change-cause";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_template_comes_back_as_it_was_written() {
        let set = json!({
            "kind": "ReplicaSet",
            "metadata": {"annotations": {CAUSE: "first", "deployment.kubernetes.io/revision": "1"}},
            "spec": {"template": {"metadata": {"labels": {"app": "a", HASH_LABEL: "x"}}, "spec": {"containers": []}}},
        });
        let template = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": []}});
        let mut object = json!({"metadata": {"annotations": {CAUSE: "second", "mine": "y"}}, "spec": {"replicas": 2, "template": {}}});
        assert!(restore(&mut object, &set));
        assert_eq!(object["spec"], json!({"replicas": 2, "template": template}));
        assert_eq!(object["metadata"]["annotations"], json!({CAUSE: "first", "mine": "y"}));
        assert!(!restore(&mut object, &set));
        let mut patch = template.clone();
        patch["$patch"] = "replace".into();
        let revision =
            json!({"kind": "ControllerRevision", "metadata": {}, "data": {"spec": {"template": patch}}});
        let mut object = json!({"metadata": {}, "spec": {"template": {}}});
        assert!(restore(&mut object, &revision));
        assert_eq!(object, json!({"metadata": {}, "spec": {"template": template}}));
    }

    #[test]
    fn what_keeps_no_template_changes_nothing() {
        let mut object = json!({"metadata": {}, "spec": {"template": {"a": 1}}});
        assert!(!restore(&mut object, &json!({"kind": "ReplicaSet", "spec": {}})));
    }
}
