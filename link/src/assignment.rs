//! What a node is told to run: the desired set on the coordinator, and the changes that carry it over.
//!
//! Deletion is never by absence: a pod ends only by its [`Tombstone`], and is forgotten only once the coordinator confirms that
//! the stop was recorded. A pod that a snapshot neither names nor buries is held, with an event.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    Digest, PodUid, Revision, UnixMillis,
    pod::{ConfigObject, PodAssignment},
    sealed::Content,
};

/// Everything one node should run, as of `revision`. Shared, cheap to clone, replaced whole.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// Rises with every change of this node's set; never falls, over coordinator restarts too.
    pub revision: Revision,
    /// Pods by uid.
    pub pods: Arc<BTreeMap<PodUid, AssignedPod>>,
    /// Pods to stop: those being deleted, and force-deleted ones until the node confirms.
    pub tombstones: Arc<BTreeMap<PodUid, Tombstone>>,
    /// ConfigMaps and Secrets that the pods name, by content.
    pub objects: Arc<BTreeMap<Digest, Arc<ConfigObject>>>,
}

/// A pod with the revision at which its assignment last changed.
#[derive(Clone, Debug)]
pub struct AssignedPod {
    /// At most the set's own revision.
    pub revision: Revision,
    /// What to run.
    pub assignment: Arc<PodAssignment>,
}

/// The order to stop a pod for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The pod.
    pub uid: PodUid,
    /// `metadata.namespace`, for reports.
    pub namespace: String,
    /// `metadata.name`, for reports.
    pub name: String,
    /// Seconds that guests have to stop by themselves; 0 kills at once.
    pub grace_seconds: u32,
    /// When the API accepted the deletion, by the coordinator's clock.
    pub requested_at: UnixMillis,
}

/// One complete change of a node's set, put together from its frames; the node commits it in one transaction, then acks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignmentChange {
    /// The restore of the cluster that its revisions belong to; it is the session's, which the receiving side fills in.
    pub restore_generation: u64,
    /// The version of the protocol that it came by; it is the session's, which the receiving side fills in.
    pub protocol: u16,
    /// `None` for a snapshot; otherwise the revision that the node must hold for this delta to apply.
    pub base: Option<Revision>,
    /// The revision that the node holds afterwards.
    pub revision: Revision,
    /// New or changed pods with the revisions of their assignments.
    pub upserts: Vec<(Revision, PodAssignment)>,
    /// Pods to stop.
    pub tombstones: Vec<Tombstone>,
    /// Pods whose end the coordinator has recorded: drop all memory of them.
    pub forget: Vec<PodUid>,
    /// Content that the node did not hold yet.
    pub objects: Vec<(Digest, Content)>,
    /// Digest over (uid, revision) of all pods and (uid, grace) of all tombstones after the change.
    pub state_digest: Digest,
}

/// A pod that the node will not run, and why. It stays in the node's set and is reported as failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The pod.
    pub uid: PodUid,
    /// For instance `OutOfpods`.
    pub reason: String,
    /// For a person.
    pub message: String,
}

/// Digest of a set: SHA-256 over the sorted (uid, revision) pairs of pods and (uid, seconds of grace) pairs of tombstones.
pub fn state_digest<'a>(
    pods: impl Iterator<Item = (&'a PodUid, Revision)>,
    tombstones: impl Iterator<Item = (&'a PodUid, u32)>,
) -> Digest {
    use sha2::{Digest as _, Sha256};
    let mut hash = Sha256::new();
    let mut pods: Vec<_> = pods.collect();
    pods.sort();
    for (uid, revision) in pods {
        hash.update(uid.as_str().as_bytes());
        hash.update([0]);
        hash.update(revision.0.to_le_bytes());
    }
    hash.update([1]);
    let mut tombstones: Vec<_> = tombstones.collect();
    tombstones.sort();
    for (uid, grace_seconds) in tombstones {
        hash.update(uid.as_str().as_bytes());
        hash.update([0]);
        hash.update(grace_seconds.to_le_bytes());
    }
    Digest::from_bytes(hash.finalize().into())
}
