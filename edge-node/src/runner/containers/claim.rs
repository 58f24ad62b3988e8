//! The right to look into a container that runs: how many may have it, and where.

use std::sync::Arc;

use dunlin_link::{ContainerId, stream::StreamRefusal};

use super::{Containers, Live, Table};

/// A place for one command or attachment, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    containers: Arc<Containers>,
    id: ContainerId,
    pub(crate) live: Live,
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: StreamRefusal,
    pub(crate) message: String,
}

impl Containers {
    /// A place in a container.
    pub(crate) fn claim(self: &Arc<Self>, id: &ContainerId) -> Result<Claim, Refusal> {
        let mut table = self.table();
        let refused = |reason, message: String| Err(Refusal { reason, message });
        let Some((owner, live)) = table.running(id) else {
            return refused(StreamRefusal::NotRunning, "the container does not run any more".to_owned());
        };
        if table.streams_of(|_| true) >= STREAMS_MAX {
            let message = format!("this node has {STREAMS_MAX} commands and attachments already");
            return refused(StreamRefusal::TooMany, message);
        }
        if table.streams_of(|pod_uid| pod_uid == owner) >= POD_STREAMS_MAX {
            let message = format!("the pod has {POD_STREAMS_MAX} commands and attachments already");
            return refused(StreamRefusal::TooMany, message);
        }
        if let Some(entry) = table.containers.get_mut(id) {
            entry.streams += 1;
        }
        Ok(Claim { containers: Arc::clone(self), id: id.clone(), live })
    }

    /// Commands and attachments in all containers.
    #[cfg(test)]
    pub(crate) fn streams(&self) -> usize {
        self.table().streams_of(|_| true)
    }

    /// Where commands run.
    pub(crate) fn runtime(&self) -> &tokio::runtime::Handle {
        self.parts.host.handle()
    }
}

impl Table {
    /// The pod's uid and the container, if it runs.
    fn running(&self, id: &ContainerId) -> Option<(String, Live)> {
        let entry = self.containers.get(id)?;
        Some((entry.owner.pod_uid.clone(), entry.live.clone()?))
    }

    fn streams_of(&self, of: impl Fn(&str) -> bool) -> usize {
        let entries = self.containers.values().filter(|entry| of(&entry.owner.pod_uid));
        entries.map(|entry| entry.streams).sum()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // The container may have been removed since.
        if let Some(entry) = self.containers.table().containers.get_mut(&self.id) {
            entry.streams -= 1;
        }
    }
}

/// Commands and attachments in all containers of a node: each may be an instance and holds buffers.
const STREAMS_MAX: usize = 64;

/// The same in one pod, so that one does not take all places.
const POD_STREAMS_MAX: usize = 16;
