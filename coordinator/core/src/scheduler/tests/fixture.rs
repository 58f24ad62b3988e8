//! A small cluster for tests, filled from JSON as it is stored.

use std::time::Duration;

use dunlin_link::NodeName;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::{Unschedulable, place};
use crate::view::{ObjectKey, View};

pub(super) const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// A view, and what tests do with it.
pub(super) struct Cluster {
    pub(super) view: View,
}

impl Default for Cluster {
    fn default() -> Self {
        Self { view: View::new(NOW, Duration::from_secs(20)) }
    }
}

impl Cluster {
    pub(super) fn add_node(&mut self, node: &Value) {
        let name = node["name"].as_str().unwrap();
        let object = json!({
            "metadata": { "name": name, "uid": name, "labels": node["labels"] },
            "spec": node["spec"],
            "status": { "allocatable": node["allocatable"], "images": node["images"].as_array().cloned().unwrap_or_default(),
                "conditions": node["conditions"].as_array().cloned().unwrap_or_default(),
            },
        });
        self.view.apply_node(&NodeName::new(name), object.to_string().as_bytes()).unwrap();
    }

    pub(super) fn add_pod(&mut self, pod: &Value) -> ObjectKey {
        let namespace = pod["metadata"]["namespace"].as_str().unwrap_or("default");
        let key = ObjectKey::new(namespace, pod["metadata"]["name"].as_str().unwrap());
        self.view.apply_pod(&key, pod.to_string().as_bytes(), NOW).unwrap();
        key
    }

    pub(super) fn add_namespace(&mut self, name: &str, labels: &Value) {
        let object = json!({ "metadata": { "name": name, "uid": name, "labels": labels } });
        self.view.apply_namespace(name, object.to_string().as_bytes()).unwrap();
    }

    /// Finds a node without taking it.
    pub(super) fn find(&mut self, key: &ObjectKey) -> Result<NodeName, Box<Unschedulable>> {
        let pod = self.view.pod(key).unwrap().clone();
        place(&mut self.view, key, &pod)
    }

    /// Finds a node and takes it.
    pub(super) fn place(&mut self, key: &ObjectKey) -> Result<NodeName, Box<Unschedulable>> {
        let node = self.find(key)?;
        assert!(self.view.assume(key, &node, NOW));
        Ok(node)
    }

    /// The node's name, or the message.
    pub(super) fn outcome(&mut self, pod: &Value) -> String {
        let key = self.add_pod(pod);
        match self.place(&key) {
            Ok(node) => node.as_str().to_owned(),
            Err(why) => why.to_string(),
        }
    }
}

pub(super) fn node(name: &str, milli_cpu: u64, mebibytes: u64, pods: u32) -> Value {
    let allocatable = json!({
        "cpu": format!("{milli_cpu}m"), "memory": format!("{mebibytes}Mi"), "pods": pods.to_string(),
    });
    json!({ "name": name, "labels": {}, "spec": {}, "allocatable": allocatable })
}

/// A node with room for everything.
pub(super) fn labelled(name: &str, labels: &Value) -> Value {
    let mut node = node(name, 8000, 16_384, 110);
    node["labels"] = labels.clone();
    node
}

pub(super) fn pod(name: &str, milli_cpu: u64, mebibytes: u64, host_port: Option<u16>) -> Value {
    let requests = json!({ "cpu": format!("{milli_cpu}m"), "memory": format!("{mebibytes}Mi") });
    let ports = host_port.map(|port| json!({ "containerPort": 80, "hostPort": port }));
    json!({
        "metadata": { "name": name, "uid": name },
        "spec": { "containers": [{
            "name": "c", "resources": { "requests": requests }, "ports": ports.into_iter().collect::<Vec<_>>(),
        }] },
    })
}

/// A pod that asks for nothing, with these labels, and this beside its containers in its spec.
pub(super) fn with(name: &str, labels: &Value, spec: &Value) -> Value {
    let mut pod = json!({
        "metadata": { "name": name, "uid": name, "labels": labels },
        "spec": { "containers": [{ "name": "c", "image": "i" }] },
    });
    for (field, value) in spec.as_object().unwrap() {
        pod["spec"][field] = value.clone();
    }
    pod
}
