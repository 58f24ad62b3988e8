//! What is being written beside the driver's task, and how that ended.

use std::collections::HashMap;

use dunlin_api::Status;
use dunlin_coordinator_core::{ObjectKey, reconciler::Key};
use dunlin_link::{NodeName, Revision};
use tokio::task::{Id, JoinSet};

/// How a job ended.
#[derive(Debug)]
pub(super) enum Done {
    /// A controller's plan.
    Reconciled {
        /// What it was about.
        key: Key,
        /// Whether all of it was carried out.
        result: Result<(), Status>,
        /// A revision that is not before anything that it wrote.
        written: Revision,
    },
    /// A binding.
    Bound {
        /// The pod.
        key: ObjectKey,
        /// The node it was to be bound to.
        node: NodeName,
        /// Whether it is.
        result: Result<(), Status>,
    },
    /// Pods were to go for another's sake.
    Preempted {
        /// The other pod.
        key: ObjectKey,
        /// Whether all go.
        result: Result<(), Status>,
    },
    /// Something that nobody waits for.
    Told,
    /// The job panicked.
    Lost(Lost),
}

/// What a job that panics was about.
#[derive(Clone, Debug)]
pub(super) enum Lost {
    /// A controller's plan.
    Key(Key),
    /// A pod's binding.
    Pod(ObjectKey),
    /// The end of pods for this one's sake.
    Preemption(ObjectKey),
    /// Nothing that has to be done again.
    Nothing,
}

#[derive(Debug, Default)]
pub(super) struct Jobs {
    running: JoinSet<Done>,
    about: HashMap<Id, Lost>,
}

impl Jobs {
    /// Runs a job.
    pub(super) fn spawn(&mut self, about: Lost, job: impl Future<Output = Done> + Send + 'static) {
        let id = self.running.spawn(job).id();
        self.about.insert(id, about);
    }

    /// Whether more pods may be placed now.
    pub(super) fn has_room(&self) -> bool {
        self.running.len() < JOBS_MAX
    }

    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    /// The next job that ends; never, while there is none.
    pub(super) async fn next(&mut self) -> Done {
        match self.running.join_next_with_id().await {
            Some(Ok((id, done))) => {
                self.about.remove(&id);
                done
            }
            Some(Err(error)) => {
                tracing::error!(%error, "a job of the driver panicked");
                Done::Lost(self.about.remove(&error.id()).unwrap_or(Lost::Nothing))
            }
            None => std::future::pending().await,
        }
    }
}

/// Jobs under way at once before no more pods are placed: enough to fill the store's groups.
const JOBS_MAX: usize = 512;
