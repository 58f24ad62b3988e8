//! What the view keeps for the scheduler.

use std::sync::Arc;

use dunlin_link::{NodeName, reference::Reference};
use jiff::Timestamp;

use super::{ObjectKey, PodInfo, View};
use crate::scheduler::{Losses, Snapshot};

impl View {
    /// Keeps `node` for a pod that waits for others to go. False when the pod is gone or bound.
    pub fn nominate(&mut self, key: &ObjectKey, node: &NodeName, now: Timestamp) -> bool {
        self.set_nominated(key, Some(node.clone()), now)
    }

    /// Keeps no node for a pod any more. False when the pod is gone or bound.
    pub fn withdraw(&mut self, key: &ObjectKey, now: Timestamp) -> bool {
        self.set_nominated(key, None, now)
    }

    /// The fleet as the scheduler sees it.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Remembers that an image holds a Linux container: pods that name it go to no node that says it runs none.
    pub fn note_linux_image(&mut self, image: &Reference) {
        self.snapshot.note_linux_image(image);
    }

    /// Takes over what a record says that an image of the coordinator's own registry is for; `name` is what follows
    /// [`PLATFORMS_PREFIX`](crate::scheduler::PLATFORMS_PREFIX) in its key.
    pub fn set_own_image(&mut self, name: &str, record: Option<&[u8]>) {
        self.snapshot.own_images.set(name, record);
    }

    /// Remembers what another view does of images.
    pub fn take_linux_images(&mut self, other: &mut Self) {
        self.snapshot.linux_images = std::mem::take(&mut other.snapshot.linux_images);
    }

    pub(crate) fn snapshot_mut(&mut self) -> &mut Snapshot {
        &mut self.snapshot
    }

    pub(crate) fn take_losses(&mut self) -> Losses {
        std::mem::take(&mut self.losses)
    }

    pub(crate) fn put_losses(&mut self, losses: Losses) {
        self.losses = losses;
    }

    fn set_nominated(&mut self, key: &ObjectKey, nominated: Option<NodeName>, now: Timestamp) -> bool {
        let Some(pod) = self.pods.get(key).filter(|pod| pod.node.is_none()) else { return false };
        if pod.nominated != nominated {
            let changed = PodInfo { nominated, ..PodInfo::clone(pod) };
            self.remove_pod(key);
            self.insert_pod(key, Arc::new(changed), now);
        }
        true
    }
}
