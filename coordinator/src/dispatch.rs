//! The desired set of each node, kept from the watch, for the node's session to carry over.
//!
//! A pod is in its node's set from the moment it is bound until it is deleted, also when it has ended: the node keeps its logs and
//! its last status. A pod being deleted is a tombstone there, and one removed by force is one by the record that the API service
//! wrote with the removal, until the node confirms.
//!
//! Revisions are the store's, so they rise over restarts. Within one run an assignment gets a new one only when its content
//! changes; after a restart it gets that of the last write of its pod, which costs each node one comparison of its set.

mod config;
mod images;
mod node;
mod pod;
mod state;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use dunlin_api::{Kind, kind};
use dunlin_coordinator_core::ObjectKey;
use dunlin_link::{NodeName, Revision, assignment::Desired, pod::ConfigKind};
use tokio::sync::watch;

use self::state::State;
use crate::{artifacts::NAMES_PREFIX, service::TOMBSTONES_PREFIX};

pub(crate) use self::config::ConfigKey;

/// Handle to every node's desired set; cheap to clone.
#[derive(Clone)]
pub struct Dispatch {
    state: Arc<Mutex<State>>,
}

impl Dispatch {
    /// Sets without a pod, for the driver to fill.
    pub fn new() -> Self {
        Self { state: Arc::default() }
    }

    /// The revision of `node`'s desired set, changing whenever the set does.
    pub fn subscribe(&self, node: &NodeName) -> watch::Receiver<Revision> {
        self.lock().node(node).subscribe()
    }

    /// `node`'s desired set now.
    pub fn desired(&self, node: &NodeName) -> Desired {
        let state = self.lock();
        match state.nodes.get(node) {
            Some(set) => set.desired(),
            None => Desired { revision: state.loaded, ..Desired::default() },
        }
    }

    /// Folds in changes of one or more revisions up to `revision`, and tells the sessions of every node whose set changed. Sessions
    /// see all of it or nothing.
    pub(crate) fn apply(&self, changes: &[Change], revision: Revision) {
        let mut state = self.lock();
        for change in changes {
            state.apply(change);
        }
        state.publish(revision);
    }

    /// ConfigMaps and Secrets that pods among `changes` name and that are not held yet; the caller reads them and puts them before
    /// those changes.
    pub(crate) fn missing_config(&self, changes: &[Change]) -> Vec<ConfigKey> {
        let state = self.lock();
        let mut missing: Vec<ConfigKey> =
            changes.iter().flat_map(|change| state.missing_config(change)).collect();
        missing.sort();
        missing.dedup();
        missing
    }

    /// Replaces all that is known by what was read as of `revision`; sessions go on listening.
    pub(crate) fn replace(&self, loading: Loading, revision: Revision) {
        let mut fresh = loading.0;
        fresh.loaded = revision;
        let mut state = self.lock();
        for (name, before) in state.nodes.drain() {
            fresh.node(&name).take_subscribers(before);
        }
        let names: Vec<NodeName> = fresh.nodes.keys().cloned().collect();
        fresh.changed.extend(names);
        fresh.publish(revision);
        *state = fresh;
    }

    /// Whether the store's record `key` concerns the sets.
    pub(crate) fn wants(key: &str) -> bool {
        key.starts_with(NAMES_PREFIX) || key.starts_with(TOMBSTONES_PREFIX)
    }

    /// Which content a kind of object is, if it is any.
    pub(crate) fn config_kind(kind: &Kind) -> Option<ConfigKind> {
        match (kind.group, kind.plural) {
            ("", "configmaps") => Some(ConfigKind::ConfigMap),
            ("", "secrets") => Some(ConfigKind::Secret),
            _ => None,
        }
    }

    /// The kind of object that holds content.
    pub(crate) fn config_resource(kind: ConfigKind) -> &'static Kind {
        let name = match kind {
            ConfigKind::ConfigMap => "ConfigMap",
            ConfigKind::Secret => "Secret",
        };
        kind::by_kind("v1", name).expect("the registry has ConfigMaps and Secrets")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the guard is held loses at most one change of one pod, which the next read brings back.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Dispatch {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Dispatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dispatch")
    }
}

/// One change of the store that the sets depend on.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// Revision of the write.
    pub(crate) revision: Revision,
    /// Of what.
    pub(crate) subject: Subject,
    /// The JSON written; `None` for a deletion.
    pub(crate) json: Option<Bytes>,
}

/// What a change is of.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    /// A pod.
    Pod(ObjectKey),
    /// A ConfigMap or Secret; nothing when no bound pod names it.
    Config(ConfigKey),
    /// A ConfigMap or Secret that was read because a pod among the following changes names it.
    ConfigRead(ConfigKey),
    /// A record outside of the API's objects.
    Record(String),
}

/// Sets that are being read, not seen by sessions yet.
#[derive(Default)]
pub(crate) struct Loading(State);

impl Loading {
    /// Folds in one object as it was read.
    pub(crate) fn apply(&mut self, change: &Change) {
        self.0.apply(change);
    }

    /// ConfigMaps and Secrets that pods name and that were not read yet.
    pub(crate) fn unread_config(&self) -> Vec<ConfigKey> {
        self.0.configs.unread()
    }
}

#[cfg(test)]
mod tests;
