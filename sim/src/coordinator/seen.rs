//! The store as the coordinator's process has seen it: its watch lags.

use std::collections::{BTreeMap, VecDeque};

use dunlin_coordinator_core::{ObjectKey, View};
use serde_json::Value;

use crate::{
    keys,
    oracle::scheduling::{Fleet, Standing, asks},
    store::{Change, Store},
};

/// What is stored, without what the watch has not brought yet.
pub(super) struct Seen<'a> {
    pub(super) store: &'a Store,
    pub(super) unseen: &'a VecDeque<Change>,
}

impl<'a> Seen<'a> {
    /// What the scheduler decides on about a pod: where pods are is as the view has it, which knows of bindings under way; what they are
    /// is as stored. Others matter only to one that asks for something.
    pub(super) fn fleet(&self, view: &'a View, key: &ObjectKey) -> Fleet<'a> {
        let asks = self.pod(key).is_some_and(asks);
        let pods = view.pods_of(&key.namespace).filter(|(other, _)| asks || *other == key);
        let standing = pods.filter_map(|(key, pod)| {
            let object = self.pod(key)?;
            Some(Standing { key, object, node: pod.node.as_ref(), kept: pod.nominated.as_ref() })
        });
        Fleet { pods: standing.collect(), nodes: self.nodes() }
    }

    /// All nodes.
    fn nodes(&self) -> Vec<&'a Value> {
        let stored = self.store.list(keys::NODES).map(|(key, stored)| (&**key, Some(&*stored.value)));
        let mut nodes: BTreeMap<&str, Option<&Value>> = stored.collect();
        // The first change that was not seen tells what was there before it.
        for change in self.unseen.iter().rev().filter(|change| change.key.starts_with(keys::NODES)) {
            nodes.insert(&change.key, change.before.as_ref().map(|stored| &*stored.value));
        }
        nodes.into_values().flatten().collect()
    }

    /// A pod.
    fn pod(&self, key: &ObjectKey) -> Option<&'a Value> {
        let key = keys::pod(key);
        match self.unseen.iter().find(|change| change.key == key) {
            Some(change) => change.before.as_ref().map(|stored| &*stored.value),
            None => self.store.get(&key).map(|stored| &*stored.value),
        }
    }
}
