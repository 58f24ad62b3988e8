//! Folds changes of the store into the view, and notes what they make due.

use std::{collections::BTreeSet, sync::Arc};

use dunlin_api::Kind;
use dunlin_coordinator_core::{
    ObjectKey,
    dispatch::{self, Change, ConfigKey, DesiredSets, Subject},
    scheduler::{self, Hint},
    view::{self, DecodeError, Liveness, NodeInfo, ObjectId, PodInfo},
};
use dunlin_link::{NodeName, Revision, pod::ConfigKind};
use jiff::Timestamp;

use super::{Control, DriverError, keys::Key, load::json_of};
use crate::{service::stored::StoredKey, store::WatchEvent};

/// What of a kind's objects is kept in memory.
pub(super) enum Kept {
    Pod,
    Node,
    Namespace,
    /// Only when it expires.
    Event,
    /// Only what bound pods name.
    Config(ConfigKind),
    /// Only how many there are.
    Nothing,
}

impl Kept {
    pub(super) fn of(kind: &Kind) -> Self {
        if let Some(config) = dispatch::config_kind(kind) {
            return Self::Config(config);
        }
        match (kind.group, kind.plural) {
            ("", "pods") => Self::Pod,
            ("", "nodes") => Self::Node,
            ("", "namespaces") => Self::Namespace,
            ("", "events") => Self::Event,
            _ => Self::Nothing,
        }
    }
}

impl Control {
    /// Folds in a batch: first what sessions wait for, then what controllers and scheduler look at.
    pub(super) async fn fold(&mut self, events: Vec<WatchEvent>) -> Result<(), DriverError> {
        let Some(revision) = events.last().map(|event| event.revision) else { return Ok(()) };
        self.tell_sessions(&events, revision).await?;
        let now = self.clock.now();
        for event in &events {
            let Some(stored) = StoredKey::parse(&event.key) else { continue };
            let key = ObjectKey::new(stored.namespace, stored.name);
            if event.previous.is_none() {
                self.count_created(stored.kind, &key);
            }
            match event.value.as_ref().and_then(|value| json_of(&event.key, value)) {
                Some(json) => {
                    self.fold_owners(stored.kind, &key, &json);
                    self.fold_object(stored.kind, &key, &json, now);
                }
                None => {
                    let last = event.previous.as_ref().and_then(|(value, _)| json_of(&event.key, value));
                    self.forget_owners(stored.kind, &key, last.as_deref());
                    self.forget_object(stored.kind, &key, now);
                }
            }
        }
        Ok(())
    }

    async fn tell_sessions(&self, events: &[WatchEvent], revision: Revision) -> Result<(), DriverError> {
        let mut changes: Vec<Change> = events.iter().filter_map(change).collect();
        if changes.is_empty() {
            return Ok(());
        }
        let missing = self.dispatch.missing_config(&changes);
        if !missing.is_empty() {
            let mut read = Vec::with_capacity(missing.len());
            for key in missing {
                read.push(self.read_config(key).await?);
            }
            changes.splice(0..0, read);
        }
        self.publish(&changes, revision);
        Ok(())
    }

    fn fold_object(&mut self, kind: &Kind, key: &ObjectKey, json: &[u8], now: Timestamp) {
        match Kept::of(kind) {
            Kept::Pod => self.fold_pod(key, json, now),
            Kept::Node => self.fold_node(key, json),
            Kept::Namespace => self.fold_namespace(key, json),
            Kept::Event => self.recorder.stored(key, now),
            Kept::Config(_) | Kept::Nothing => {}
        }
    }

    fn forget_object(&mut self, kind: &Kind, key: &ObjectKey, now: Timestamp) {
        match Kept::of(kind) {
            Kept::Pod => self.forget_pod(key),
            Kept::Node => {
                let node = NodeName::new(&*key.name);
                self.view.delete_node(&node, now);
                self.keys.touch(Key::Node(node));
            }
            Kept::Namespace => self.view.delete_namespace(&key.name),
            Kept::Event => self.recorder.removed(key),
            Kept::Config(_) | Kept::Nothing => {}
        }
        if kind.namespaced {
            self.view.object_deleted(kind.plural, key);
            self.touch_namespace(&key.namespace);
        }
    }

    pub(super) fn fold_owners(&mut self, kind: &'static Kind, key: &ObjectKey, json: &[u8]) {
        if view::takes_part(kind.plural) {
            let id = ObjectId { plural: kind.plural, key: key.clone() };
            let touched = self.view.ownership_mut().apply(&id, json);
            self.touch_objects(&id, touched);
        }
    }

    fn forget_owners(&mut self, kind: &'static Kind, key: &ObjectKey, last: Option<&[u8]>) {
        if view::takes_part(kind.plural)
            && let Some(last) = last
        {
            let id = ObjectId { plural: kind.plural, key: key.clone() };
            let touched = self.view.ownership_mut().delete(&id, last);
            self.touch_objects(&id, touched);
        }
    }

    fn touch_objects(&mut self, id: &ObjectId, touched: Result<BTreeSet<ObjectId>, DecodeError>) {
        match touched {
            Ok(touched) => touched.into_iter().for_each(|id| self.keys.touch(Key::Object(id))),
            Err(error) => tracing::error!(?id, %error, "the owners of a stored object cannot be decoded"),
        }
    }

    pub(super) fn count_created(&mut self, kind: &Kind, key: &ObjectKey) {
        if kind.namespaced {
            self.view.object_created(kind.plural, key);
            if self.view.namespace(&key.namespace).is_some_and(|namespace| namespace.deleting) {
                self.touch_namespace(&key.namespace);
            }
        }
    }

    pub(super) fn fold_pod(&mut self, key: &ObjectKey, json: &[u8], now: Timestamp) {
        let before = match self.view.apply_pod(key, json, now) {
            Ok(before) => before,
            Err(error) => {
                tracing::error!(%key, %error, "a stored pod cannot be decoded");
                return;
            }
        };
        let Some(after) = self.view.pod(key).cloned() else { return };
        self.enqueue(key, before.as_deref(), &after, now);
        if before.as_ref().is_some_and(|before| holds(before) && !holds(&after)) {
            self.queue.changed(Hint::PodGone);
        }
        if let Some(node) = &after.node {
            self.touch_node_of_pod(node);
        }
        if after.phase.finished() || (after.deletion.is_some() && after.node.is_none()) {
            self.keys.touch(Key::Pods);
        }
    }

    pub(super) fn fold_node(&mut self, key: &ObjectKey, json: &[u8]) {
        let node = NodeName::new(&*key.name);
        let before = match self.view.apply_node(&node, json) {
            Ok(before) => before,
            Err(error) => {
                tracing::error!(%node, %error, "a stored node cannot be decoded");
                return;
            }
        };
        let after = self.view.node(&node).and_then(|entry| entry.info.clone());
        if let Some(hint) = after.and_then(|after| node_hint(before.as_deref(), &after)) {
            self.queue.changed(hint);
        }
        self.keys.touch(Key::Node(node));
    }

    pub(super) fn fold_namespace(&mut self, key: &ObjectKey, json: &[u8]) {
        if let Err(error) = self.view.apply_namespace(&key.name, json) {
            tracing::error!(namespace = %key.name, %error, "a stored namespace cannot be decoded");
        }
        self.touch_namespace(&key.name);
    }

    fn forget_pod(&mut self, key: &ObjectKey) {
        self.queue.remove(key);
        let Some(before) = self.view.delete_pod(key) else { return };
        if holds(&before) {
            self.queue.changed(Hint::PodGone);
        }
    }

    fn enqueue(&mut self, key: &ObjectKey, before: Option<&PodInfo>, after: &PodInfo, now: Timestamp) {
        let same_pod = before.filter(|before| before.uid == after.uid);
        if before.is_some() && same_pod.is_none() {
            self.queue.remove(key);
        }
        if after.assumed {
            return;
        }
        if !after.awaits_scheduling(scheduler::NAME) {
            self.queue.remove(key);
        } else if after.gated {
            self.queue.remove(key);
            if !after.marked_gated {
                self.mark_gated(key, after, now);
            }
        } else if same_pod.is_some_and(|before| !Arc::ptr_eq(&before.template, &after.template)) {
            // What it asks for is new, so what refused it may not any more.
            self.queue.remove(key);
            self.queue.add(key, after.template.priority, after.created);
        } else {
            self.queue.add(key, after.template.priority, after.created);
        }
    }

    /// A pod on a node that is not well may have to be moved; on any other it concerns no controller.
    fn touch_node_of_pod(&mut self, node: &NodeName) {
        let well = self.view.node(node).is_some_and(|entry| {
            entry.liveness == Liveness::Live && entry.info.as_ref().is_some_and(|info| info.taints.is_empty())
        });
        if !well {
            self.keys.touch(Key::Node(node.clone()));
        }
    }

    fn touch_namespace(&mut self, name: &Arc<str>) {
        self.keys.touch(Key::Namespace(Arc::clone(name)));
    }
}

/// The change of the desired sets' inputs that an event is, if any.
fn change(event: &WatchEvent) -> Option<Change> {
    let revision = event.revision;
    if DesiredSets::wants(&event.key) {
        return Some(Change {
            revision,
            subject: Subject::Record(event.key.clone()),
            json: event.value.clone(),
        });
    }
    let stored = StoredKey::parse(&event.key)?;
    let key = ObjectKey::new(stored.namespace, stored.name);
    let subject = match Kept::of(stored.kind) {
        Kept::Pod => Subject::Pod(key),
        Kept::Config(kind) => Subject::Config(ConfigKey { kind, key }),
        _ => return None,
    };
    let json = event.value.as_ref().and_then(|value| json_of(&event.key, value));
    Some(Change { revision, subject, json })
}

/// Whether a pod takes something of its node.
fn holds(pod: &PodInfo) -> bool {
    pod.node.is_some() && !pod.phase.finished()
}

/// What a change of a node may mean to pods that found no place.
fn node_hint(before: Option<&NodeInfo>, after: &NodeInfo) -> Option<Hint> {
    let Some(before) = before else { return Some(Hint::Node) };
    let same = before.labels == after.labels
        && before.taints == after.taints
        && before.unschedulable == after.unschedulable;
    if !same {
        return Some(Hint::Node);
    }
    (before.allocatable != after.allocatable || before.pods_max != after.pods_max).then_some(Hint::Capacity)
}
