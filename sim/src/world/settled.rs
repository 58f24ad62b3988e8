//! Whether all is as it should be: what the store says, what the nodes hold, and what runs agree.

use dunlin_coordinator_core::dispatch::{TOMBSTONES_PREFIX, tombstone_key};
use dunlin_link::{ContainerId, NodeName, PodUid, UnixMillis, assignment::Tombstone};
use serde_json::Value;

use super::World;
use crate::{coordinator::Request, keys, node::Node, oracle::Running, shape::Room};

impl World {
    /// What is not as it should be yet, in words.
    pub(super) fn unsettled(&self) -> Option<String> {
        if !self.coordinator.is_idle() {
            return Some("the coordinator is at work".to_owned());
        }
        if let Some((key, _)) = self.coordinator.store.list(TOMBSTONES_PREFIX).next() {
            return Some(format!("the tombstone {key} was never confirmed"));
        }
        let nodes = &self.nodes[..self.shape.nodes];
        let unsettled =
            nodes.iter().find_map(|node| self.unsettled_node(node)).or_else(|| self.unsettled_pod());
        unsettled.or_else(|| self.unconverged())
    }

    /// Takes cordons back, so that every pod finds a place, and applies what was lost on its way.
    pub(super) fn tidy_up(&mut self) {
        if !self.coordinator.is_idle() {
            return;
        }
        let is_cordoned = |name: &NodeName| {
            let stored = self.coordinator.store.get(&keys::node(name));
            stored.is_some_and(|stored| stored.value["spec"]["unschedulable"] == true)
        };
        let names = self.nodes[..self.shape.nodes].iter().map(|node| node.name.clone());
        let cordoned: Vec<NodeName> = names.filter(is_cordoned).collect();
        for name in cordoned {
            self.ask(Request::Cordon(name, false));
        }
        self.apply_again();
        if self.shape.room == Room::Scarce {
            self.bury_held();
        }
    }

    /// Orders the end of what restored stores do not know, as `dunlin node bury` does: its room is needed.
    fn bury_held(&mut self) {
        let requested_at = UnixMillis(self.context.wall().as_millisecond());
        let mut orders = Vec::new();
        for node in &self.nodes[..self.shape.nodes] {
            let is_known =
                |uid: &PodUid| self.coordinator.store.get(&tombstone_key(&node.name, uid)).is_some();
            let held = node.held().filter(|pod| !is_known(&pod.uid));
            orders.extend(held.map(|pod| {
                let (uid, namespace, name) = (pod.uid.clone(), pod.namespace.clone(), pod.name.clone());
                (node.name.clone(), Tombstone { uid, namespace, name, grace_seconds: 1, requested_at })
            }));
        }
        for (node, tombstone) in orders {
            self.context.oracle.buried(&tombstone.uid, self.context.now);
            let record = serde_json::to_value(&tombstone).expect("strings and numbers are JSON");
            self.ask(Request::Put(tombstone_key(&node, &tombstone.uid), record));
        }
    }

    fn unsettled_node(&self, node: &Node) -> Option<String> {
        let name = &node.name;
        if !node.has_agent() || !self.context.oracle.is_in_touch(node.index, &self.context.network) {
            return Some(format!("{name} has no session"));
        }
        if !node.is_quiet() {
            return Some(format!("{name} is writing"));
        }
        if node.digest() != self.coordinator.wants(name) {
            return Some(format!("{name} does not hold what it should"));
        }
        let Some(stored) = self.coordinator.store.get(&keys::node(name)) else {
            return Some(format!("{name} has no Node object"));
        };
        let conditions = stored.value["status"]["conditions"].as_array().into_iter().flatten();
        let ready = conditions.into_iter().find(|condition| condition["type"] == "Ready");
        if ready.is_none_or(|ready| ready["status"] != "True") || !stored.value["spec"]["taints"].is_null() {
            return Some(format!("{name} has a session and is not ready"));
        }
        if node.holds().0 != self.coordinator.store.generation() {
            return Some(format!("{name} is of restore generation {}", node.holds().0));
        }
        if self.context.oracle.cloned.contains(name) {
            return None;
        }
        let mut running = self.context.oracle.running_on(node.index);
        let stray = running.find(|(id, running)| !self.is_known(id, running, name));
        stray.map(|(id, running)| {
            format!(
                "{} ({}, container {id}) runs on {name}, and the store does not say so",
                running.pod, running.uid
            )
        })
    }

    /// Whether the store's pod says that this container of it runs there. What a restored store never knew is held and runs on.
    fn is_known(&self, id: &ContainerId, running: &Running, node: &NodeName) -> bool {
        let stored = self.coordinator.store.get(&keys::pod(&running.pod));
        let same = stored.filter(|stored| stored.value["metadata"]["uid"] == running.uid.as_str());
        if self.context.oracle.is_lost(running) {
            return true;
        }
        same.is_some_and(|stored| {
            stored.value["spec"]["nodeName"] == node.as_str()
                && container_of(&stored.value).is_some_and(|said| said.ends_with(id.as_str()))
        })
    }

    fn unsettled_pod(&self) -> Option<String> {
        self.coordinator.store.list(keys::PODS).find_map(|(key, stored)| {
            let pod = &stored.value;
            if matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
                return None;
            }
            let Some(name) = pod["spec"]["nodeName"].as_str() else {
                return Some(format!("{key} has no node"));
            };
            if !pod["metadata"]["deletionTimestamp"].is_null() {
                return Some(format!("{key} is deleted and does not end on {name}"));
            }
            let node = self.nodes.iter().find(|node| node.name.as_str() == name)?;
            let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
            let mut running = self.context.oracle.running_on(node.index);
            if !running.any(|(_, running)| running.uid.as_str() == uid) {
                return Some(format!("{key} ({uid}) does not run on {name}"));
            }
            let may_be_a_copys = self.context.oracle.cloned.contains(&node.name);
            (pod["status"]["phase"] != "Running" && !may_be_a_copys)
                .then(|| format!("{key} ({uid}) runs on {name} and is not Running"))
        })
    }
}

fn container_of(pod: &Value) -> Option<&str> {
    pod["status"]["containerStatuses"][0]["containerID"].as_str()
}
