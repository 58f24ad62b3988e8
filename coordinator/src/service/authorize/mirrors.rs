//! What pods a node may make: mirrors of what it runs by itself, bound to itself, that give it a right to nothing.
//!
//! As Kubernetes' NodeRestriction. A pod that is bound to a node lets the node read what the pod names, so a mirror names nothing.

use dunlin_api::kind::pod::mirror_of;
use dunlin_link::NodeName;
use serde_json::Value;

use super::list;

/// Checks a pod that a node is about to make. That its owner is the Node of this name today is checked where the store is.
///
/// # Errors
/// Why it may not, in Kubernetes' words.
pub(super) fn check_new(node: &NodeName, pod: &Value) -> Result<(), String> {
    if mirror_of(pod).is_none() {
        let annotation = dunlin_api::kind::pod::MIRROR;
        return Err(format!(
            "pod does not have \"{annotation}\" annotation, node \"{node}\" can only create mirror pods"
        ));
    }
    if pod["spec"]["nodeName"] != node.as_str() {
        return Err(format!("node \"{node}\" can only create pods with spec.nodeName set to itself"));
    }
    let [owner] = list(&pod["metadata"]["ownerReferences"]) else {
        return Err(format!(
            "node \"{node}\" can only create pods with a single owner reference set to itself"
        ));
    };
    if owner["apiVersion"] != "v1" || owner["kind"] != "Node" || owner["name"] != node.as_str() {
        return Err(format!("node \"{node}\" can only create pods with an owner reference set to itself"));
    }
    if owner["controller"] != true {
        return Err(format!(
            "node \"{node}\" can only create pods with a controller owner reference set to itself"
        ));
    }
    if owner["blockOwnerDeletion"] == true {
        return Err(format!("node \"{node}\" must not set blockOwnerDeletion on an owner reference"));
    }
    match named_object(&pod["spec"]) {
        None => Ok(()),
        Some(what) => Err(format!("node \"{node}\" can not create pods that reference {what}")),
    }
}

/// The first kind of object that a spec names.
fn named_object(spec: &Value) -> Option<&'static str> {
    let is_set = |value: &Value| !value.is_null() && value != "";
    if is_set(&spec["serviceAccountName"]) || is_set(&spec["serviceAccount"]) {
        return Some("a service account");
    }
    if !list(&spec["imagePullSecrets"]).is_empty() {
        return Some("secrets");
    }
    if !list(&spec["resourceClaims"]).is_empty() {
        return Some("resource claims");
    }
    let is_plain = |volume: &Value| {
        let fields = volume.as_object().into_iter().flatten();
        fields.filter(|(_, value)| !value.is_null()).all(|(field, _)| PLAIN_VOLUMES.contains(&field.as_str()))
    };
    if !list(&spec["volumes"]).iter().all(is_plain) {
        return Some("volumes of other objects");
    }
    let containers = ["initContainers", "containers", "ephemeralContainers"];
    containers.into_iter().flat_map(|field| list(&spec[field])).find_map(named_by_container)
}

fn named_by_container(container: &Value) -> Option<&'static str> {
    let sources = list(&container["envFrom"]).iter();
    let sources = sources.chain(list(&container["env"]).iter().map(|variable| &variable["valueFrom"]));
    let mut fields = sources.filter_map(Value::as_object).flatten().filter(|(_, value)| !value.is_null());
    fields.find_map(|(field, _)| match field.as_str() {
        "secretRef" | "secretKeyRef" => Some("secrets"),
        "configMapRef" | "configMapKeyRef" => Some("configmaps"),
        _ => None,
    })
}

/// What a volume may say without naming an object: these hold nothing of the API's.
const PLAIN_VOLUMES: [&str; 5] = ["name", "emptyDir", "hostPath", "downwardAPI", "image"];
