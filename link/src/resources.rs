//! What a pod says of resources beside the CPU and memory of its containers: the pod's own, large pages in volumes, and disk. Since
//! version 8.
//!
//! It is a part of a [`crate::pod::PodAssignment`] that travels in a frame of its own, because a released struct never changes. A peer of
//! an older version is not told of it, and runs the pod without.

use serde::{Deserialize, Serialize};

use crate::{
    Bytes, PodUid,
    frame::{Kind, Message},
    pod::Resources,
};

/// Of one pod. The default is that of a pod that says nothing, and is not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodResources {
    /// `spec.resources`: what its containers may use together.
    pub pod: Resources,
    /// `spec.resources.limits` of huge pages: bytes of a page, bytes of all.
    pub huge_pages: Vec<(Bytes, Bytes)>,
    /// Volumes of `emptyDir` whose medium is large pages; [`crate::volumes::PodVolumes`] has them, too.
    pub huge_volumes: Vec<HugeVolume>,
    /// Init containers, then containers, each in the order of the spec; empty when none says anything.
    pub disk: Vec<DiskResources>,
}

/// An `emptyDir` of large pages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HugeVolume {
    /// Name of the volume.
    pub volume: String,
    /// Bytes of a page; `None` for those that the pod asks for, which have to be of one size.
    pub page: Option<Bytes>,
}

/// `ephemeral-storage` of one container: what it writes into its own files, and its logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskResources {
    /// `requests`.
    pub request: Option<Bytes>,
    /// `limits`.
    pub limit: Option<Bytes>,
}

/// What the pods that follow in the same change say; of those only that say anything. Since version 8.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignmentResources {
    /// By pod.
    pub resources: Vec<(PodUid, PodResources)>,
}

impl PodResources {
    /// The disk of the container at a place, init containers first.
    pub fn disk_of(&self, index: usize) -> DiskResources {
        self.disk.get(index).copied().unwrap_or_default()
    }

    /// Whether nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Message for AssignmentResources {
    const KIND: Kind = Kind(0x011F);
}
