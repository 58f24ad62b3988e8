//! What a node remembers of a pod besides its assignment, so that restarts of agent, runner and machine keep counts and ends.
//!
//! These are the stored records: a released struct never changes, a new shape is a new kind in the node's local store.

use dunlin_link::{ContainerId, Digest, UnixMillis, status::Terminated};
use serde::{Deserialize, Serialize};

/// One pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodMemory {
    /// Containers that ever ran, by name.
    pub containers: Vec<ContainerMemory>,
    /// How the pod ended, once nothing of it will run again.
    pub end: Option<End>,
    /// Why the node made it fail, if it did. No part of this struct's encoding: it is stored beside it.
    #[serde(skip)]
    pub failure: Option<Failure>,
}

/// Why a node ended a pod before its time; `status.reason` and `status.message` of the pod, which is `Failed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// `Evicted` for instance.
    pub reason: String,
    /// For a person.
    pub message: String,
}

/// One container of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerMemory {
    /// Its name.
    pub name: String,
    /// Number of the run, which is the restart count.
    pub attempt: u32,
    /// Digest of the module that runs or ran.
    pub digest: Option<Digest>,
    /// The run that is or was going on.
    pub run: RunMemory,
    /// The end of the run before.
    pub last: Option<Terminated>,
    /// Restart delay in milliseconds and when it last grew.
    pub backoff: Option<(u64, UnixMillis)>,
}

/// What is known of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunMemory {
    /// It was given to the sandbox.
    Live {
        /// Its container.
        id: ContainerId,
        /// Since when it ran.
        started_at: Option<UnixMillis>,
    },
    /// It ended.
    Ended(Terminated),
}

/// Why nothing of a pod will run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// All containers are done.
    Finished,
    /// `activeDeadlineSeconds` passed.
    Deadline,
    /// It was deleted.
    Deleted,
}

/// What a memory says, short enough to keep beside every pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    digest: Digest,
    pub(crate) end: Option<End>,
}

impl PodMemory {
    /// The facts in it. Times of backoff do not count: each reading computes them anew from two clocks.
    pub(crate) fn facts(&self) -> Facts {
        let mut timeless = self.clone();
        for container in &mut timeless.containers {
            container.backoff = container.backoff.map(|(delay_ms, _)| (delay_ms, UnixMillis(0)));
        }
        Facts { digest: Digest::of(&dunlin_link::codec::encode(&(&timeless, &self.failure))), end: self.end }
    }
}
