//! Decides the next change to send: what takes a node from what it is known to hold to what it should hold.

use std::collections::BTreeSet;

use crate::{
    Digest, PodUid, Revision,
    assignment::{AssignmentChange, Desired},
    held::HeldSet,
    sealed::Content,
};

/// What the coordinator knows of a node's set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing but the revision: only a snapshot helps.
    Revision(Revision),
    /// That it says to hold this, which is later than the desired set: that is still being read, and tells nothing yet.
    Later(Revision, Digest),
    /// That it once acknowledged this revision: a delta will do, and its digest tells whether that was right.
    Base(Revision),
    /// All of it.
    Set(HeldSet),
}

impl Known {
    /// The revision that the node holds.
    pub(super) const fn revision(&self) -> Revision {
        match self {
            Self::Revision(revision) | Self::Later(revision, _) | Self::Base(revision) => *revision,
            Self::Set(held) => held.revision,
        }
    }
}

/// A change and what the node holds once it has committed it.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    /// What to send.
    pub(super) change: AssignmentChange,
    /// What the node then holds.
    pub(super) after: HeldSet,
}

/// The next change, if any. `forget` are pods whose end is recorded; `forgotten` those that the node has already forgotten but
/// that the desired set still names.
pub(super) fn plan(
    desired: &Desired,
    known: &Known,
    forget: &BTreeSet<PodUid>,
    forgotten: &BTreeSet<PodUid>,
) -> Option<Planned> {
    let mut after = HeldSet::of(desired);
    after.pods.retain(|uid, _| !forget.contains(uid) && !forgotten.contains(uid));
    after.tombstones.retain(|uid, _| !forget.contains(uid) && !forgotten.contains(uid));
    if after.revision < known.revision() {
        // The desired set is still being read after a start of the coordinator: an older state is never sent.
        return None;
    }
    match known {
        Known::Revision(_) | Known::Later(..) => Some(snapshot(desired, after, forget)),
        Known::Base(base) => Some(delta_from_base(desired, after, *base, forget)),
        Known::Set(held) if is_same(held, &after) && forget.is_empty() => None,
        Known::Set(held) if loses_a_pod(held, &after, forget) => Some(snapshot(desired, after, forget)),
        Known::Set(held) => Some(delta(desired, after, held, forget)),
    }
}

/// Whether two sets name the same pods at the same revisions and the same tombstones with the same grace.
fn is_same(held: &HeldSet, after: &HeldSet) -> bool {
    held.pods == after.pods && held.tombstones == after.tombstones
}

/// Whether a pod would have to vanish without a tombstone, which a delta cannot express and a snapshot turns into holding it.
fn loses_a_pod(held: &HeldSet, after: &HeldSet, forget: &BTreeSet<PodUid>) -> bool {
    held.pods.keys().any(|uid| {
        !after.pods.contains_key(uid) && !held.tombstones.contains_key(uid) && !forget.contains(uid)
    })
}

fn snapshot(desired: &Desired, after: HeldSet, forget: &BTreeSet<PodUid>) -> Planned {
    let objects =
        desired.objects.iter().map(|(digest, object)| (*digest, Content::Clear(object.clone()))).collect();
    let upserts = after.pods.keys().cloned().collect();
    let tombstones = after.tombstones.keys().cloned().collect();
    let mut change = carry(desired, &after, &upserts, &tombstones);
    change.objects = objects;
    change.forget = forget.iter().cloned().collect();
    Planned { change, after }
}

fn delta_from_base(desired: &Desired, after: HeldSet, base: Revision, forget: &BTreeSet<PodUid>) -> Planned {
    let upserts =
        after.pods.iter().filter(|(_, revision)| **revision > base).map(|(uid, _)| uid.clone()).collect();
    let tombstones = after.tombstones.keys().cloned().collect();
    let mut change = carry(desired, &after, &upserts, &tombstones);
    change.base = Some(base);
    change.objects = objects_only_of(desired, &after, &upserts);
    change.forget = forget.iter().cloned().collect();
    Planned { change, after }
}

fn delta(desired: &Desired, after: HeldSet, held: &HeldSet, forget: &BTreeSet<PodUid>) -> Planned {
    let upserts = after
        .pods
        .iter()
        .filter(|(uid, revision)| held.pods.get(uid) != Some(revision))
        .map(|(uid, _)| uid.clone())
        .collect();
    let tombstones = after
        .tombstones
        .iter()
        .filter(|(uid, grace)| held.tombstones.get(uid) != Some(grace))
        .map(|(uid, _)| uid.clone())
        .collect();
    let mut change = carry(desired, &after, &upserts, &tombstones);
    change.base = Some(held.revision);
    change.objects = objects_only_of(desired, &after, &upserts);
    let recorded = held.tombstones.keys().filter(|uid| !after.tombstones.contains_key(*uid));
    change.forget = forget.union(&recorded.cloned().collect()).cloned().collect();
    Planned { change, after }
}

/// A change with these pods and tombstones of the desired set.
fn carry(
    desired: &Desired,
    after: &HeldSet,
    upserts: &BTreeSet<PodUid>,
    tombstones: &BTreeSet<PodUid>,
) -> AssignmentChange {
    let pods = upserts.iter().filter_map(|uid| desired.pods.get(uid));
    AssignmentChange {
        restore_generation: 0,
        protocol: 0,
        base: None,
        revision: after.revision,
        upserts: pods.map(|pod| (pod.revision, (*pod.assignment).clone())).collect(),
        tombstones: tombstones.iter().filter_map(|uid| desired.tombstones.get(uid)).cloned().collect(),
        forget: Vec::new(),
        objects: Vec::new(),
        state_digest: after.digest(),
    }
}

/// The content that these pods name and no other pod of the set does: what the others name, the node has.
fn objects_only_of(desired: &Desired, after: &HeldSet, upserts: &BTreeSet<PodUid>) -> Vec<(Digest, Content)> {
    let wanted = named_by(desired, upserts.iter());
    if wanted.is_empty() {
        return Vec::new();
    }
    let there = named_by(desired, after.pods.keys().filter(|uid| !upserts.contains(*uid)));
    let missing = wanted.difference(&there);
    missing
        .filter_map(|digest| {
            desired.objects.get(digest).map(|object| (*digest, Content::Clear(object.clone())))
        })
        .collect()
}

/// The content that these pods name.
fn named_by<'a>(desired: &Desired, uids: impl Iterator<Item = &'a PodUid>) -> BTreeSet<Digest> {
    let pods = uids.filter_map(|uid| desired.pods.get(uid));
    pods.flat_map(|pod| pod.assignment.config.iter().filter_map(|config| config.digest)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{UnixMillis, assignment::Tombstone};

    fn buried(grace_seconds: u32, revision: u64) -> Desired {
        let uid = PodUid::new("u");
        let tombstone = Tombstone {
            uid: uid.clone(),
            namespace: "default".into(),
            name: "p".into(),
            grace_seconds,
            requested_at: UnixMillis(0),
        };
        let tombstones = Arc::new([(uid, tombstone)].into());
        Desired { revision: Revision(revision), tombstones, ..Desired::default() }
    }

    #[test]
    fn a_tombstone_with_another_grace_is_sent_again() {
        let (first, second) = (buried(30, 1), buried(1, 2));
        let held = HeldSet::of(&first);
        let none = BTreeSet::new();
        let known = Known::Set(held.clone());
        assert!(plan(&first, &known, &none, &none).is_none());
        let Planned { change, after } = plan(&second, &known, &none, &none).unwrap();
        assert_eq!(change.tombstones.iter().map(|sent| sent.grace_seconds).collect::<Vec<_>>(), [1]);
        assert_eq!((change.base, change.forget.len()), (Some(Revision(1)), 0));
        // A node that was away is known by its digest alone.
        assert_ne!(held.digest(), after.digest());
        let mut applied = held;
        assert!(applied.apply(&change).is_empty());
        assert_eq!(applied, after);
    }
}
