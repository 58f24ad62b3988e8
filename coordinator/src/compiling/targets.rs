//! Which kinds of machines the cluster's nodes are: code for them stays, also when no compiler makes it any more.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use dunlin_link::labels::TARGET_LABEL;
use serde::Deserialize;

use super::is_target;
use crate::{
    service::stored,
    store::{ListOptions, Store, StoreError},
};

/// Those that Node objects said when they were read last, and those that nodes said since.
#[derive(Debug, Default)]
pub(super) struct Targets(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// What was read, and what nodes had said before: their objects may not have said it yet.
    read: BTreeSet<String>,
    since: BTreeSet<String>,
}

/// As much of a Node as is looked at.
#[derive(Deserialize)]
struct Node {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    labels: std::collections::BTreeMap<String, String>,
}

impl Targets {
    /// Reads what all Nodes say, and forgets what none does any more.
    pub(super) async fn read(&self, store: &Store) -> Result<(), StoreError> {
        let mut read = BTreeSet::new();
        let mut after = None;
        loop {
            let prefix = NODES.to_owned();
            let page =
                store.list(ListOptions { prefix, after, limit: Some(NODES_AT_ONCE), at: None }).await?;
            for item in &page.items {
                // One that cannot be read says nothing.
                let json = stored::json(&item.value).unwrap_or_default();
                let Ok(node) = serde_json::from_slice::<Node>(json) else { continue };
                let target = node.metadata.labels.get(TARGET_LABEL).filter(|target| is_target(target));
                read.extend(target.filter(|_| read.len() < TARGETS_MAX).cloned());
            }
            after = page.items.last().map(|item| item.key.clone());
            if !page.more || after.is_none() {
                break;
            }
        }
        let mut known = self.known();
        read.extend(std::mem::take(&mut known.since));
        known.read = read;
        Ok(())
    }

    /// A node says that it is of this kind.
    pub(super) fn note(&self, target: &str) {
        let since = &mut self.known().since;
        if is_target(target) && since.len() < TARGETS_MAX && !since.contains(target) {
            since.insert(target.to_owned());
        }
    }

    pub(super) fn has(&self, target: &str) -> bool {
        let known = self.known();
        known.read.contains(target) || known.since.contains(target)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const NODES: &str = "/registry/nodes/";

/// Nodes in memory at a time.
const NODES_AT_ONCE: usize = 200;

/// A release has a handful of kinds; a node that makes some up makes nobody else's code go before it is too much.
const TARGETS_MAX: usize = 256;
