//! Containers that were added to a pod after it was made: `spec.ephemeralContainers`. Since version 8.
//!
//! They are a part of a [`crate::pod::PodAssignment`] that travels in a frame of its own, because a released struct never changes. A peer of
//! an older version is not told of them, and runs the pod without. Their statuses follow those of the pod's containers in
//! [`crate::status::PodStatusReport::containers`].

use serde::{Deserialize, Serialize};

use crate::{
    PodUid,
    frame::{Kind, Message},
    linux::ContainerLinux,
    pod::Container,
    volumes::ContainerFiles,
};

/// Of one pod. The default is none, and is not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodEphemeral {
    /// In the order of the spec. One that was told is never taken back or changed.
    pub containers: Vec<EphemeralContainer>,
}

/// One such container, with all that is said of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EphemeralContainer {
    /// Like any other; its name is unique in the pod.
    pub container: Container,
    /// `targetContainerName`: whose processes it sees; empty for none.
    pub target: String,
    /// What files it sees.
    pub files: ContainerFiles,
    /// What only a Linux container can honour.
    pub linux: ContainerLinux,
}

/// What was added to the pods that follow in the same change; of those only to which something was. Since version 8.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignmentEphemeral {
    /// By pod.
    pub ephemeral: Vec<(PodUid, PodEphemeral)>,
}

impl PodEphemeral {
    /// Whether there is none.
    pub const fn is_default(&self) -> bool {
        self.containers.is_empty()
    }
}

impl Message for AssignmentEphemeral {
    const KIND: Kind = Kind(0x011E);
}
