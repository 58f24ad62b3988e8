//! Where pods can be reached on their nodes' machines: kept in memory only, as nodes tell it anew with every session.

use std::{collections::HashMap, sync::Mutex};

use dunlin_link::{PodUid, status::LocalEndpoint};

/// The local endpoints of all pods.
#[derive(Debug, Default)]
pub struct LocalEndpoints {
    /// A mutex, because an entry is read or replaced whole and nothing waits meanwhile.
    by_pod: Mutex<HashMap<PodUid, Vec<LocalEndpoint>>>,
}

impl LocalEndpoints {
    /// Replaces what is known of a pod; an empty list forgets it.
    pub fn set(&self, pod: &PodUid, endpoints: Vec<LocalEndpoint>) {
        let mut by_pod = self.lock();
        if endpoints.is_empty() {
            by_pod.remove(pod);
        } else {
            by_pod.insert(pod.clone(), endpoints);
        }
    }

    /// What is known of a pod.
    pub fn of(&self, pod: &PodUid) -> Vec<LocalEndpoint> {
        self.lock().get(pod).cloned().unwrap_or_default()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PodUid, Vec<LocalEndpoint>>> {
        // Entries are replaced whole, so that a panic elsewhere leaves none half-written.
        self.by_pod.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
