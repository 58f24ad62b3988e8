//! Which session of each node is the current one. Everything that a session brings in is checked against this first.

use std::collections::BTreeMap;

use crate::{
    NodeName,
    message::{Attempt, Epoch},
};

/// The sessions of all nodes in one term.
#[derive(Debug)]
pub struct Registry {
    newest: Epoch,
    nodes: BTreeMap<NodeName, Entry>,
}

#[derive(Debug)]
struct Entry {
    epoch: Epoch,
    attempt: Attempt,
    is_open: bool,
}

/// A connection that the node opened before the one that is, or was, its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node has opened a newer connection since")]
pub struct StaleAttempt;

impl Registry {
    /// No session yet. `term` is above that of every earlier registry of the cluster.
    pub const fn new(term: u64) -> Self {
        Self { newest: Epoch { term, counter: 0 }, nodes: BTreeMap::new() }
    }

    /// Makes a connection the node's current session, in place of any other.
    ///
    /// # Errors
    /// When the same agent has opened a later connection that was seen before.
    pub fn open(&mut self, node: &NodeName, attempt: Attempt) -> Result<Epoch, StaleAttempt> {
        if self.nodes.get(node).is_some_and(|entry| {
            entry.attempt.agent == attempt.agent && entry.attempt.counter >= attempt.counter
        }) {
            return Err(StaleAttempt);
        }
        self.newest.counter += 1;
        let entry = Entry { epoch: self.newest, attempt, is_open: true };
        self.nodes.insert(node.clone(), entry);
        Ok(self.newest)
    }

    /// Ends a session. True when it was the current one, so that the node is without a session now.
    pub fn close(&mut self, node: &NodeName, epoch: Epoch) -> bool {
        match self.nodes.get_mut(node) {
            Some(entry) if entry.epoch == epoch => std::mem::take(&mut entry.is_open),
            _ => false,
        }
    }

    /// Removes a node that left the cluster.
    pub fn remove(&mut self, node: &NodeName) {
        self.nodes.remove(node);
    }

    /// Whether `epoch` is the node's open session.
    pub fn is_current(&self, node: &NodeName, epoch: Epoch) -> bool {
        self.nodes.get(node).is_some_and(|entry| entry.is_open && entry.epoch == epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_connections_replace_and_earlier_ones_do_not() {
        let mut registry = Registry::new(7);
        let node = NodeName::new("n");
        let attempt = |agent, counter| Attempt { agent, counter };
        let first = registry.open(&node, attempt(1, 5)).unwrap();
        let second = registry.open(&node, attempt(1, 6)).unwrap();
        assert!(second > first && !registry.is_current(&node, first));
        assert_eq!(registry.open(&node, attempt(1, 5)), Err(StaleAttempt));
        assert!(!registry.close(&node, first), "an old close handler changes nothing");
        assert!(registry.is_current(&node, second));
        assert!(registry.close(&node, second) && !registry.close(&node, second));
        assert_eq!(registry.open(&node, attempt(1, 6)), Err(StaleAttempt));
        assert!(registry.open(&node, attempt(2, 1)).unwrap() > second, "a restarted agent counts anew");
    }
}
