//! Mirror pods: how the API shows the static pods that a node runs from its own disk.
//!
//! A mirror is an object and nothing else: no node is told of it, and what it shows runs whether it is there or not. A node knows the pod
//! by a uid that follows from its manifest, and the mirror carries that as an annotation beside a uid of the API's own. Whether there are
//! mirrors to make or to remove follows from what the node states and what is there; who remembers neither asks again.

use std::collections::BTreeMap;

use dunlin_api::kind::pod::{MIRROR, mirror_of};
use dunlin_link::{NodeName, PodUid, statics::StaticPodName};
use serde_json::{Map, Value, json};

use crate::ObjectKey;

/// A mirror as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Its own `metadata.uid`.
    pub uid: PodUid,
    /// The static pod that it shows.
    pub of: PodUid,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// The mirrors that name one node.
pub type Mirrors = BTreeMap<ObjectKey, Mirror>;

/// What is to be done about a node's mirrors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Mirrors of pods that the node does not have, with their own uids.
    pub remove: Vec<(ObjectKey, PodUid)>,
    /// Static pods without a mirror, whose name no other mirror has.
    pub missing: Vec<StaticPodName>,
}

/// What is to be done when the node has the static pods `stated`, and `known` are the mirrors that name it.
pub fn plan(stated: &[StaticPodName], known: &Mirrors) -> Plan {
    let keyed: BTreeMap<ObjectKey, &StaticPodName> =
        stated.iter().map(|pod| (ObjectKey::new(&pod.namespace, &pod.name), pod)).collect();
    let is_wrong = |key: &ObjectKey, mirror: &Mirror| keyed.get(key).is_none_or(|pod| pod.uid != mirror.of);
    let wrong = known.iter().filter(|(key, mirror)| !mirror.deleting && is_wrong(key, mirror));
    let remove = wrong.map(|(key, mirror)| (key.clone(), mirror.uid.clone())).collect();
    let missing = keyed.iter().filter(|(key, _)| !known.contains_key(*key));
    Plan { remove, missing: missing.map(|(_, pod)| (*pod).clone()).collect() }
}

/// The mirror of a static pod of `node`, whose Node object has `node_uid`. Of `manifest`, which the node sent, it takes labels,
/// annotations and spec; what makes it a mirror of this pod on this node is not the manifest's to say.
pub fn object(pod: &StaticPodName, node: &NodeName, node_uid: &str, manifest: &Value) -> Value {
    let given = |field: &str| manifest["metadata"][field].as_object().cloned().unwrap_or_default();
    let mut annotations = given("annotations");
    annotations.remove(LAST_APPLIED);
    for (name, value) in
        [(CONFIG_SOURCE, "file"), (CONFIG_HASH, pod.uid.as_str()), (MIRROR, pod.uid.as_str())]
    {
        annotations.insert(name.to_owned(), value.into());
    }
    let mut spec = manifest["spec"].as_object().cloned().unwrap_or_default();
    spec.insert("nodeName".to_owned(), node.as_str().into());
    tolerate_everything(&mut spec);
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod.name,
            "namespace": pod.namespace,
            "labels": given("labels"),
            "annotations": annotations,
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Node", "name": node.as_str(), "uid": node_uid, "controller": true,
            }],
        },
        "spec": spec,
    })
}

/// The uid by which its node knows a pod.
pub fn uid_on_node(pod: &Value) -> &str {
    mirror_of(pod).or_else(|| pod["metadata"]["uid"].as_str()).unwrap_or_default()
}

/// Whether an object is the one of this uid, or the mirror of the static pod of this uid.
pub fn stands_for(object: &Value, uid: &str) -> bool {
    object["metadata"]["uid"] == uid || mirror_of(object) == Some(uid)
}

/// What runs from a node's disk cannot be driven off by taints, and as the kubelet's its object says so.
fn tolerate_everything(spec: &mut Map<String, Value>) {
    let toleration = json!({ "operator": "Exists", "effect": "NoExecute" });
    let tolerations = spec.entry("tolerations").or_insert_with(|| json!([]));
    if let Some(tolerations) = tolerations.as_array_mut()
        && !tolerations.contains(&toleration)
    {
        tolerations.push(toleration);
    }
}

/// Where the pod's manifest is from, and the mark of its content; the kubelet's words.
const CONFIG_SOURCE: &str = "kubernetes.io/config.source";
const CONFIG_HASH: &str = "kubernetes.io/config.hash";

/// A client's copy of a manifest, which says nothing of a file.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

#[cfg(test)]
mod tests;
