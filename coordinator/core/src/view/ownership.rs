//! Who owns whom: what the garbage controller looks at of every object but events.
//!
//! Of most objects only the uid is kept, so that an owner that lives can be told from one that is gone. Objects that name owners,
//! or whose deletion waits for their dependents, are kept with both.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use dunlin_api::kind;
use serde::{Deserialize, de::IgnoredAny};

use super::{DecodeError, ObjectKey, Resource};

/// Names one object of any kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// Its kind.
    pub resource: Resource,
    /// Its namespace and name.
    pub key: ObjectKey,
}

/// All that is known of owners and dependents.
#[derive(Debug, Default)]
pub struct Ownership {
    /// Of every object that can be an owner.
    uids: HashSet<Arc<str>>,
    members: HashMap<ObjectId, Member>,
    /// By their owner's uid, whether it lives or not.
    dependents: HashMap<Arc<str>, BTreeSet<ObjectId>>,
    /// By uid, those whose deletion waits for their dependents.
    ending: HashMap<Arc<str>, ObjectId>,
}

/// An object that names owners, or whose deletion waits for its dependents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// `metadata.uid`.
    pub uid: Arc<str>,
    /// `metadata.ownerReferences`.
    pub owners: Vec<Owner>,
    /// Whether it has a deletion timestamp.
    pub deleting: bool,
    /// What its deletion waits for, by its finalizers.
    pub waits_for: Option<WaitsFor>,
}

/// An owner, as a dependent names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its uid.
    pub uid: Arc<str>,
    /// `blockOwnerDeletion`.
    pub blocks: bool,
    /// Whether the owner is of a kind that is watched here; of any other it is not known whether it lives.
    pub watched: bool,
}

/// What of its dependents an object waits for before it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// The end of those that block it.
    Deletion,
    /// That none names it as owner any more.
    Orphaning,
}

impl WaitsFor {
    /// The finalizer that says so.
    pub const fn finalizer(self) -> &'static str {
        match self {
            Self::Deletion => "foregroundDeletion",
            Self::Orphaning => "orphan",
        }
    }
}

impl Ownership {
    /// Folds in an object as stored; answers the objects that may need another look, itself among them.
    ///
    /// # Errors
    /// When `json` is not an object; nothing is changed then.
    pub fn apply(&mut self, id: &ObjectId, json: &[u8]) -> Result<BTreeSet<ObjectId>, DecodeError> {
        let member = decode(json)?;
        let mut touched = self.leave(id);
        if !member.uid.is_empty() && !self.uids.contains(&member.uid) {
            self.uids.insert(Arc::clone(&member.uid));
        }
        if !member.owners.is_empty() || member.waits_for.is_some() {
            touched.extend(self.join(id, member));
        }
        Ok(touched)
    }

    /// Forgets an object whose last state was `json`; answers the objects that may need another look.
    ///
    /// # Errors
    /// When `json` is not an object; nothing is changed then.
    pub fn delete(&mut self, id: &ObjectId, json: &[u8]) -> Result<BTreeSet<ObjectId>, DecodeError> {
        let uid = decode(json)?.uid;
        let mut touched = self.leave(id);
        touched.remove(id);
        self.uids.remove(&uid);
        touched.extend(self.dependents(&uid).cloned());
        Ok(touched)
    }

    /// An object that takes part.
    pub fn member(&self, id: &ObjectId) -> Option<&Member> {
        self.members.get(id)
    }

    /// Objects that name `uid` as an owner.
    pub fn dependents(&self, uid: &str) -> impl Iterator<Item = &ObjectId> {
        self.dependents.get(uid).into_iter().flatten()
    }

    /// Whether an object of this uid exists.
    pub fn exists(&self, uid: &str) -> bool {
        self.uids.contains(uid)
    }

    /// What the object of this uid waits for, if it is being deleted and does.
    pub fn waits_for(&self, uid: &str) -> Option<WaitsFor> {
        self.members.get(self.ending.get(uid)?)?.waits_for
    }

    fn join(&mut self, id: &ObjectId, member: Member) -> BTreeSet<ObjectId> {
        let mut touched = self.waiting_owners(&member);
        touched.insert(id.clone());
        for owner in &member.owners {
            self.dependents.entry(Arc::clone(&owner.uid)).or_default().insert(id.clone());
        }
        if member.waits_for.is_some() {
            self.ending.insert(Arc::clone(&member.uid), id.clone());
        }
        self.members.insert(id.clone(), member);
        touched
    }

    fn leave(&mut self, id: &ObjectId) -> BTreeSet<ObjectId> {
        let Some(member) = self.members.remove(id) else { return BTreeSet::new() };
        self.ending.remove(&member.uid);
        for owner in &member.owners {
            if let Some(dependents) = self.dependents.get_mut(&owner.uid) {
                dependents.remove(id);
                if dependents.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
        self.waiting_owners(&member)
    }

    fn waiting_owners(&self, member: &Member) -> BTreeSet<ObjectId> {
        member.owners.iter().filter_map(|owner| self.ending.get(&owner.uid)).cloned().collect()
    }
}

#[derive(Deserialize)]
struct Shape<'a> {
    #[serde(borrow)]
    metadata: MetaShape<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MetaShape<'a> {
    #[serde(borrow, default)]
    uid: Cow<'a, str>,
    #[serde(default)]
    deletion_timestamp: Option<IgnoredAny>,
    #[serde(default)]
    finalizers: Vec<String>,
    #[serde(default)]
    owner_references: Vec<OwnerShape>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OwnerShape {
    api_version: String,
    kind: String,
    uid: String,
    #[serde(default)]
    block_owner_deletion: bool,
}

fn decode(json: &[u8]) -> Result<Member, DecodeError> {
    let MetaShape { uid, deletion_timestamp, finalizers, owner_references } =
        serde_json::from_slice::<Shape<'_>>(json)?.metadata;
    let deleting = deletion_timestamp.is_some();
    let waits = |what: WaitsFor| finalizers.iter().any(|finalizer| finalizer == what.finalizer());
    let waits_for =
        [WaitsFor::Orphaning, WaitsFor::Deletion].into_iter().find(|what| deleting && waits(*what));
    let owners = owner_references.into_iter().map(|owner| Owner {
        watched: is_watched(&owner),
        uid: owner.uid.into(),
        blocks: owner.block_owner_deletion,
    });
    Ok(Member { uid: uid.into(), owners: owners.collect(), deleting, waits_for })
}

fn is_watched(owner: &OwnerShape) -> bool {
    let kind = kind::by_kind(&owner.api_version, &owner.kind);
    kind.is_some_and(|kind| Resource::of(kind).takes_part())
}
