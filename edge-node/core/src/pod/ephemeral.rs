//! Containers that were added to the pod: each runs once, beside all others, for as long as the pod goes on.
//!
//! They wait for nothing but their images, and nothing waits for them: neither phase nor readiness, nor what runs next.

use std::sync::Arc;

use dunlin_link::{ContainerId, pod::PodAssignment};

use super::{
    ContainerIndex, Pod,
    worker::{Run, Worker},
};
use crate::clock::Now;

impl Pod {
    /// Whether a container was added to the pod.
    pub fn is_ephemeral(&self, index: ContainerIndex) -> bool {
        index.0 >= self.assignment.spec.container_count()
    }

    /// Whether it is one of `spec.containers`.
    pub(super) fn is_main(&self, index: ContainerIndex) -> bool {
        !self.is_init(index) && !self.is_ephemeral(index)
    }

    /// The containers of `spec.containers`.
    pub(super) fn mains(&self) -> impl Iterator<Item = ContainerIndex> + use<'_> {
        self.indexes().filter(|index| self.is_main(*index))
    }

    /// Whose processes a Linux container is to see, if it names one.
    ///
    /// # Errors
    /// In words, when that one does not run.
    pub fn process_target(&self, index: ContainerIndex) -> Result<Option<ContainerId>, String> {
        let added = index.0.checked_sub(self.assignment.spec.container_count());
        let added = added.and_then(|place| self.assignment.ephemeral.containers.get(place));
        let Some(target) = added.map(|added| added.target.as_str()).filter(|target| !target.is_empty())
        else {
            return Ok(None);
        };
        let found = self.indexes().find(|other| self.container(*other).name == target);
        match found.map(|found| &self.worker(found).run) {
            Some(Run::Running { id, .. }) => Ok(Some(id.clone())),
            _ => Err(format!("target container {target:?} is not running")),
        }
    }

    /// Starts those that have not run.
    pub(super) fn run_ephemeral(&mut self, now: Now) {
        for index in (self.assignment.spec.container_count()..self.workers.len()).map(ContainerIndex) {
            self.step(index, now);
        }
    }

    /// Has workers for all that were added by now.
    pub(super) fn employ(&mut self) {
        let count = self.assignment.containers().count();
        self.workers.resize_with(count, Worker::default);
    }
}

/// The assignment `new`, with what was added in the order in which it is known already: places name containers. What `new` lacks of that
/// stays, because a container is never taken from a pod.
pub(super) fn keep_places(new: Arc<PodAssignment>, before: &PodAssignment) -> Arc<PodAssignment> {
    let known = &before.ephemeral.containers;
    let is_in_place = new.ephemeral.containers.len() >= known.len()
        && new
            .ephemeral
            .containers
            .iter()
            .zip(known)
            .all(|(new, old)| new.container.name == old.container.name);
    if is_in_place {
        return new;
    }
    let mut pod = Arc::unwrap_or_clone(new);
    let mut named = std::mem::take(&mut pod.ephemeral.containers);
    for old in known {
        let place = named.iter().position(|added| added.container.name == old.container.name);
        pod.ephemeral.containers.push(place.map_or_else(|| old.clone(), |place| named.remove(place)));
    }
    pod.ephemeral.containers.append(&mut named);
    Arc::new(pod)
}
