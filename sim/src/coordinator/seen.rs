//! The store as the coordinator's process has seen it: its watch lags.

use std::collections::{BTreeMap, VecDeque};

use dunlin_coordinator_core::ObjectKey;
use serde_json::Value;

use crate::{
    keys,
    store::{Change, Store},
};

/// What is stored, without what the watch has not brought yet.
pub(super) struct Seen<'a> {
    pub(super) store: &'a Store,
    pub(super) unseen: &'a VecDeque<Change>,
}

impl<'a> Seen<'a> {
    /// All nodes.
    pub(super) fn nodes(&self) -> Vec<&'a Value> {
        let stored = self.store.list(keys::NODES).map(|(key, stored)| (&**key, Some(&*stored.value)));
        let mut nodes: BTreeMap<&str, Option<&Value>> = stored.collect();
        // The first change that was not seen tells what was there before it.
        for change in self.unseen.iter().rev().filter(|change| change.key.starts_with(keys::NODES)) {
            nodes.insert(&change.key, change.before.as_ref().map(|stored| &*stored.value));
        }
        nodes.into_values().flatten().collect()
    }

    /// A pod.
    pub(super) fn pod(&self, key: &ObjectKey) -> Option<&'a Value> {
        let key = keys::pod(key);
        match self.unseen.iter().find(|change| change.key == key) {
            Some(change) => change.before.as_ref().map(|stored| &*stored.value),
            None => self.store.get(&key).map(|stored| &*stored.value),
        }
    }
}
