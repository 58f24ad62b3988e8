//! What volumes hold of the coordinator's own registry, with every field filled.

use dunlin_link::{
    Digest, PodUid,
    volume_images::{AssignmentVolumeImages, PodVolumeImages, VolumeImage},
};

/// Those of two pods.
pub(crate) fn volume_images() -> AssignmentVolumeImages {
    let image = |volume: &str, digest: Option<Digest>, unresolved: &str| VolumeImage {
        volume: volume.into(),
        digest,
        unresolved: unresolved.into(),
    };
    let model = image("model", Some(Digest::from_bytes([9; 32])), "");
    let missing = image("site", None, "nothing was pushed as `dunlin.local/site:1`");
    AssignmentVolumeImages {
        images: vec![
            (PodUid::new("uid-1"), PodVolumeImages { volumes: vec![model.clone(), missing] }),
            (PodUid::new("uid-2"), PodVolumeImages { volumes: vec![model] }),
        ],
    }
}
