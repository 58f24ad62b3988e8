//! One node's desired set.

use std::{collections::HashMap, sync::Arc};

use dunlin_link::{
    Digest, PodUid, Revision,
    assignment::{AssignedPod, Desired, Tombstone},
    pod::{ConfigObject, PodAssignment},
};

#[derive(Debug)]
pub(super) struct NodeSet {
    desired: Desired,
    /// How many pods of the set name each content.
    uses: HashMap<Digest, usize>,
}

impl NodeSet {
    pub(super) fn new(revision: Revision) -> Self {
        Self { desired: Desired { revision, ..Desired::default() }, uses: HashMap::new() }
    }

    pub(super) fn desired(&self) -> Desired {
        self.desired.clone()
    }

    /// Puts a pod into the set or replaces it, with the content it names. The revision of a pod's assignment never falls.
    pub(super) fn assign(
        &mut self,
        assignment: Arc<PodAssignment>,
        content: Vec<(Digest, Arc<ConfigObject>)>,
        revision: Revision,
    ) {
        let uid = assignment.uid.clone();
        for (digest, object) in content {
            *self.uses.entry(digest).or_default() += 1;
            Arc::make_mut(&mut self.desired.objects).entry(digest).or_insert(object);
        }
        let pods = Arc::make_mut(&mut self.desired.pods);
        let revision = pods.get(&uid).map_or(revision, |before| before.revision.max(revision));
        if let Some(before) = pods.insert(uid, AssignedPod { revision, assignment }) {
            self.release(&before.assignment);
        }
    }

    /// Takes a pod out of the set.
    pub(super) fn unassign(&mut self, uid: &PodUid) {
        if !self.desired.pods.contains_key(uid) {
            return;
        }
        if let Some(before) = Arc::make_mut(&mut self.desired.pods).remove(uid) {
            self.release(&before.assignment);
        }
    }

    /// Orders a pod's end; it leaves the set.
    pub(super) fn bury(&mut self, tombstone: Tombstone) {
        self.unassign(&tombstone.uid);
        Arc::make_mut(&mut self.desired.tombstones).insert(tombstone.uid.clone(), tombstone);
    }

    /// Takes an order back, because the end is recorded.
    pub(super) fn unbury(&mut self, uid: &PodUid) {
        if self.desired.tombstones.contains_key(uid) {
            Arc::make_mut(&mut self.desired.tombstones).remove(uid);
        }
    }

    /// Makes the set one of `revision`.
    pub(super) fn publish(&mut self, revision: Revision) {
        self.desired.revision = self.desired.revision.max(revision);
    }

    fn release(&mut self, assignment: &PodAssignment) {
        for digest in assignment.config.iter().filter_map(|reference| reference.digest) {
            let Some(count) = self.uses.get_mut(&digest) else { continue };
            *count -= 1;
            if *count == 0 {
                self.uses.remove(&digest);
                Arc::make_mut(&mut self.desired.objects).remove(&digest);
            }
        }
    }
}
