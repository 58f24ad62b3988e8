//! The content of ConfigMaps and Secrets that bound pods name. What no pod names is not in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use dunlin_link::{
    Digest, Revision,
    pod::{ConfigKind, ConfigObject, PodAssignment},
    sealed::ContentKey,
};

use super::state::distinct;
use crate::ObjectKey;

/// Names one ConfigMap or Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigKey {
    /// Which of the two.
    pub kind: ConfigKind,
    /// Its place.
    pub key: ObjectKey,
}

#[derive(Debug)]
pub(super) struct Configs {
    /// What ids are made with.
    key: ContentKey,
    held: BTreeMap<ConfigKey, Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// Of the last write that was folded in; a read can be newer than the watch.
    revision: Revision,
    /// `None` while the object does not exist.
    content: Option<(Digest, Arc<ConfigObject>)>,
    /// Pods that name it.
    users: BTreeSet<ObjectKey>,
}

impl Configs {
    pub(super) fn new(key: ContentKey) -> Self {
        Self { key, held: BTreeMap::new() }
    }

    pub(super) fn is_held(&self, key: &ConfigKey) -> bool {
        self.held.contains_key(key)
    }

    /// Objects that pods name and whose content was never set.
    pub(super) fn unread(&self) -> Vec<ConfigKey> {
        let unread = self.held.iter().filter(|(_, held)| held.revision == Revision::default());
        unread.map(|(key, _)| key.clone()).collect()
    }

    /// Sets the content of an object; answers the pods that name it when it changed.
    pub(super) fn set(
        &mut self,
        key: &ConfigKey,
        content: Option<ConfigObject>,
        revision: Revision,
    ) -> Vec<ObjectKey> {
        let id = content.as_ref().map(|content| self.key.id(content));
        let held = self.held.entry(key.clone()).or_default();
        if held.revision > revision {
            return Vec::new();
        }
        held.revision = revision;
        if id == held.content.as_ref().map(|(digest, _)| *digest) {
            return Vec::new();
        }
        held.content = id.zip(content.map(Arc::new));
        distinct(Some(&held.users))
    }

    /// Writes the digests of current content into an assignment.
    pub(super) fn fill(&self, assignment: &mut PodAssignment) {
        let keys = keys_of(assignment);
        for (reference, key) in assignment.config.iter_mut().zip(keys) {
            let held = self.held.get(&key);
            reference.digest = held.and_then(|held| held.content.as_ref()).map(|(digest, _)| *digest);
        }
    }

    /// Since when an assignment's ConfigMaps and Secrets have the content that it names. One that does not exist has no revision.
    pub(super) fn since(&self, assignment: &PodAssignment) -> Revision {
        let keys = keys_of(assignment);
        let held = keys.iter().filter_map(|key| self.held.get(key)).filter(|held| held.content.is_some());
        held.map(|held| held.revision).max().unwrap_or_default()
    }

    /// The content that an assignment names by digest.
    pub(super) fn content_of(&self, assignment: &PodAssignment) -> Vec<(Digest, Arc<ConfigObject>)> {
        keys_of(assignment).iter().filter_map(|key| self.held.get(key)?.content.clone()).collect()
    }

    /// Counts a pod's names in and out. Content that nobody names any more is dropped.
    pub(super) fn replace(
        &mut self,
        pod: &ObjectKey,
        before: Option<&PodAssignment>,
        after: Option<&PodAssignment>,
    ) {
        for key in after.map(keys_of).unwrap_or_default() {
            self.held.entry(key).or_default().users.insert(pod.clone());
        }
        let kept = after.map(keys_of).unwrap_or_default();
        for key in before.map(keys_of).unwrap_or_default().iter().filter(|key| !kept.contains(key)) {
            if let Some(held) = self.held.get_mut(key) {
                held.users.remove(pod);
                if held.users.is_empty() {
                    self.held.remove(key);
                }
            }
        }
    }
}

/// The objects that an assignment names, all of its own namespace.
pub(super) fn keys_of(assignment: &PodAssignment) -> Vec<ConfigKey> {
    let key = |kind, name: &str| ConfigKey { kind, key: ObjectKey::new(&assignment.namespace, name) };
    assignment.config.iter().map(|reference| key(reference.kind, &reference.name)).collect()
}
