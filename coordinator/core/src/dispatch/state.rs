//! What the sets are made of, and how one change becomes changes of sets.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use dunlin_link::{
    Digest, NodeName, PodUid, Revision,
    assignment::Tombstone,
    pod::{ConfigObject, PodAssignment},
    reference::LOCAL_REGISTRY,
    sealed::ContentKey,
};

use super::{
    ApplyError, Change, NAMES_PREFIX, Subject, TAGS_PREFIX, TOMBSTONES_PREFIX,
    config::{self, ConfigKey, Configs},
    images::Images,
    node::NodeSet,
    pod::{Fingerprint, PodShape},
    tombstone_key,
};
use crate::{
    ObjectKey, lower,
    mirror::{Mirror, Mirrors},
};

/// Everything that the sets are made of.
#[derive(Debug)]
pub(super) struct State {
    /// Of the first complete read; zero before it, which tells sessions to wait.
    pub(super) loaded: Revision,
    pub(super) nodes: HashMap<NodeName, NodeSet>,
    /// Bound pods, whatever their phase.
    pods: HashMap<ObjectKey, Placed>,
    /// Content that bound pods name, and who names it.
    pub(super) configs: Configs,
    images: Images,
    /// Tombstone records by key of the store.
    records: HashMap<String, (NodeName, PodUid)>,
    /// Mirrors by the node that they name: they are in nobody's set.
    pub(super) mirrors: HashMap<NodeName, Mirrors>,
    mirrored: HashMap<ObjectKey, NodeName>,
    /// Nodes whose mirrors changed since they were last told.
    pub(super) changed_mirrors: BTreeSet<NodeName>,
    /// Nodes whose set changed since they were last told.
    pub(super) changed: BTreeSet<NodeName>,
}

/// A bound pod.
#[derive(Debug)]
struct Placed {
    node: NodeName,
    uid: PodUid,
    fingerprint: Fingerprint,
    /// Digests that its containers run or ran, by image as written: they stay, whatever the name means later.
    pinned: BTreeMap<String, Digest>,
    assignment: Arc<PodAssignment>,
}

impl State {
    /// No pod; ids of content are made with `key`.
    pub(super) fn new(key: ContentKey) -> Self {
        Self {
            loaded: Revision::default(),
            nodes: HashMap::new(),
            pods: HashMap::new(),
            configs: Configs::new(key),
            images: Images::default(),
            records: HashMap::new(),
            mirrors: HashMap::new(),
            mirrored: HashMap::new(),
            changed_mirrors: BTreeSet::new(),
            changed: BTreeSet::new(),
        }
    }

    pub(super) fn node(&mut self, name: &NodeName) -> &mut NodeSet {
        let loaded = self.loaded;
        self.nodes.entry(name.clone()).or_insert_with(|| NodeSet::new(loaded))
    }

    fn changed(&mut self, name: &NodeName) -> &mut NodeSet {
        self.changed.insert(name.clone());
        self.node(name)
    }

    /// Makes the changed sets ones of `revision`; answers whose they are.
    pub(super) fn publish(&mut self, revision: Revision) -> Vec<NodeName> {
        let changed: Vec<NodeName> = std::mem::take(&mut self.changed).into_iter().collect();
        for name in &changed {
            self.node(name).publish(revision);
        }
        changed
    }

    pub(super) fn apply(&mut self, change: &Change) -> Result<(), ApplyError> {
        let Change { revision, subject, json } = change;
        match (subject, json) {
            (Subject::Pod(key), Some(json)) => self.apply_pod(key, json, *revision),
            (Subject::Pod(key), None) => {
                self.drop_mirror(key);
                self.delete_pod(key);
                Ok(())
            }
            (Subject::Config(key), _) if !self.configs.is_held(key) => Ok(()),
            (Subject::Config(key) | Subject::ConfigRead(key), json) => {
                self.apply_config(key, json.as_deref(), *revision)
            }
            (Subject::Record(key), json) => self.apply_record(key, json.as_deref(), *revision),
        }
    }

    pub(super) fn missing_config(&self, change: &Change) -> Vec<ConfigKey> {
        let (Subject::Pod(key), Some(json)) = (&change.subject, &change.json) else { return Vec::new() };
        let Ok(shape) = serde_json::from_slice::<PodShape<'_>>(json) else { return Vec::new() };
        let unchanged = self.pods.get(key).is_some_and(|known| known.fingerprint == shape.fingerprint());
        if unchanged || !shape.may_name_config() || shape.node().is_none() || shape.mirror().is_some() {
            return Vec::new();
        }
        let unresolved = |_: &str| Err(String::new());
        let Ok(assignment) = lower::lower(json, &unresolved) else { return Vec::new() };
        let keys = config::keys_of(&assignment);
        keys.into_iter().filter(|key| !self.configs.is_held(key)).collect()
    }

    fn apply_pod(&mut self, key: &ObjectKey, json: &[u8], revision: Revision) -> Result<(), ApplyError> {
        let shape: PodShape<'_> = serde_json::from_slice(json).map_err(lower::LowerError::from)?;
        let Some(node) = shape.node().filter(|_| !shape.is_misplaced()) else {
            self.drop_mirror(key);
            self.delete_pod(key);
            return Ok(());
        };
        if let Some(mirror) = shape.mirror() {
            self.delete_pod(key);
            self.put_mirror(key, node, mirror);
            return Ok(());
        }
        self.drop_mirror(key);
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
        let recorded = self.records.contains_key(&tombstone_key(&placed.node, &placed.uid));
        let set = self.changed(&placed.node);
        set.unassign(&placed.uid);
        if !recorded {
            set.unbury(&placed.uid);
        }
    }

    fn put_mirror(&mut self, key: &ObjectKey, node: NodeName, mirror: Mirror) {
        if self.mirrors.get(&node).and_then(|known| known.get(key)) == Some(&mirror) {
            return;
        }
        self.drop_mirror(key);
        self.mirrors.entry(node.clone()).or_default().insert(key.clone(), mirror);
        self.changed_mirrors.insert(node.clone());
        self.mirrored.insert(key.clone(), node);
    }

    fn drop_mirror(&mut self, key: &ObjectKey) {
        let Some(node) = self.mirrored.remove(key) else { return };
        if let Some(known) = self.mirrors.get_mut(&node) {
            known.remove(key);
            if known.is_empty() {
                self.mirrors.remove(&node);
            }
        }
        self.changed_mirrors.insert(node);
    }

    fn apply_config(
        &mut self,
        key: &ConfigKey,
        json: Option<&[u8]>,
        revision: Revision,
    ) -> Result<(), ApplyError> {
        let content = json.map(|json| lower::config_object(key.kind, json)).transpose()?;
        for pod in self.configs.set(key, content, revision) {
            self.refresh(&pod, revision);
        }
        Ok(())
    }

    fn apply_record(
        &mut self,
        key: &str,
        value: Option<&[u8]>,
        revision: Revision,
    ) -> Result<(), ApplyError> {
        if let Some(name) = key.strip_prefix(NAMES_PREFIX) {
            let (users, read) = self.images.set_module(name, value, revision);
            for pod in users {
                self.refresh(&pod, revision);
            }
            return read.map_err(ApplyError::Name);
        }
        if let Some(tag) = key.strip_prefix(TAGS_PREFIX) {
            for pod in self.images.set_manifest(&format!("{LOCAL_REGISTRY}/{tag}"), value, revision) {
                self.refresh(&pod, revision);
            }
            return Ok(());
        }
        match key.strip_prefix(TOMBSTONES_PREFIX).and_then(|rest| rest.split_once('/')) {
            Some((node, _)) => self.apply_tombstone(key, &NodeName::new(node), value),
            None => Ok(()),
        }
    }

    fn apply_tombstone(
        &mut self,
        key: &str,
        node: &NodeName,
        value: Option<&[u8]>,
    ) -> Result<(), ApplyError> {
        if let Some(value) = value {
            let tombstone: Tombstone = serde_json::from_slice(value).map_err(ApplyError::Tombstone)?;
            self.records.insert(key.to_owned(), (node.clone(), tombstone.uid.clone()));
            self.changed(node).bury(tombstone);
        } else if let Some((node, uid)) = self.records.remove(key) {
            self.changed(&node).unbury(&uid);
        }
        Ok(())
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

    /// While everything is read the first time, an assignment is as new as the newest of what it is made of, which is the revision
    /// that it had before the restart. Later, what changes it is the newest.
    fn assign(&mut self, node: &NodeName, assignment: Arc<PodAssignment>, revision: Revision) {
        let revision = if self.loaded == Revision::default() {
            revision.max(self.configs.since(&assignment)).max(self.images.since(&assignment))
        } else {
            revision
        };
        let objects: Vec<(Digest, Arc<ConfigObject>)> = self.configs.content_of(&assignment);
        self.changed(node).assign(assignment, objects, revision);
    }
}

/// Pods of `keys`, once each.
pub(super) fn distinct(keys: Option<&BTreeSet<ObjectKey>>) -> Vec<ObjectKey> {
    keys.into_iter().flatten().cloned().collect()
}
