//! Pods of StatefulSets, their claims, and the revisions that keep templates.

use dunlin_api::Kind;
use serde_json::{Map, Value, json};

use super::{Made, copy, owner_reference, pod};
use crate::{
    controllers::{
        create::{ClaimOf, StatefulPod},
        stateful_set::{POD_INDEX_LABEL, POD_NAME_LABEL, REVISION_LABEL},
    },
    view::workload,
};

/// A pod with its name and number, after the claims that it lacks.
pub(super) fn stateful_pod(kind: &Kind, set: &Value, revision: &str, wanted: &StatefulPod) -> Made {
    let mut object = pod(kind, set);
    let set_name = set["metadata"]["name"].as_str().unwrap_or_default();
    let name = format!("{set_name}-{}", wanted.ordinal);
    let metadata = &mut object["metadata"];
    if let Some(fields) = metadata.as_object_mut() {
        fields.remove("generateName");
    }
    metadata["name"] = name.as_str().into();
    metadata["labels"][POD_NAME_LABEL] = name.as_str().into();
    metadata["labels"][POD_INDEX_LABEL] = wanted.ordinal.to_string().into();
    metadata["labels"][REVISION_LABEL] = revision.into();
    object["spec"]["hostname"] = name.into();
    copy_as(&set["spec"], "serviceName", &mut object["spec"], "subdomain");
    object["spec"]["volumes"] = volumes(set, &object["spec"]["volumes"], wanted.ordinal);
    let claim = |template: &String| {
        let claim = ClaimOf { ordinal: wanted.ordinal, template: template.clone() };
        self::claim(kind, set, &claim)
    };
    let needs = wanted.claims.iter().filter_map(claim).collect();
    Made { api_version: "v1", kind: "Pod", object, needs }
}

/// The claim of a pod; `None` when the set has no such template.
pub(super) fn claim(kind: &Kind, set: &Value, wanted: &ClaimOf) -> Option<Made> {
    let template = templates(set).find(|template| template["metadata"]["name"] == *wanted.template)?;
    let mut labels = template["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    let selected = set["spec"]["selector"]["matchLabels"].as_object().into_iter().flatten();
    labels.extend(selected.map(|(key, value)| (key.clone(), value.clone())));
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": claim_name(set, &wanted.template, wanted.ordinal),
            "namespace": set["metadata"]["namespace"],
            "labels": labels,
        },
        "spec": template["spec"],
    });
    copy(&template["metadata"], &mut object["metadata"], "annotations");
    if set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Delete" {
        object["metadata"]["ownerReferences"] = json!([owner_reference(kind, set)]);
    }
    Some(Made { api_version: "v1", kind: "PersistentVolumeClaim", object, needs: Vec::new() })
}

/// The revision that keeps the owner's template.
pub(super) fn revision(
    kind: &Kind,
    owner: &Value,
    name: &str,
    (label, hash): (&str, &str),
    number: i64,
) -> Made {
    let template = &owner["spec"]["template"];
    let mut labels = template["metadata"]["labels"].as_object().cloned().unwrap_or_else(Map::new);
    labels.insert(label.to_owned(), hash.into());
    let mut object = json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": name,
            "namespace": owner["metadata"]["namespace"],
            "labels": labels,
            "ownerReferences": [owner_reference(kind, owner)],
        },
        "data": workload::kept(template.clone()),
        "revision": number,
    });
    copy(&owner["metadata"], &mut object["metadata"], "annotations");
    Made { api_version: "apps/v1", kind: "ControllerRevision", object, needs: Vec::new() }
}

/// The owner with the template that a revision keeps.
pub fn with_template_of(mut owner: Value, revision: &Value) -> Value {
    owner["spec"]["template"] = workload::restored(revision);
    owner
}

/// A volume for each claim, and the template's own but for those that claims stand in for.
fn volumes(set: &Value, own: &Value, ordinal: i64) -> Value {
    let name = |template: &Value| template["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let claimed: Vec<String> = templates(set).map(name).collect();
    let of_claim = |name: &String| {
        let claim = claim_name(set, name, ordinal);
        json!({ "name": name, "persistentVolumeClaim": { "claimName": claim } })
    };
    let mut volumes: Vec<Value> = claimed.iter().map(of_claim).collect();
    let is_free = |volume: &&Value| !claimed.iter().any(|name| volume["name"] == **name);
    volumes.extend(own.as_array().into_iter().flatten().filter(is_free).cloned());
    if volumes.is_empty() { Value::Null } else { volumes.into() }
}

fn templates(set: &Value) -> impl Iterator<Item = &Value> {
    set["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten()
}

fn claim_name(set: &Value, template: &str, ordinal: i64) -> String {
    format!("{template}-{}-{ordinal}", set["metadata"]["name"].as_str().unwrap_or_default())
}

/// Copies a field that is there under another name.
fn copy_as(from: &Value, field: &str, to: &mut Value, name: &str) {
    if let Some(value) = from.get(field).filter(|value| **value != "") {
        to[name] = value.clone();
    }
}

#[cfg(test)]
mod tests {
    use dunlin_api::kind;

    use super::*;

    fn set() -> Value {
        json!({
            "metadata": {"name": "db", "namespace": "n", "uid": "u1", "annotations": {"kubernetes.io/change-cause": "why"}},
            "spec": {
                "serviceName": "peers",
                "selector": {"matchLabels": {"app": "db"}},
                "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"},
                "template": {
                    "metadata": {"labels": {"app": "db"}},
                    "spec": {
                        "containers": [{"name": "c", "image": "i"}],
                        "volumes": [{"name": "data", "emptyDir": {}}, {"name": "own", "emptyDir": {}}],
                    },
                },
                "volumeClaimTemplates": [{
                    "metadata": {"name": "data", "labels": {"app": "x", "tier": "y"}},
                    "spec": {"resources": {"requests": {"storage": "1Gi"}}},
                    "status": {"phase": "Pending"},
                }],
            },
        })
    }

    #[test]
    fn a_pod_has_its_number_its_revision_and_its_claims() {
        let kind = kind::by_kind("apps/v1", "StatefulSet").unwrap();
        let wanted = StatefulPod { ordinal: 3, claims: vec!["data".to_owned()] };
        let made = stateful_pod(kind, &set(), "db-x", &wanted);
        let (metadata, spec) = (&made.object["metadata"], &made.object["spec"]);
        assert_eq!((&metadata["name"], &metadata["generateName"]), (&json!("db-3"), &Value::Null));
        let labels = json!({
            "app": "db", "apps.kubernetes.io/pod-index": "3", "controller-revision-hash": "db-x",
            "statefulset.kubernetes.io/pod-name": "db-3",
        });
        assert_eq!(metadata["labels"], labels);
        assert_eq!((&spec["hostname"], &spec["subdomain"]), (&json!("db-3"), &json!("peers")));
        let volumes = json!([
            {"name": "data", "persistentVolumeClaim": {"claimName": "data-db-3"}},
            {"name": "own", "emptyDir": {}},
        ]);
        assert_eq!(spec["volumes"], volumes);
        let [claim] = &made.needs[..] else { panic!("one claim") };
        let metadata = &claim.object["metadata"];
        assert_eq!((&metadata["name"], &claim.object["status"]), (&json!("data-db-3"), &Value::Null));
        assert_eq!(metadata["labels"], json!({"app": "db", "tier": "y"}));
        assert_eq!(metadata["ownerReferences"][0]["uid"], "u1");
    }

    #[test]
    fn a_revision_keeps_a_template_that_comes_back_from_it() {
        let kind = kind::by_kind("apps/v1", "StatefulSet").unwrap();
        let made = revision(kind, &set(), "db-x", ("hash", "x"), 4);
        assert_eq!(made.object["metadata"]["labels"], json!({"app": "db", "hash": "x"}));
        assert_eq!(made.object["metadata"]["annotations"]["kubernetes.io/change-cause"], "why");
        assert_eq!(made.object["revision"], 4);
        assert_eq!(made.object["data"]["spec"]["template"]["$patch"], "replace");
        let mut other = set();
        other["spec"]["template"] = json!({});
        assert_eq!(with_template_of(other, &made.object), set());
    }
}
