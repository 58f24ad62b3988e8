//! Volumes that hold images of the coordinator's own registry: what these images are. Since version 7.
//!
//! Which volumes a pod has, and who mounts them, is in [`crate::linux::PodLinux`]. Images of other registries nodes resolve by themselves.

use serde::{Deserialize, Serialize};

use crate::{
    Digest, PodUid,
    frame::{Kind, Message},
};

/// What the volumes of one pod hold of the coordinator's own registry. The default is nothing, and is not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodVolumeImages {
    /// In the order of the spec.
    pub volumes: Vec<VolumeImage>,
}

/// An image that is a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeImage {
    /// Name of the volume, which [`crate::linux::PodLinux`] has.
    pub volume: String,
    /// Of the manifest or index; `None` when the name leads to none.
    pub digest: Option<Digest>,
    /// Why there is no digest; empty when there is one.
    pub unresolved: String,
}

/// What the pods that follow in the same change hold as volumes; of those only that have such. Since version 7.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignmentVolumeImages {
    /// By pod.
    pub images: Vec<(PodUid, PodVolumeImages)>,
}

impl PodVolumeImages {
    /// What a volume holds, if that is of the coordinator's own registry.
    pub fn of(&self, volume: &str) -> Option<&VolumeImage> {
        self.volumes.iter().find(|image| image.volume == volume)
    }

    /// Whether there is none.
    pub const fn is_default(&self) -> bool {
        self.volumes.is_empty()
    }
}

impl Message for AssignmentVolumeImages {
    const KIND: Kind = Kind(0x011D);
}
