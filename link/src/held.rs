//! The set that a node holds, reduced to what the digest covers: the same function decides it on both sides of the link.

use std::collections::BTreeMap;

use crate::{
    Digest, PodUid, Revision,
    assignment::{AssignmentChange, Desired, Tombstone, state_digest},
};

/// Pods with the revisions of their assignments, and tombstones, after the change of `revision`. A tombstone takes its pod's place.
///
/// A snapshot replaces both sets. Pods that it neither names nor buries leave this set, though the node goes on running them:
/// they are *held*, known to the node's own state only, until a later change names, buries or forgets them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldSet {
    /// Of the last change.
    pub revision: Revision,
    /// Assigned pods that have no tombstone.
    pub pods: BTreeMap<PodUid, Revision>,
    /// Pods to stop or stopped, until they are forgotten, with the seconds that each was given: a later order may give less.
    pub tombstones: BTreeMap<PodUid, u32>,
}

impl HeldSet {
    /// What a node holds once it has all of `desired`.
    pub fn of(desired: &Desired) -> Self {
        Self {
            revision: desired.revision,
            pods: desired
                .pods
                .iter()
                .filter(|(uid, _)| !desired.tombstones.contains_key(*uid))
                .map(|(uid, pod)| (uid.clone(), pod.revision))
                .collect(),
            tombstones: desired.tombstones.iter().map(grace_of).collect(),
        }
    }

    /// Applies a change whose base was checked; answers the pods that a snapshot leaves held.
    pub fn apply(&mut self, change: &AssignmentChange) -> Vec<PodUid> {
        let before = match change.base {
            Some(_) => BTreeMap::new(),
            None => {
                self.tombstones.clear();
                std::mem::take(&mut self.pods)
            }
        };
        self.revision = change.revision;
        self.pods.extend(change.upserts.iter().map(|(revision, pod)| (pod.uid.clone(), *revision)));
        self.tombstones
            .extend(change.tombstones.iter().map(|tombstone| grace_of((&tombstone.uid, tombstone))));
        self.pods.retain(|uid, _| !self.tombstones.contains_key(uid));
        for uid in &change.forget {
            self.pods.remove(uid);
            self.tombstones.remove(uid);
        }
        let is_named = |uid: &PodUid| {
            self.pods.contains_key(uid) || self.tombstones.contains_key(uid) || change.forget.contains(uid)
        };
        before.into_keys().filter(|uid| !is_named(uid)).collect()
    }

    /// Digest over both sets.
    pub fn digest(&self) -> Digest {
        state_digest(
            self.pods.iter().map(|(uid, revision)| (uid, *revision)),
            self.tombstones.iter().map(|(uid, grace)| (uid, *grace)),
        )
    }
}

/// What of a tombstone both sides must agree on.
fn grace_of((uid, tombstone): (&PodUid, &Tombstone)) -> (PodUid, u32) {
    (uid.clone(), tombstone.grace_seconds)
}
