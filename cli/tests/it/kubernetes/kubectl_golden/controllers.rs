//! What controllers, the scheduler and a node do, step by step and by hand.

use serde_json::{Value, json};

use super::recorded::{TIME, apps, core, create, get, merge};
use crate::kubernetes::client::Client;

/// A Deployment's ReplicaSet, as its controller makes it.
pub(super) struct Rollout<'a> {
    pub(super) deployment: &'a str,
    /// Of the pod template.
    pub(super) hash: &'a str,
    pub(super) revision: u32,
    /// Of the Deployment.
    pub(super) replicas: u32,
}

/// Whether a Deployment has the pods that it needs at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Available,
    Unavailable,
}

/// Makes a Deployment's ReplicaSet for its template as it is now.
pub(super) fn roll_out(client: &mut Client, rollout: &Rollout<'_>) {
    let Rollout { deployment: name, hash, revision, replicas } = rollout;
    let path = apps(&format!("deployments/{name}"));
    let revision = json!({"deployment.kubernetes.io/revision": revision.to_string()});
    merge(client, &path, &json!({"metadata": {"annotations": revision}}));
    let deployment = get(client, &path);
    let mut template = deployment["spec"]["template"].clone();
    template["metadata"]["labels"]["pod-template-hash"] = (*hash).into();
    let mut selector = deployment["spec"]["selector"].clone();
    selector["matchLabels"]["pod-template-hash"] = (*hash).into();
    let mut annotations = revision;
    annotations["deployment.kubernetes.io/desired-replicas"] = replicas.to_string().into();
    // A quarter more than wanted, rounded up.
    let most = replicas + replicas.div_ceil(4);
    annotations["deployment.kubernetes.io/max-replicas"] = most.to_string().into();
    let metadata = json!({
        "name": format!("{name}-{hash}"),
        "labels": template["metadata"]["labels"],
        "annotations": annotations,
        "ownerReferences": [owned_by(&deployment)],
    });
    let spec = json!({"replicas": replicas, "selector": selector, "template": template});
    create(client, &apps("replicasets"), &json!({"metadata": metadata, "spec": spec}));
}

/// Counts what came of a rollout, in the Deployment and in the ReplicaSet.
pub(super) fn tell_rollout(client: &mut Client, rollout: &Rollout<'_>, updated: u32, condition: Condition) {
    let Rollout { deployment: name, hash, replicas, .. } = rollout;
    let path = apps(&format!("deployments/{name}"));
    let generation = get(client, &path)["metadata"]["generation"].clone();
    let (ready, is_available, reason) = match condition {
        Condition::Available => (*replicas, "True", "MinimumReplicasAvailable"),
        Condition::Unavailable => (1, "False", "MinimumReplicasUnavailable"),
    };
    let condition = |kind: &str, status: &str, reason: &str| json!({"type": kind, "status": status, "reason": reason, "lastUpdateTime": TIME, "lastTransitionTime": TIME});
    let status = json!({
        "observedGeneration": generation,
        "replicas": replicas,
        "updatedReplicas": updated,
        "readyReplicas": ready,
        "availableReplicas": ready,
        "conditions": [
            condition("Available", is_available, reason),
            condition("Progressing", "True", "NewReplicaSetAvailable"),
        ],
    });
    merge(client, &format!("{path}/status"), &json!({"status": status}));
    let ready = ready.min(updated);
    let counts = json!({"replicas": updated, "fullyLabeledReplicas": updated, "readyReplicas": ready, "availableReplicas": ready});
    merge(client, &apps(&format!("replicasets/{name}-{hash}/status")), &json!({"status": counts}));
}

/// Creates a pod of whatever has a template, bound to the node.
pub(super) fn start(client: &mut Client, owner: &str, name: &str) {
    let owner = get(client, owner);
    let job = &owner["spec"]["jobTemplate"]["spec"];
    let template = if job.is_object() { &job["template"] } else { &owner["spec"]["template"] };
    let mut spec = template["spec"].clone();
    spec["nodeName"] = "n1".into();
    let metadata = json!({"name": name, "labels": template["metadata"]["labels"], "ownerReferences": [owned_by(&owner)]});
    create(client, &core("pods"), &json!({"metadata": metadata, "spec": spec}));
}

/// Says of a pod's one container that it runs.
pub(super) fn run(client: &mut Client, name: &str) {
    let path = core(&format!("pods/{name}"));
    let container = get(client, &path)["spec"]["containers"][0].clone();
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": TIME});
    let kinds = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];
    let status = json!({"status": {
        "phase": "Running", "podIP": ADDRESS, "podIPs": [{"ip": ADDRESS}], "hostIP": "1.1.1.1", "startTime": TIME,
        "conditions": kinds.map(condition),
        "containerStatuses": [{
            "name": container["name"], "ready": true, "started": true, "restartCount": 0, "image": container["image"],
            "imageID": "", "state": {"running": {"startedAt": TIME}},
        }],
    }});
    merge(client, &format!("{path}/status"), &status);
}

/// Asks for the end of a pod, which no node will see to.
pub(super) fn stop(client: &mut Client, name: &str) {
    let answer = client.send("DELETE", &core(&format!("pods/{name}")), &[], b"");
    assert_eq!(answer.status, 200, "{name}: {answer:?}");
}

/// Makes the Endpoints and the EndpointSlice of a Service with these pods.
pub(super) fn publish(client: &mut Client, service: &str, slice: &str, pods: &[&str]) {
    let (mut addresses, mut endpoints) = (Vec::new(), Vec::new());
    for name in pods {
        let target = json!({"kind": "Pod", "namespace": "kc", "name": name});
        addresses.push(json!({"ip": ADDRESS, "nodeName": "n1", "targetRef": target}));
        endpoints.push(json!({"addresses": [ADDRESS], "conditions": {"ready": true}, "nodeName": "n1", "targetRef": target}));
    }
    let ports =
        if pods.is_empty() { json!([]) } else { json!([{"name": "", "port": 80, "protocol": "TCP"}]) };
    let subsets = if pods.is_empty() { json!([]) } else { json!([{"addresses": addresses, "ports": ports}]) };
    let object = json!({"metadata": {"name": service}, "subsets": subsets});
    create(client, &core("endpoints"), &object);
    let labels = json!({"kubernetes.io/service-name": service});
    let object = json!({
        "metadata": {"name": slice, "labels": labels}, "addressType": "IPv4", "endpoints": endpoints, "ports": ports,
    });
    create(client, "/apis/discovery.k8s.io/v1/namespaces/kc/endpointslices", &object);
}

/// Tells events of an object, one per message, all at the time when it was created.
pub(super) fn tell(client: &mut Client, object: &Value, component: &str, reason: &str, messages: &[&str]) {
    let metadata = &object["metadata"];
    let namespace = metadata["namespace"].as_str().unwrap_or("default");
    let time = &metadata["creationTimestamp"];
    for (position, message) in messages.iter().enumerate() {
        let event = json!({
            "metadata": {"name": format!("{}.{position}", metadata["name"].as_str().unwrap())},
            "involvedObject": {
                "apiVersion": object["apiVersion"], "kind": object["kind"], "name": metadata["name"], "uid": metadata["uid"],
                "namespace": metadata["namespace"],
            },
            "type": "Normal", "reason": reason, "message": message, "source": {"component": component}, "count": 1,
            "firstTimestamp": time, "lastTimestamp": time,
        });
        create(client, &format!("/api/v1/namespaces/{namespace}/events"), &event);
    }
}

fn owned_by(owner: &Value) -> Value {
    json!({
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
    })
}

/// The recorded node gave all pods one address.
const ADDRESS: &str = "10.1.0.9";
