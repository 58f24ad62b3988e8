//! The desired set of each node, made from the store's changes.
//!
//! A pod is in its node's set from the moment it is bound until it is deleted, also when it has ended: the node keeps its logs and
//! its last status. A pod being deleted is a tombstone there, and one removed by force is one by the record that was written with
//! the removal, until the node confirms. A mirror is in no set: it is told apart, for those who keep mirrors in step with what nodes say.
//!
//! Revisions are the store's, so they rise over restarts. An assignment gets a new one only when its content changes, and after a
//! restart the same again: that of the newest write among those of its pod, apart from statuses, and of what the pod names. Where
//! this cannot be known (what a pod names was deleted, or changed in its metadata only), the node notices by the digest of its set,
//! and is sent the difference.

mod config;
mod images;
mod node;
mod pod;
mod state;

use std::{collections::BTreeSet, fmt};

use bytes::Bytes;
use dunlin_api::{Kind, kind};
use dunlin_link::{NodeName, PodUid, Revision, assignment::Desired, pod::ConfigKind, sealed::ContentKey};

use self::state::State;
use crate::{ObjectKey, lower::LowerError, mirror::Mirrors};

pub use self::config::ConfigKey;

/// Every node's desired set. Fold a store in with [`DesiredSets::apply`] and [`DesiredSets::unread_config`], say with
/// [`DesiredSets::loaded`] that this is all, then fold in what changes, and [`DesiredSets::publish`] after each batch.
#[derive(Debug)]
pub struct DesiredSets {
    state: State,
}

/// One change of the store that the sets depend on. `Debug` does not show what was written, which may be a Secret.
#[derive(Clone)]
pub struct Change {
    /// Revision of the write.
    pub revision: Revision,
    /// Of what.
    pub subject: Subject,
    /// The JSON written; `None` for a deletion.
    pub json: Option<Bytes>,
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change")
            .field("revision", &self.revision)
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

/// What a change is of.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A pod.
    Pod(ObjectKey),
    /// A ConfigMap or Secret; nothing when no bound pod names it.
    Config(ConfigKey),
    /// A ConfigMap or Secret that was read because a pod among the following changes names it.
    ConfigRead(ConfigKey),
    /// A record outside of the API's objects.
    Record(String),
}

/// Why a change could not be folded in. The sets are as before, but for the one thing that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// An object.
    #[error(transparent)]
    Object(#[from] LowerError),
    /// What an image name means.
    #[error("failed to read the record of an image name")]
    Name(#[source] serde_json::Error),
    /// An order to stop a pod.
    #[error("failed to read the record of a tombstone")]
    Tombstone(#[source] serde_json::Error),
}

impl DesiredSets {
    /// No set. Nodes hold content under ids that are made with `key`.
    pub fn new(key: ContentKey) -> Self {
        Self { state: State::new(key) }
    }

    /// Folds in one change.
    ///
    /// # Errors
    /// When what was written cannot be read.
    pub fn apply(&mut self, change: &Change) -> Result<(), ApplyError> {
        self.state.apply(change)
    }

    /// Makes what was folded in since the last time a state of `revision`; answers the nodes whose sets changed.
    pub fn publish(&mut self, revision: Revision) -> Vec<NodeName> {
        self.state.publish(revision)
    }

    /// Everything there is was folded in, as of `revision`. Before this, sets have no revision, which tells sessions to wait.
    pub fn loaded(&mut self, revision: Revision) {
        self.state.loaded = revision;
        self.state.changed.extend(self.state.nodes.keys().cloned());
        self.state.publish(revision);
    }

    /// `node`'s desired set now.
    pub fn desired(&self, node: &NodeName) -> Desired {
        match self.state.nodes.get(node) {
            Some(set) => set.desired(),
            None => Desired { revision: self.state.loaded, ..Desired::default() },
        }
    }

    /// The nodes whose mirrors changed since this was asked last.
    pub fn take_changed_mirrors(&mut self) -> BTreeSet<NodeName> {
        std::mem::take(&mut self.state.changed_mirrors)
    }

    /// The mirrors that name `node`; `None` before everything there is was folded in.
    pub fn mirrors(&self, node: &NodeName) -> Option<Mirrors> {
        (self.state.loaded != Revision::default())
            .then(|| self.state.mirrors.get(node).cloned().unwrap_or_default())
    }

    /// ConfigMaps and Secrets that pods among `changes` name and that are not held yet; the caller reads them and puts them before
    /// those changes.
    pub fn missing_config(&self, changes: &[Change]) -> Vec<ConfigKey> {
        let mut missing: Vec<ConfigKey> =
            changes.iter().flat_map(|change| self.state.missing_config(change)).collect();
        missing.sort();
        missing.dedup();
        missing
    }

    /// ConfigMaps and Secrets that pods name and that were not read yet.
    pub fn unread_config(&self) -> Vec<ConfigKey> {
        self.state.configs.unread()
    }

    /// Whether the store's record `key` concerns the sets.
    pub fn wants(key: &str) -> bool {
        [NAMES_PREFIX, TAGS_PREFIX, TOMBSTONES_PREFIX].iter().any(|prefix| key.starts_with(prefix))
    }
}

/// Which content a kind of object is, if it is any.
pub fn config_kind(kind: &Kind) -> Option<ConfigKind> {
    match (kind.group, kind.plural) {
        ("", "configmaps") => Some(ConfigKind::ConfigMap),
        ("", "secrets") => Some(ConfigKind::Secret),
        _ => None,
    }
}

/// The kind of object that holds content.
pub fn config_resource(kind: ConfigKind) -> &'static Kind {
    let name = match kind {
        ConfigKind::ConfigMap => "ConfigMap",
        ConfigKind::Secret => "Secret",
    };
    kind::by_kind("v1", name).expect("the registry has ConfigMaps and Secrets")
}

/// Where the order to stop a removed pod is kept until its node confirms it; the value is a JSON
/// [`dunlin_link::assignment::Tombstone`].
pub fn tombstone_key(node: &NodeName, uid: &PodUid) -> String {
    format!("{TOMBSTONES_PREFIX}{node}/{uid}")
}

/// Keys of the store that hold names of modules: this, then `dunlin.local/NAME:TAG`.
pub const NAMES_PREFIX: &str = "/dunlin/images/";

/// Keys of the store that hold the manifests which tags mean: this, then `REPOSITORY:TAG`; the value is the digest as text.
pub const TAGS_PREFIX: &str = "/dunlin/tags/";

/// Orders to stop pods that are gone from the API, by node and uid.
pub const TOMBSTONES_PREFIX: &str = "/dunlin/tombstones/";

#[cfg(test)]
mod tests;
