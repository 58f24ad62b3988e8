//! What a node keeps on disk, as values: the records, a batch of changes to them, and everything that was stored.
//!
//! A released struct never changes: a new shape is a new kind in the node's local store, with a conversion from the old one.

use std::collections::BTreeMap;

use dunlin_link::{
    Digest, PodUid, Revision, UnixMillis, assignment::Tombstone, pod::PodAssignment, sealed::Content,
};
use serde::{Deserialize, Serialize};

use crate::memory::PodMemory;

/// One pod of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodRecord {
    /// Revision of its assignment; `None` for a pod that is held: a snapshot neither named nor buried it.
    pub revision: Option<Revision>,
    /// What to run.
    pub assignment: PodAssignment,
    /// Its address, as a slot in the pod range.
    pub slot: Option<u16>,
    /// When the node accepted it.
    pub start_time: UnixMillis,
    /// Reason and message, when the node refused it.
    pub refusal: Option<(String, String)>,
}

/// The revision that the node has applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedRecord {
    /// Of the last change.
    pub revision: Revision,
    /// The restore generation that the revision belongs to.
    pub restore_generation: u64,
}

/// Changes that become durable together, or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The revision that the node holds afterwards.
    pub applied: Option<AppliedRecord>,
    /// The version of the link's protocol by which the set was told, when it is another one than before.
    pub protocol: Option<u16>,
    /// Assigned pods.
    pub pods: Vec<(PodUid, Change<PodRecord>)>,
    /// Static pods; they have no revision.
    pub statics: Vec<(PodUid, Change<PodRecord>)>,
    /// What is remembered of pods.
    pub memories: Vec<(PodUid, Change<PodMemory>)>,
    /// Pods to stop.
    pub tombstones: Vec<(PodUid, Change<Tombstone>)>,
    /// ConfigMaps and Secrets.
    pub objects: Vec<(Digest, Change<Content>)>,
    /// Tokens of pods, to be sealed by [`super::record_id`].
    pub tokens: Vec<(PodUid, Change<Content>)>,
}

/// What becomes of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<T> {
    /// It is written.
    Put(T),
    /// It is removed.
    Remove,
}

/// Everything that was stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// How often the state was opened, this time included. Whoever opens it raises it durably first.
    pub starts: u64,
    /// What the node has applied.
    pub applied: AppliedRecord,
    /// The version of the link's protocol by which the set was told; 0 when that is not known.
    pub protocol: u16,
    /// Assigned pods.
    pub pods: BTreeMap<PodUid, PodRecord>,
    /// Static pods.
    pub statics: BTreeMap<PodUid, PodRecord>,
    /// What is remembered of pods.
    pub memories: BTreeMap<PodUid, PodMemory>,
    /// Pods to stop.
    pub tombstones: BTreeMap<PodUid, Tombstone>,
    /// ConfigMaps and Secrets.
    pub objects: BTreeMap<Digest, Content>,
    /// Tokens of pods.
    pub tokens: BTreeMap<PodUid, Content>,
}

impl Loaded {
    /// What is stored once a batch is durable: the oracle of simulations, and what any store of batches must do.
    pub fn apply(&mut self, batch: Batch) {
        if let Some(applied) = batch.applied {
            self.applied = applied;
        }
        if let Some(protocol) = batch.protocol {
            self.protocol = protocol;
        }
        change_all(&mut self.pods, batch.pods);
        change_all(&mut self.statics, batch.statics);
        change_all(&mut self.memories, batch.memories);
        change_all(&mut self.tombstones, batch.tombstones);
        change_all(&mut self.objects, batch.objects);
        change_all(&mut self.tokens, batch.tokens);
    }
}

fn change_all<K: Ord, T>(table: &mut BTreeMap<K, T>, changes: Vec<(K, Change<T>)>) {
    for (key, change) in changes {
        match change {
            Change::Put(record) => table.insert(key, record),
            Change::Remove => table.remove(&key),
        };
    }
}
