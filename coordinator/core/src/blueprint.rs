//! Objects that controllers have made, from their owner as stored.

mod daemon;
mod stateful;

use std::sync::Arc;

use dunlin_api::Kind;
use serde_json::{Map, Value, json};

pub use self::stateful::with_template_of;
use crate::{
    controllers::{
        create::{Blueprint, IndexedPod},
        cron_job,
    },
    view::{ObjectId, job_pod, workload::HASH_LABEL},
};

/// One object to create: of which kind, and what.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// `apiVersion` of its kind.
    pub api_version: &'static str,
    /// Its kind.
    pub kind: &'static str,
    /// The object.
    pub object: Value,
    /// What has to be there before it.
    pub needs: Vec<Self>,
}

/// The objects that a blueprint means, made of `owner`, which is of kind `kind`. Those without a name get one from the API.
pub fn build(kind: &Kind, owner: &Value, what: &Blueprint) -> Vec<Made> {
    match what {
        Blueprint::Pods { count } => {
            let pod = pod(kind, owner);
            vec![made("v1", "Pod", pod); *count]
        }
        Blueprint::IndexedPods { pods } => {
            let pods = pods.iter().map(|wanted| indexed_pod(kind, owner, wanted));
            pods.map(|object| made("v1", "Pod", object)).collect()
        }
        Blueprint::Job { name, scheduled_at } => {
            let mut job = job(kind, owner);
            job["metadata"]["name"] = name.as_str().into();
            job["metadata"]["annotations"][cron_job::SCHEDULED] = scheduled_at.as_str().into();
            vec![made("batch/v1", "Job", job)]
        }
        Blueprint::ReplicaSet { name, hash, replicas, annotations } => {
            let mut set = replica_set(kind, owner, hash);
            set["metadata"]["name"] = name.as_str().into();
            set["metadata"]["annotations"] = json!(annotations);
            set["spec"]["replicas"] = (*replicas).into();
            vec![made("apps/v1", "ReplicaSet", set)]
        }
        Blueprint::StatefulPods { revision, pods, .. } => {
            pods.iter().map(|wanted| stateful::stateful_pod(kind, owner, revision, wanted)).collect()
        }
        Blueprint::DaemonPods { nodes, hash, template_generation, .. } => {
            let pod = |node: &String| daemon::daemon_pod(kind, owner, node, hash, *template_generation);
            nodes.iter().map(|node| made("v1", "Pod", pod(node))).collect()
        }
        Blueprint::Claims { claims } => {
            claims.iter().filter_map(|wanted| stateful::claim(kind, owner, wanted)).collect()
        }
        Blueprint::Revision { name, label: (label, hash), number } => {
            vec![stateful::revision(kind, owner, name, (label, hash), *number)]
        }
    }
}

fn made(api_version: &'static str, kind: &'static str, object: Value) -> Made {
    Made { api_version, kind, object, needs: Vec::new() }
}

/// What says in an object that `owner` controls it.
pub fn controller_reference(kind: &Kind, name: &str, uid: &str) -> Value {
    json!({
        "apiVersion": kind.api_version(),
        "kind": kind.kind,
        "name": name,
        "uid": uid,
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// Takes owners from an object and gives it another as its controller.
pub fn reown(object: &mut Value, gone: &[Arc<str>], owner: Option<(&ObjectId, &str)>) {
    let mut owners = object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
    owners.retain(|known| !gone.iter().any(|uid| known["uid"] == **uid));
    if let Some((id, uid)) = owner
        && let Some(kind) = id.resource.kind()
    {
        owners.push(controller_reference(kind, &id.key.name, uid));
    }
    object["metadata"]["ownerReferences"] = owners.into();
}

/// A pod of the owner's template.
fn pod(kind: &Kind, owner: &Value) -> Value {
    let (metadata, template) = (&owner["metadata"], &owner["spec"]["template"]);
    let name = metadata["name"].as_str().unwrap_or_default();
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": format!("{name}-"),
            "namespace": metadata["namespace"],
            "ownerReferences": [owner_reference(kind, owner)],
        },
        "spec": template["spec"],
    });
    for field in ["labels", "annotations", "finalizers"] {
        copy(&template["metadata"], &mut object["metadata"], field);
    }
    if kind.kind == "Job" {
        let metadata = &mut object["metadata"];
        let mut finalizers = metadata["finalizers"].as_array().cloned().unwrap_or_default();
        finalizers.push(job_pod::FINALIZER.into());
        metadata["finalizers"] = finalizers.into();
    }
    object
}

/// A pod of an Indexed Job: its index is in its name, its host name, a label, an annotation and the environment of its containers.
fn indexed_pod(kind: &Kind, job: &Value, wanted: &IndexedPod) -> Value {
    let mut object = pod(kind, job);
    let index = wanted.index.to_string();
    let name = job["metadata"]["name"].as_str().unwrap_or_default();
    let metadata = &mut object["metadata"];
    metadata["generateName"] = format!("{name}-{index}-").into();
    metadata["labels"][job_pod::INDEX] = index.as_str().into();
    metadata["annotations"][job_pod::INDEX] = index.as_str().into();
    if let Some(failures) = wanted.failures {
        metadata["annotations"][job_pod::FAILURES] = failures.to_string().into();
    }
    if object["spec"]["hostname"].is_null() {
        object["spec"]["hostname"] = format!("{name}-{index}").into();
    }
    let path = format!("metadata.annotations['{}']", job_pod::INDEX);
    let variable = json!({ "name": INDEX_VARIABLE, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    for list in ["containers", "initContainers"] {
        let containers = object["spec"].get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let mut variables = container["env"].as_array().cloned().unwrap_or_default();
            if !variables.iter().any(|known| known["name"] == INDEX_VARIABLE) {
                variables.push(variable.clone());
                container["env"] = variables.into();
            }
        }
    }
    object
}

/// The Job of a CronJob's template.
fn job(kind: &Kind, cron: &Value) -> Value {
    let template = &cron["spec"]["jobTemplate"];
    let mut job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "namespace": cron["metadata"]["namespace"],
            "ownerReferences": [owner_reference(kind, cron)],
        },
        "spec": template["spec"],
    });
    for field in ["labels", "annotations"] {
        copy(&template["metadata"], &mut job["metadata"], field);
    }
    job
}

fn replica_set(kind: &Kind, deployment: &Value, hash: &str) -> Value {
    let (metadata, spec) = (&deployment["metadata"], &deployment["spec"]);
    let mut template = spec["template"].clone();
    template["metadata"]["labels"][HASH_LABEL] = hash.into();
    let mut selector = spec["selector"].clone();
    selector["matchLabels"][HASH_LABEL] = hash.into();
    let labels = template["metadata"]["labels"].clone();
    let mut set = json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "namespace": metadata["namespace"],
            "labels": labels,
            "ownerReferences": [owner_reference(kind, deployment)],
        },
        "spec": { "selector": selector, "template": template },
    });
    copy(spec, &mut set["spec"], "minReadySeconds");
    set
}

fn owner_reference(kind: &Kind, owner: &Value) -> Value {
    let text = |field: &str| owner["metadata"][field].as_str().unwrap_or_default();
    controller_reference(kind, text("name"), text("uid"))
}

/// Copies a field that is there.
fn copy(from: &Value, to: &mut Value, field: &str) {
    if let (Some(value), Some(to)) = (from.get(field), to.as_object_mut() as Option<&mut Map<_, _>>) {
        to.insert(field.to_owned(), value.clone());
    }
}

/// Tells a container of an Indexed Job its index.
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

#[cfg(test)]
mod tests {
    use dunlin_api::kind;

    use super::*;

    #[test]
    fn a_set_of_a_deployment_and_its_pods_tell_the_revision() {
        let deployment = json!({
            "metadata": {"name": "web", "namespace": "n", "uid": "u1"},
            "spec": {
                "minReadySeconds": 5,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}, "annotations": {"a": "b"}},
                    "spec": {"containers": [{"name": "c", "image": "i"}]},
                },
            },
        });
        let what = Blueprint::ReplicaSet {
            name: "web-x".to_owned(),
            hash: "x".to_owned(),
            replicas: 2,
            annotations: [("deployment.kubernetes.io/revision".to_owned(), "1".to_owned())].into(),
        };
        let [set] = &build(kind::by_kind("apps/v1", "Deployment").unwrap(), &deployment, &what)[..] else {
            panic!("one set is made")
        };
        let labels = json!({"app": "web", "pod-template-hash": "x"});
        assert_eq!(set.object["metadata"]["labels"], labels);
        assert_eq!(set.object["spec"]["selector"]["matchLabels"], labels);
        assert_eq!(set.object["spec"]["template"]["metadata"]["labels"], labels);
        assert_eq!(set.object["spec"]["minReadySeconds"], 5);
        assert_eq!(set.object["metadata"]["ownerReferences"][0]["kind"], "Deployment");
        let mut stored = set.object.clone();
        stored["metadata"]["uid"] = "u2".into();
        let pods =
            build(kind::by_kind("apps/v1", "ReplicaSet").unwrap(), &stored, &Blueprint::Pods { count: 2 });
        assert_eq!(pods.len(), 2);
        let pod = &pods[0].object;
        assert_eq!(pod["metadata"]["generateName"], "web-x-");
        assert_eq!(pod["metadata"]["labels"], labels);
        assert_eq!(pod["metadata"]["annotations"], json!({"a": "b"}));
        assert_eq!(pod["metadata"]["ownerReferences"][0]["uid"], "u2");
        assert_eq!(pod["spec"]["containers"][0]["image"], "i");
    }
}
