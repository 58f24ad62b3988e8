//! Which volume a claim may have, and which of several it gets.

use std::sync::Arc;

use crate::{
    ObjectKey,
    view::{Asked, BindingMode, Claim, View, VolumeInfo},
};

/// The volume for a claim that names none: the one that is kept for it, or the smallest that will do of those that are free.
pub(super) fn find<'a>(
    view: &'a View,
    key: &ObjectKey,
    claim: &Claim,
) -> Option<(&'a Arc<str>, &'a VolumeInfo)> {
    let kept = view.volumes_naming(key).filter_map(|name| Some((name, view.volume(name)?)));
    let mut kept = kept.filter(|(_, volume)| volume.claim.as_ref().is_some_and(|of| of.admits(key, claim)));
    if let Some(kept) = kept.find(|(_, volume)| is_enough(volume, claim)) {
        return Some(kept);
    }
    if is_delayed(view, claim) {
        // Which of them is right is known only when a pod is placed.
        return None;
    }
    // One that can do more than is asked is left to others; then the smallest.
    let rank = |(name, volume): &(&'a Arc<str>, &VolumeInfo)| {
        (volume.offered.modes.len(), volume.offered.storage, *name)
    };
    view.volumes().filter(|(_, volume)| may_have(volume, claim)).min_by_key(rank)
}

/// Whether a volume is free, and would do for a claim that names none.
pub(crate) fn may_have(volume: &VolumeInfo, claim: &Claim) -> bool {
    volume.claim.is_none()
        && volume.phase == super::phase::AVAILABLE
        && volume.class == claim.class()
        && is_enough(volume, claim)
        && claim.selector.as_ref().is_none_or(|selector| selector.matches_labels(&volume.labels))
}

fn is_enough(volume: &VolumeInfo, claim: &Claim) -> bool {
    volume.offered.storage >= claim.asked.storage
        && is_same_kind(&volume.offered, &claim.asked)
        && volume.offered.modes.is_superset(&claim.asked.modes)
        && !volume.deleting
}

/// Whether a claim waits for a pod that needs it.
pub(super) fn is_delayed(view: &View, claim: &Claim) -> bool {
    view.binding_mode(claim) == BindingMode::WaitForFirstConsumer && !claim.notes.has_node
}

/// Why a volume that a claim names is not for it, in Kubernetes' words.
pub(super) fn mismatch(volume: &VolumeInfo, claim: &Claim) -> Option<&'static str> {
    let (offered, asked) = (&volume.offered, &claim.asked);
    if offered.storage < asked.storage {
        Some("requested PV is too small")
    } else if volume.class != claim.class() {
        Some("storageClassName does not match")
    } else if offered.attributes != asked.attributes {
        Some("VolumeAttributesClassName does not match")
    } else if is_device(offered) != is_device(asked) {
        Some("incompatible volumeMode")
    } else if !offered.modes.is_superset(&asked.modes) {
        Some("incompatible accessMode")
    } else {
        None
    }
}

fn is_same_kind(offered: &Asked, asked: &Asked) -> bool {
    is_device(offered) == is_device(asked) && offered.attributes == asked.attributes
}

/// Whether it is a device, and not a file system, which is the default.
fn is_device(what: &Asked) -> bool {
    what.volume_mode == "Block"
}
