//! Which kinds of machines the cluster's nodes are: code for them stays, also when no compiler makes it any more.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use dunlin_link::labels::TARGET_LABEL;
use serde::Deserialize;

use super::is_target;
use crate::store::{ListOptions, Store, StoreError};

/// Those that Node objects said when the coordinator started, and those that nodes said since.
#[derive(Debug, Default)]
pub(super) struct Targets(Mutex<BTreeSet<String>>);

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
    /// Reads what all Nodes say.
    pub(super) async fn read(&self, store: &Store) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let prefix = NODES.to_owned();
            let page =
                store.list(ListOptions { prefix, after, limit: Some(NODES_AT_ONCE), at: None }).await?;
            for item in &page.items {
                // One that cannot be read says nothing.
                let Ok(node) = serde_json::from_slice::<Node>(&item.value) else { continue };
                node.metadata.labels.get(TARGET_LABEL).into_iter().for_each(|target| self.note(target));
            }
            after = page.items.last().map(|item| item.key.clone());
            if !page.more || after.is_none() {
                return Ok(());
            }
        }
    }

    /// A node says that it is of this kind.
    pub(super) fn note(&self, target: &str) {
        let mut known = self.known();
        if is_target(target) && known.len() < TARGETS_MAX && !known.contains(target) {
            known.insert(target.to_owned());
        }
    }

    pub(super) fn has(&self, target: &str) -> bool {
        self.known().contains(target)
    }

    fn known(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const NODES: &str = "/registry/nodes/";

/// Nodes in memory at a time.
const NODES_AT_ONCE: usize = 200;

/// A release has a handful of kinds; a node that makes some up makes nobody else's code go before it is too much.
const TARGETS_MAX: usize = 256;
