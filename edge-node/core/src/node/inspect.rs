//! What a person on the machine sees and orders, through the agent's own socket.

use std::sync::Arc;

use dunlin_link::{PodUid, Revision, assignment::Tombstone, pod::PodAssignment, status::PodStatusReport};

use super::{NodeCore, Origin};
use crate::clock::Now;

/// One pod as the node has it now.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// What it runs.
    pub assignment: Arc<PodAssignment>,
    /// Its status now, sent or not.
    pub report: PodStatusReport,
    /// Who wants it.
    pub origin: Origin,
    /// Revision of its assignment; `None` for a pod that is held.
    pub revision: Option<Revision>,
    /// The order to stop it for good.
    pub tombstone: Option<Tombstone>,
    /// Whether it is known what of it runs.
    pub synced: bool,
}

impl NodeCore {
    /// All pods, by namespace and name.
    pub fn inspect(&mut self, now: Now) -> Vec<Inspected> {
        let tombstones = &self.tombstones;
        let mut pods: Vec<_> = self
            .pods
            .iter_mut()
            .map(|(uid, entry)| Inspected {
                assignment: Arc::clone(entry.pod.assignment()),
                report: entry.pod.status_now(now),
                origin: entry.origin,
                revision: entry.revision,
                tombstone: tombstones.get(uid).cloned(),
                synced: entry.pod.is_synced(),
            })
            .collect();
        let key = |pod: &Inspected| (pod.assignment.namespace.clone(), pod.assignment.name.clone());
        pods.sort_by_cached_key(key);
        pods
    }

    /// Restarts one container of a pod, or all, whatever its restart policy says; answers which.
    ///
    /// # Errors
    /// In words, when there is nothing to restart.
    pub fn handle_restart(
        &mut self,
        uid: &PodUid,
        container: Option<&str>,
        now: Now,
    ) -> Result<Vec<String>, String> {
        let mut answer = Err("pod not found on this node".to_owned());
        self.with_pod(uid, now, |pod, now| {
            answer = pod.handle_restart(container, now).map_err(|error| error.to_string());
        });
        answer
    }

    /// Changes that wait for the one being committed.
    pub fn waiting_changes(&self) -> usize {
        self.waiting.len()
    }

    /// How often this node's agent was started.
    pub const fn starts(&self) -> u64 {
        self.desk.node.starts
    }
}
