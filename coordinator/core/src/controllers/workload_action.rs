//! What controllers of workloads want done: each in the name, and with the rights, of one [`Component`](super::tell::Component).

use std::sync::Arc;

use serde_json::Value;

use super::{create::Creation, status_change::StatusChange, tell::Severity};
use crate::view::{ObjectId, ObjectKey, Resource};

/// One change of a workload, or of what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkloadAction {
    /// Create something for an owner, and say so at the owner.
    Create(Creation),
    /// Create an object that says all of itself.
    CreateObject {
        /// Its kind.
        resource: Resource,
        /// Its namespace.
        namespace: Arc<str>,
        /// The object.
        object: Value,
    },
    /// Change an object by a merge patch.
    Patch {
        /// The object.
        id: ObjectId,
        /// Its uid.
        uid: Arc<str>,
        /// `status`, or empty.
        subresource: &'static str,
        /// The patch.
        patch: Value,
    },
    /// Change the status of an object.
    WriteStatus {
        /// The object.
        id: ObjectId,
        /// Its uid.
        uid: Arc<str>,
        /// What of it.
        change: StatusChange,
    },
    /// Delete an object that belongs to an owner, and say so at the owner.
    DeleteOwned {
        /// The object.
        id: ObjectId,
        /// Its uid.
        uid: Arc<str>,
        /// Its owner.
        owner: ObjectId,
        /// The owner's uid.
        owner_uid: Arc<str>,
    },
    /// Make an object that has no controller the owner's.
    Adopt {
        /// The object.
        id: ObjectId,
        /// Its uid.
        uid: Arc<str>,
        /// The owner.
        owner: ObjectId,
        /// The owner's uid.
        owner_uid: Arc<str>,
    },
    /// Take the owner from an object that it no longer selects.
    Release {
        /// The object.
        id: ObjectId,
        /// Its uid.
        uid: Arc<str>,
        /// The owner's uid.
        owner: Arc<str>,
    },
    /// Give an object the pod template of an earlier revision, unless it was changed meanwhile.
    RestoreTemplate {
        /// The object.
        id: ObjectId,
        /// Its uid.
        uid: Arc<str>,
        /// Its generation.
        generation: i64,
        /// What keeps the revision.
        from: ObjectId,
        /// The uid of that.
        from_uid: Arc<str>,
    },
    /// Delete an object of which nobody needs to hear.
    Discard {
        /// The object.
        id: ObjectId,
        /// Its uid.
        uid: Arc<str>,
    },
    /// Take owners from an object, and give it another as its controller.
    Reown {
        /// The object.
        id: ObjectId,
        /// Its uid.
        uid: Arc<str>,
        /// Uids of the owners to take.
        gone: Vec<Arc<str>>,
        /// The new one and its uid.
        owner: Option<(ObjectId, Arc<str>)>,
    },
    /// Delete an object whose time is over, with what it owns.
    DeleteExpired {
        /// The object.
        id: ObjectId,
        /// Its uid.
        uid: Arc<str>,
    },
    /// Add a finalizer to an object that is to be kept until nobody uses it.
    Guard {
        /// The object.
        id: ObjectId,
        /// Its uid.
        uid: Arc<str>,
        /// The finalizer.
        finalizer: &'static str,
    },
    /// Take it away.
    Unguard {
        /// The object.
        id: ObjectId,
        /// Its uid.
        uid: Arc<str>,
        /// The finalizer.
        finalizer: &'static str,
    },
    /// Give a volume to a claim, unless another has it by now.
    ClaimVolume {
        /// The volume.
        id: ObjectId,
        /// Its uid.
        uid: Arc<str>,
        /// The claim.
        claim: ObjectKey,
        /// The claim's uid.
        claim_uid: Arc<str>,
    },
    /// Let a volume go that a claim does not want.
    UnclaimVolume {
        /// The volume.
        id: ObjectId,
        /// Its uid.
        uid: Arc<str>,
        /// The claim's uid.
        claim_uid: Arc<str>,
    },
    /// Say something about an object in an event.
    Tell {
        /// The object.
        about: ObjectId,
        /// Its uid.
        uid: Arc<str>,
        /// How much it matters.
        severity: Severity,
        /// Why, in one word.
        reason: &'static str,
        /// What happened.
        message: String,
    },
}
