//! What a pod's machine asks of the shell, and the answers it takes.

use dunlin_link::{ContainerId, Digest, pod::PullPolicy, status::NodeEvent};

use crate::check::{Check, CheckTicket};

/// The place of a container in its pod: init containers first, then containers, in the order of the spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerIndex(pub usize);

/// Everything a pod's machine may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Make the module present; answered by `handle_pull`.
    Pull {
        /// For which container.
        container: ContainerIndex,
        /// Which module.
        digest: Digest,
        /// Whether it may come from the coordinator.
        fetch: Fetch,
    },
    /// Make an image of another registry than the coordinator present; answered by `handle_image`.
    PullImage {
        /// For which container.
        container: ContainerIndex,
        /// What to do.
        pull: ImagePull,
    },
    /// Find out what the pod's images are; answered by `handle_surveyed`.
    Survey,
    /// Make a sandbox for the pod alone; answered by `handle_opened` or `handle_not_opened`.
    Open,
    /// Put a container together and have the sandbox start it; answered by `handle_created`, `handle_begun`, `handle_not_mounted` or
    /// `handle_config_error`, if the pod still awaits it.
    Create {
        /// Which container.
        container: ContainerIndex,
        /// Its id for this run.
        id: ContainerId,
        /// Number of the run.
        attempt: u32,
    },
    /// Have the sandbox stop a container.
    Stop {
        /// Which.
        id: ContainerId,
        /// Milliseconds until it is interrupted.
        grace_ms: u64,
    },
    /// Look at a container that runs; answered by `handle_checked`, unless the run ends before.
    Check {
        /// Which container.
        container: ContainerIndex,
        /// Its run.
        id: ContainerId,
        /// To be given back with the answer.
        ticket: CheckTicket,
        /// What to do.
        check: Check,
    },
    /// Have the sandbox forget a container that has ended.
    Remove {
        /// Which.
        id: ContainerId,
    },
    /// Tell the coordinator.
    Event(NodeEvent),
}

/// An image of another registry than the coordinator, which the node pulls by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagePull {
    /// As the pod names it; it is a reference.
    pub reference: String,
    /// When to ask the registry.
    pub policy: PullPolicy,
    /// What the container ran before. It serves when the registry is out of reach.
    pub last: Option<Digest>,
}

/// How the pull of an image goes. Digests are those of the image, by which the node keeps its module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PulledImage {
    /// It was here already, and nobody was to be asked.
    Present(Digest),
    /// The registry is being asked; another answer follows.
    Fetching,
    /// It is here, as the registry has it now.
    Fetched {
        /// The image's.
        digest: Digest,
        /// How long that took.
        took_ms: u64,
        /// The module's size.
        size_bytes: u64,
    },
    /// The registry is out of reach, and what the container ran before is here.
    Kept {
        /// The image's.
        digest: Digest,
        /// Why the registry was of no use.
        why: String,
    },
    /// It is not here and must not be fetched.
    Absent,
    /// It could not be fetched.
    Failed(String),
}

/// Whether a module may be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// If it is not present.
    Allowed,
    /// Never: `imagePullPolicy: Never`.
    Forbidden,
}

/// How a pull goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pulled {
    /// The module was here already.
    Present,
    /// It is not here and is being fetched; another answer follows.
    Fetching,
    /// It was fetched.
    Fetched {
        /// How long that took.
        took_ms: u64,
        /// The module's size.
        size_bytes: u64,
    },
    /// It is not here and must not be fetched.
    Absent,
    /// It could not be fetched.
    Failed(String),
}

/// Whether a pod knows something that its stored memory does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recording {
    /// Nothing new.
    Clean,
    /// To be written within a second, together with other pods'.
    Soon,
    /// To be durable before it is reported: what ended for good must never run again.
    First,
}
