//! When nodes were last heard of, in memory only, and the Leases that say so to whoever reads them.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use dunlin_api::Kind;
use dunlin_coordinator_core::node_lease;
use dunlin_link::NodeName;
use jiff::Timestamp;

use super::{ApiService, stored};
use crate::store::KeyValue;

/// The nodes' sessions, as far as Leases go.
#[derive(Debug, Default)]
pub(crate) struct Contacts {
    /// Of nodes that had a session since the start and exist.
    known: Mutex<HashMap<NodeName, Contact>>,
}

#[derive(Clone, Copy, Debug)]
enum Contact {
    Open,
    Ended(Timestamp),
}

impl Contacts {
    /// The node's session opened.
    pub(crate) fn opened(&self, node: &NodeName) {
        self.known().insert(node.clone(), Contact::Open);
    }

    /// It ended, or fell silent. Of a node that was removed nothing is kept.
    pub(crate) fn closed(&self, node: &NodeName, now: Timestamp) {
        if let Some(contact) = self.known().get_mut(node) {
            *contact = Contact::Ended(now);
        }
    }

    /// The node was removed.
    pub(super) fn forget(&self, node: &NodeName) {
        self.known().remove(node);
    }

    /// When its session ended, if it has none.
    pub(crate) fn ended(&self, node: &NodeName) -> Option<Timestamp> {
        match self.known().get(node)? {
            Contact::Open => None,
            Contact::Ended(at) => Some(*at),
        }
    }

    /// When the node was heard of last; `None` when it has not been since the start.
    fn last(&self, node: &NodeName, now: Timestamp) -> Option<Timestamp> {
        Some(match self.known().get(node)? {
            Contact::Open => now,
            Contact::Ended(at) => *at,
        })
    }

    fn known(&self) -> MutexGuard<'_, HashMap<NodeName, Contact>> {
        // Each change is one insertion or removal, so one that panicked left nothing half done.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ApiService {
    /// When nodes were last heard of.
    pub(crate) fn contacts(&self) -> &Contacts {
        &self.inner.contacts
    }

    /// Puts into a Lease of a node when it was heard of last; anything else stays as it is stored.
    pub(super) fn renew_lease(&self, kind: &Kind, item: &mut KeyValue) {
        if kind.kind != "Lease" {
            return;
        }
        let Some(name) = item.key.strip_prefix(&stored::prefix(kind, node_lease::NAMESPACE)) else { return };
        let Some(at) = self.contacts().last(&NodeName::new(name), self.clock().now()) else { return };
        // As long as before, so that what the value's header says of places holds.
        if let Some(renewed) = node_lease::renewed(&item.value, at) {
            item.value = renewed.into();
        }
    }
}
