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

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use dunlin_api::{Kind, kind};
use dunlin_coordinator_core::{
    ObjectKey,
    lower::{self, LowerError},
};
use dunlin_link::{
    NodeName, PodUid, Revision,
    assignment::{Desired, Tombstone},
    pod::{ConfigKind, ConfigObject, PodAssignment},
};
use tokio::sync::watch;

pub(crate) use self::config::ConfigKey;
use self::{
    config::Configs,
    images::Images,
    node::NodeSet,
    pod::{Fingerprint, PodShape},
};
use crate::{artifacts::NAMES_PREFIX, service::TOMBSTONES_PREFIX};

/// Handle to every node's desired set; cheap to clone.
#[derive(Clone)]
pub struct Dispatch {
    state: Arc<Mutex<State>>,
}

/// Everything that the sets are made of. Guarded as a whole: a set is replaced, never seen half done.
#[derive(Default)]
struct State {
    /// Of the first complete read; zero before it, which tells sessions to wait.
    loaded: Revision,
    nodes: HashMap<NodeName, NodeSet>,
    /// Bound pods, whatever their phase.
    pods: HashMap<ObjectKey, Placed>,
    /// Content that bound pods name, and who names it.
    configs: Configs,
    images: Images,
    /// Tombstone records by key of the store.
    records: HashMap<String, (NodeName, PodUid)>,
    /// Nodes whose set changed since they were last told.
    changed: HashSet<NodeName>,
}

/// A bound pod.
struct Placed {
    node: NodeName,
    uid: PodUid,
    fingerprint: Fingerprint,
    /// Digests that its containers run or ran, by image as written: they stay, whatever the name means later.
    pinned: BTreeMap<String, dunlin_link::Digest>,
    assignment: Arc<PodAssignment>,
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

impl State {
    fn node(&mut self, name: &NodeName) -> &mut NodeSet {
        let loaded = self.loaded;
        self.nodes.entry(name.clone()).or_insert_with(|| NodeSet::new(loaded))
    }

    fn changed(&mut self, name: &NodeName) -> &mut NodeSet {
        self.changed.insert(name.clone());
        self.node(name)
    }

    fn publish(&mut self, revision: Revision) {
        for name in std::mem::take(&mut self.changed) {
            self.node(&name).publish(revision);
        }
    }

    fn apply(&mut self, change: &Change) {
        let Change { revision, subject, json } = change;
        let result = match (subject, json) {
            (Subject::Pod(key), Some(json)) => self.apply_pod(key, json, *revision),
            (Subject::Pod(key), None) => {
                self.delete_pod(key);
                Ok(())
            }
            (Subject::Config(key), _) if !self.configs.is_held(key) => Ok(()),
            (Subject::Config(key) | Subject::ConfigRead(key), json) => {
                self.apply_config(key, json.as_deref(), *revision)
            }
            (Subject::Record(key), json) => {
                self.apply_record(key, json.as_deref(), *revision);
                Ok(())
            }
        };
        if let Err(error) = result {
            tracing::error!(?subject, %revision, error = %error, "a stored object cannot be lowered");
        }
    }

    fn missing_config(&self, change: &Change) -> Vec<ConfigKey> {
        let (Subject::Pod(key), Some(json)) = (&change.subject, &change.json) else { return Vec::new() };
        let Ok(shape) = serde_json::from_slice::<PodShape<'_>>(json) else { return Vec::new() };
        let unchanged = self.pods.get(key).is_some_and(|known| known.fingerprint == shape.fingerprint());
        if unchanged || !shape.may_name_config() || shape.node().is_none() {
            return Vec::new();
        }
        let unresolved = |_: &str| Err(String::new());
        let Ok(assignment) = lower::lower(json, &unresolved) else { return Vec::new() };
        let keys = config::keys_of(&assignment);
        keys.into_iter().filter(|key| !self.configs.is_held(key)).collect()
    }

    fn apply_pod(&mut self, key: &ObjectKey, json: &[u8], revision: Revision) -> Result<(), LowerError> {
        let shape: PodShape<'_> = serde_json::from_slice(json)?;
        let Some(node) = shape.node() else {
            self.delete_pod(key);
            return Ok(());
        };
        let fingerprint = shape.fingerprint();
        let pinned = shape.pinned();
        if let Some(known) = self.pods.get_mut(key)
            && known.fingerprint == fingerprint
        {
            known.pinned = pinned;
            return Ok(());
        }
        let mut assignment = lower::lower(json, &|image| self.images.resolve(image, &pinned))?;
        self.configs.fill(&mut assignment);
        let tombstone = shape.tombstone(&assignment);
        let uid = assignment.uid.clone();
        if self.pods.get(key).is_some_and(|known| known.uid != uid || known.node != node) {
            self.delete_pod(key);
        }
        let assignment = Arc::new(assignment);
        let before = self.pods.insert(
            key.clone(),
            Placed { node: node.clone(), uid, fingerprint, pinned, assignment: Arc::clone(&assignment) },
        );
        self.images.replace(key, before.as_ref().map(|before| &*before.assignment), Some(&assignment));
        self.configs.replace(key, before.as_ref().map(|before| &*before.assignment), Some(&assignment));
        match tombstone {
            Some(tombstone) => self.changed(&node).bury(tombstone),
            None => self.assign(&node, assignment, revision),
        }
        Ok(())
    }

    fn delete_pod(&mut self, key: &ObjectKey) {
        let Some(placed) = self.pods.remove(key) else { return };
        self.images.replace(key, Some(&placed.assignment), None);
        self.configs.replace(key, Some(&placed.assignment), None);
        // A record of the same pod, written with its removal, keeps the order to stop it.
        let recorded = self.records.values().any(|(node, uid)| *uid == placed.uid && *node == placed.node);
        let set = self.changed(&placed.node);
        set.unassign(&placed.uid);
        if !recorded {
            set.unbury(&placed.uid);
        }
    }

    fn apply_config(
        &mut self,
        key: &ConfigKey,
        json: Option<&[u8]>,
        revision: Revision,
    ) -> Result<(), LowerError> {
        let content = json.map(|json| lower::config_object(key.kind, json)).transpose()?;
        for pod in self.configs.set(key, content, revision) {
            self.refresh(&pod, revision);
        }
        Ok(())
    }

    fn apply_record(&mut self, key: &str, value: Option<&[u8]>, revision: Revision) {
        if let Some(name) = key.strip_prefix(NAMES_PREFIX) {
            for pod in self.images.set(name, value) {
                self.refresh(&pod, revision);
            }
        } else if key.starts_with(TOMBSTONES_PREFIX) {
            self.apply_tombstone(key, value);
        }
    }

    fn apply_tombstone(&mut self, key: &str, value: Option<&[u8]>) {
        let Some((node, _)) = key.strip_prefix(TOMBSTONES_PREFIX).and_then(|rest| rest.split_once('/'))
        else {
            return;
        };
        let node = NodeName::new(node);
        match value.map(serde_json::from_slice::<Tombstone>) {
            Some(Ok(tombstone)) => {
                self.records.insert(key.to_owned(), (node.clone(), tombstone.uid.clone()));
                self.changed(&node).bury(tombstone);
            }
            Some(Err(error)) => tracing::error!(key, %error, "a tombstone's record is malformed"),
            None => {
                if let Some((node, uid)) = self.records.remove(key) {
                    self.changed(&node).unbury(&uid);
                }
            }
        }
    }

    /// Assigns a pod again after something that it names has changed.
    fn refresh(&mut self, key: &ObjectKey, revision: Revision) {
        let Some(placed) = self.pods.get(key) else { return };
        let mut assignment = PodAssignment::clone(&placed.assignment);
        self.configs.fill(&mut assignment);
        self.images.fill(&mut assignment, &placed.pinned);
        if assignment == *placed.assignment {
            return;
        }
        let node = placed.node.clone();
        let assignment = Arc::new(assignment);
        if let Some(placed) = self.pods.get_mut(key) {
            placed.assignment = Arc::clone(&assignment);
        }
        self.assign(&node, assignment, revision);
    }

    fn assign(&mut self, node: &NodeName, assignment: Arc<PodAssignment>, revision: Revision) {
        let objects: Vec<(dunlin_link::Digest, Arc<ConfigObject>)> = self.configs.content_of(&assignment);
        self.changed(node).assign(assignment, objects, revision);
    }
}

/// Pods of `keys`, once each.
fn distinct(keys: Option<&BTreeSet<ObjectKey>>) -> Vec<ObjectKey> {
    keys.into_iter().flatten().cloned().collect()
}
