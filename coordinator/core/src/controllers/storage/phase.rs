//! The phase of a volume, from the claim that it names.

use std::sync::Arc;

use serde_json::json;

use super::{
    super::{Action, StatusChange, WorkloadAction},
    BY, volume_id,
};
use crate::view::{View, VolumeInfo};

/// What is next for a volume: its phase, or that it is let go by a claim which has another.
///
/// One whose claim is gone is `Released`. What becomes of it then is up to whoever made it: nothing here deletes or empties volumes.
pub(super) fn advance(view: &View, name: &Arc<str>, volume: &VolumeInfo) -> Option<Action> {
    let (id, uid) = (volume_id(name), Arc::clone(&volume.uid));
    let claimed = volume.claim.as_ref().filter(|claim| !claim.uid.is_empty());
    let phase = match claimed {
        // It is free, or kept for a claim that does not have it yet.
        None => AVAILABLE,
        Some(of) => match view.claim(&of.key).filter(|claim| of.is(&of.key, claim)) {
            // That it could not be emptied stays known.
            None if volume.phase == FAILED => FAILED,
            None => RELEASED,
            Some(claim) if claim.volume.as_deref().is_none_or(|has| *has == **name) => BOUND,
            Some(_) => {
                let unclaim = WorkloadAction::UnclaimVolume { id, uid, claim_uid: of.uid.as_str().into() };
                return Some(Action::Workload(BY, unclaim));
            }
        },
    };
    (volume.phase != phase).then(|| {
        let change = StatusChange::of_fields(json!({ "phase": phase, "message": null, "reason": null }));
        Action::Workload(BY, WorkloadAction::WriteStatus { id, uid, change })
    })
}

/// A volume that a claim may have.
pub(super) const AVAILABLE: &str = "Available";

/// One that a claim has.
pub(super) const BOUND: &str = "Bound";

/// One whose claim is gone.
const RELEASED: &str = "Released";

/// One that could not be emptied or deleted after its claim was gone.
const FAILED: &str = "Failed";
