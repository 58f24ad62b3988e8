//! Where pods can be reached on their nodes' machines: kept in memory only, as nodes tell it anew with every session.

use std::{collections::HashMap, sync::Mutex};

use dunlin_link::{NodeName, PodUid, status::LocalEndpoint};

/// The local endpoints of all pods.
#[derive(Debug, Default)]
pub struct LocalEndpoints {
    /// A mutex, because an entry is read or replaced whole and nothing waits meanwhile.
    by_pod: Mutex<ByPod>,
}

/// By node as well: what one node says changes nothing of what another said.
type ByPod = HashMap<(NodeName, PodUid), Vec<LocalEndpoint>>;

impl LocalEndpoints {
    /// Replaces what a node says of its pod; an empty list forgets it.
    pub fn set(&self, node: &NodeName, pod: &PodUid, endpoints: Vec<LocalEndpoint>) {
        let key = (node.clone(), pod.clone());
        let mut by_pod = self.lock();
        if endpoints.is_empty() {
            by_pod.remove(&key);
        } else {
            by_pod.insert(key, endpoints);
        }
    }

    /// What a node said of its pod.
    pub fn of(&self, node: &NodeName, pod: &PodUid) -> Vec<LocalEndpoint> {
        self.lock().get(&(node.clone(), pod.clone())).cloned().unwrap_or_default()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ByPod> {
        // Entries are replaced whole, so that a panic elsewhere leaves none half-written.
        self.by_pod.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
