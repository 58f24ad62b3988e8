//! Who a restored cluster lets in: its backup brings keys and tokens back as they were then, also those that were refused since.
//!
//! What the cluster that it takes the place of refused stays refused. When that cannot be read, all that comes back is told.

use std::collections::BTreeMap;

use dunlin_link::{NodeName, Revision, UnixMillis, join::TokenId};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    TOKENS, TokenRecord, decode, encode,
    nodes::{NODES, NodeRecord, REVOKED, RevokeError, RevokedKey, node_key, revoke_key, revoked_key},
};
use crate::store::{KeyValue, Write};

/// The keys and tokens of a cluster that is not running.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    nodes: BTreeMap<String, Entry<NodeRecord>>,
    revoked: BTreeMap<String, Entry<RevokedKey>>,
    tokens: BTreeMap<String, Entry<TokenRecord>>,
}

/// A record, and how it lies in the store.
#[derive(Debug)]
struct Entry<T> {
    stored: KeyValue,
    record: T,
}

/// What a restored cluster lets in that the one before did not, or of which that is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Returned {
    /// Nodes whose key is good.
    pub nodes: Vec<NodeName>,
    /// Tokens that can be used.
    pub tokens: Vec<TokenId>,
}

impl Admission {
    /// What the store keeps of it is below these.
    pub(crate) const PREFIXES: [&str; 3] = [NODES, REVOKED, TOKENS];

    /// Takes a value that says who is let in, and gives every other one back; also one that cannot be read, which lets nobody in.
    pub(crate) fn take(&mut self, stored: KeyValue) -> Option<KeyValue> {
        if stored.key.starts_with(NODES) {
            keep(&mut self.nodes, stored)
        } else if stored.key.starts_with(REVOKED) {
            keep(&mut self.revoked, stored)
        } else if stored.key.starts_with(TOKENS) {
            keep(&mut self.tokens, stored)
        } else {
            Some(stored)
        }
    }

    /// Refuses, at `revision`, every key that `later` refuses, and takes from tokens what was used of them there; those that are not
    /// there any more go.
    pub(crate) fn refuse_as(&mut self, later: &Self, revision: Revision) {
        for (path, entry) in &later.revoked {
            let stored = KeyValue { mod_revision: revision, ..entry.stored.clone() };
            let entry = Entry { stored, record: entry.record.clone() };
            self.revoked.entry(path.clone()).or_insert(entry);
        }
        for entry in self.nodes.values_mut() {
            let revoked = self.revoked.get(&revoked_key(entry.record.key));
            if let (Some(revoked), None) = (revoked, entry.record.revoked_at) {
                entry.record.revoked_at = Some(revoked.record.revoked_at);
                entry.change(revision);
            }
        }
        self.tokens.retain(|path, _| later.tokens.contains_key(path));
        for (path, entry) in &mut self.tokens {
            let left = later.tokens[path].record.uses_left;
            if left.is_some_and(|left| entry.record.uses_left.is_none_or(|before| left < before)) {
                entry.record.uses_left = left;
                entry.change(revision);
            }
        }
    }

    /// Refuses the key of a node, at `revision`.
    ///
    /// # Errors
    /// When there is no such node.
    pub(crate) fn revoke(
        &mut self,
        node: &NodeName,
        revision: Revision,
        now: UnixMillis,
    ) -> Result<(), RevokeError> {
        let unknown = || RevokeError::UnknownNode(node.clone());
        let entry = self.nodes.get_mut(&node_key(node)).ok_or_else(unknown)?;
        if entry.record.revoked_at.is_some() {
            return Ok(());
        }
        entry.record.revoked_at = Some(now);
        entry.change(revision);
        if let Write::Put(key, value) = revoke_key(node, entry.record.key, now) {
            keep(&mut self.revoked, KeyValue { key, value, mod_revision: revision });
        }
        Ok(())
    }

    /// Who is let in and was not in `before`; everyone, when nothing is known of that.
    pub(crate) fn returned(&self, before: Option<&Self>, now: UnixMillis) -> Returned {
        let was_good = |path: &String, record: &NodeRecord| {
            let known = before.and_then(|before| before.nodes.get(path));
            known.is_some_and(|known| known.record.key == record.key && known.record.revoked_at.is_none())
        };
        let nodes = self
            .nodes
            .iter()
            .filter(|(path, entry)| entry.record.revoked_at.is_none() && !was_good(path, &entry.record));
        let tokens = self.tokens.iter().filter(|(path, Entry { record, .. })| {
            let is_good = record.uses_left != Some(0) && record.expires_at.is_none_or(|end| end > now);
            is_good && before.is_none_or(|before| !before.tokens.contains_key(*path))
        });
        Returned {
            nodes: nodes.map(|(path, _)| NodeName::new(path.trim_start_matches(NODES))).collect(),
            tokens: tokens.map(|(_, entry)| entry.record.id.clone()).collect(),
        }
    }

    /// All of it, as a store keeps it.
    pub(crate) fn into_values(self) -> impl Iterator<Item = KeyValue> {
        let nodes = self.nodes.into_values().map(|entry| entry.stored);
        let revoked = self.revoked.into_values().map(|entry| entry.stored);
        let tokens = self.tokens.into_values().map(|entry| entry.stored);
        nodes.chain(revoked).chain(tokens)
    }
}

impl<T: Serialize> Entry<T> {
    /// Stores what was changed of the record.
    fn change(&mut self, revision: Revision) {
        self.stored.value = encode(&self.record);
        self.stored.mod_revision = revision;
    }
}

fn keep<T: DeserializeOwned>(entries: &mut BTreeMap<String, Entry<T>>, stored: KeyValue) -> Option<KeyValue> {
    let Ok(record) = decode(&stored) else { return Some(stored) };
    entries.insert(stored.key.clone(), Entry { stored, record });
    None
}
