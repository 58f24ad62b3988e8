//! Every node's desired set, kept from the watch, and who is told when one changes.
//!
//! What is in a set is decided by [`DesiredSets`]; this shares it between the driver, which folds changes in, and the sessions, which
//! carry sets over. Sessions see all of a batch or nothing.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use dunlin_coordinator_core::{
    dispatch::{Change, ConfigKey, DesiredSets},
    mirror::Mirrors,
};
use dunlin_link::{NodeName, Revision, assignment::Desired, sealed::ContentKey};
use tokio::sync::watch;

/// Handle to every node's desired set; cheap to clone.
#[derive(Clone)]
pub struct Dispatch {
    state: Arc<Mutex<State>>,
    key: ContentKey,
}

/// Guarded together, so that nobody is told of a set that cannot be read yet.
struct State {
    sets: DesiredSets,
    listeners: HashMap<NodeName, watch::Sender<Revision>>,
    /// Who looks after nodes' mirrors.
    mirror_listeners: HashMap<NodeName, watch::Sender<()>>,
}

impl Dispatch {
    /// Sets without a pod, for the driver to fill. Nodes hold content under ids that are made with `key`.
    pub fn new(key: ContentKey) -> Self {
        let sets = DesiredSets::new(key.clone());
        let state = State { sets, listeners: HashMap::new(), mirror_listeners: HashMap::new() };
        Self { state: Arc::new(Mutex::new(state)), key }
    }

    /// Sets to read the store into, for [`Dispatch::replace`].
    pub(crate) fn loading(&self) -> Loading {
        Loading(DesiredSets::new(self.key.clone()))
    }

    /// The revision of `node`'s desired set, changing whenever the set does.
    pub fn subscribe(&self, node: &NodeName) -> watch::Receiver<Revision> {
        let mut state = self.lock();
        let revision = state.sets.desired(node).revision;
        let sender = state.listeners.entry(node.clone()).or_insert_with(|| watch::Sender::new(revision));
        sender.subscribe()
    }

    /// `node`'s desired set now.
    pub fn desired(&self, node: &NodeName) -> Desired {
        self.lock().sets.desired(node)
    }

    /// The mirrors that name `node`; `None` until the store was read.
    pub(crate) fn mirrors(&self, node: &NodeName) -> Option<Mirrors> {
        self.lock().sets.mirrors(node)
    }

    /// Changes whenever the mirrors that name `node` do, and when the store was read.
    pub(crate) fn subscribe_mirrors(&self, node: &NodeName) -> watch::Receiver<()> {
        let mut state = self.lock();
        let sender = state.mirror_listeners.entry(node.clone()).or_insert_with(|| watch::Sender::new(()));
        sender.subscribe()
    }

    /// Folds in changes of one or more revisions up to `revision`, and tells the sessions of every node whose set changed. Sessions
    /// see all of it or nothing.
    pub(crate) fn apply(&self, changes: &[Change], revision: Revision) {
        let mut state = self.lock();
        for change in changes {
            fold(&mut state.sets, change);
        }
        for node in state.sets.publish(revision) {
            state.tell(&node);
        }
        for node in state.sets.take_changed_mirrors() {
            state.tell_mirrors(&node);
        }
    }

    /// ConfigMaps and Secrets that pods among `changes` name and that are not held yet; the caller reads them and puts them before
    /// those changes.
    pub(crate) fn missing_config(&self, changes: &[Change]) -> Vec<ConfigKey> {
        self.lock().sets.missing_config(changes)
    }

    /// Replaces all that is known by what was read as of `revision`; sessions go on listening.
    pub(crate) fn replace(&self, loading: Loading, revision: Revision) {
        let mut sets = loading.0;
        sets.loaded(revision);
        let mut state = self.lock();
        state.sets = sets;
        let listening: Vec<NodeName> = state.listeners.keys().cloned().collect();
        for node in listening {
            state.tell(&node);
        }
        let listening: Vec<NodeName> = state.mirror_listeners.keys().cloned().collect();
        for node in listening {
            state.tell_mirrors(&node);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the guard is held loses at most one change of one pod, which the next read brings back.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tell(&mut self, node: &NodeName) {
        let Some(sender) = self.listeners.get(node) else { return };
        if sender.receiver_count() == 0 {
            self.listeners.remove(node);
        } else {
            sender.send_replace(self.sets.desired(node).revision);
        }
    }

    fn tell_mirrors(&mut self, node: &NodeName) {
        let Some(sender) = self.mirror_listeners.get(node) else { return };
        if sender.receiver_count() == 0 {
            self.mirror_listeners.remove(node);
        } else {
            sender.send_replace(());
        }
    }
}

impl fmt::Debug for Dispatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dispatch")
    }
}

/// Sets that are being read, not seen by sessions yet.
pub(crate) struct Loading(DesiredSets);

impl Loading {
    /// Folds in one object as it was read.
    pub(crate) fn apply(&mut self, change: &Change) {
        fold(&mut self.0, change);
    }

    /// ConfigMaps and Secrets that pods name and that were not read yet.
    pub(crate) fn unread_config(&self) -> Vec<ConfigKey> {
        self.0.unread_config()
    }
}

fn fold(sets: &mut DesiredSets, change: &Change) {
    if let Err(error) = sets.apply(change) {
        let Change { subject, revision, .. } = change;
        let error = &error as &dyn std::error::Error;
        tracing::error!(?subject, %revision, error, "what is stored cannot be carried to nodes");
    }
}

#[cfg(test)]
mod tests {
    use dunlin_coordinator_core::{ObjectKey, dispatch::Subject};
    use serde_json::json;

    use super::*;

    #[test]
    fn listeners_stay_over_the_next_read() {
        let pod = json!({ "metadata": { "name": "p", "namespace": "ns", "uid": "u" }, "spec": { "nodeName": "n" } });
        let bound = |revision| Change {
            revision: Revision(revision),
            subject: Subject::Pod(ObjectKey::new("ns", "p")),
            json: Some(pod.to_string().into()),
        };
        let dispatch = Dispatch::new(ContentKey::from_bytes([1; 32]));
        let node = NodeName::new("n");
        let mut revisions = dispatch.subscribe(&node);
        assert_eq!(dispatch.desired(&node).revision, Revision(0));
        let mut loading = dispatch.loading();
        loading.apply(&bound(3));
        dispatch.replace(loading, Revision(9));
        assert!(revisions.has_changed().unwrap());
        assert_eq!(*revisions.borrow_and_update(), Revision(9));
        assert_eq!(dispatch.desired(&node).pods.len(), 1);
        dispatch.replace(dispatch.loading(), Revision(12));
        assert_eq!(*revisions.borrow_and_update(), Revision(12));
        assert!(dispatch.desired(&node).pods.is_empty());
        dispatch.apply(&[bound(13)], Revision(13));
        assert_eq!(*revisions.borrow_and_update(), Revision(13));
        drop(revisions);
        dispatch.apply(&[bound(13)], Revision(14));
        assert_eq!(*dispatch.subscribe(&node).borrow(), Revision(13), "the same content is no change");
    }
}
