//! Which controllers have to be asked about what, and when.
//!
//! A key is asked about at once when something changed, later when its plan said so, and after a growing delay when carrying out
//! its plan failed. While its plan is carried out it waits.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use dunlin_link::NodeName;
use jiff::Timestamp;

use crate::view::{ObjectId, ObjectKey};

/// What controllers look at together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A node and its pods.
    Node(NodeName),
    /// A namespace and its contents.
    Namespace(Arc<str>),
    /// All pods.
    Pods,
    /// All ClusterRoles.
    ClusterRoles,
    /// All bootstrap tokens.
    BootstrapTokens,
    /// A PodDisruptionBudget and the pods that it guards.
    Budget(ObjectKey),
    /// An object with its owners and dependents.
    Object(ObjectId),
}

/// The keys, by when they are due.
#[derive(Debug, Default)]
pub struct Keys {
    touched: BTreeSet<Key>,
    running: BTreeSet<Key>,
    later: BTreeSet<(Timestamp, Key)>,
    later_at: HashMap<Key, Timestamp>,
    failures: HashMap<Key, u32>,
}

impl Keys {
    /// Something about `key` changed.
    pub fn touch(&mut self, key: Key) {
        self.touched.insert(key);
    }

    /// Takes out the keys to ask about now.
    pub fn take_due(&mut self, now: Timestamp) -> Vec<Key> {
        while let Some((at, key)) = self.later.first().cloned()
            && at <= now
        {
            self.cancel(&key);
            self.touched.insert(key);
        }
        let (waiting, due) =
            std::mem::take(&mut self.touched).into_iter().partition(|key| self.running.contains(key));
        self.touched = waiting;
        BTreeSet::into_iter(due).collect()
    }

    /// The plan of a key taken out is being carried out.
    pub fn started(&mut self, key: &Key, again_at: Option<Timestamp>) {
        self.running.insert(key.clone());
        self.cancel(key);
        if let Some(at) = again_at {
            self.schedule(key, at);
        }
    }

    /// It was carried out.
    pub fn succeeded(&mut self, key: &Key) {
        self.running.remove(key);
        self.failures.remove(key);
    }

    /// It was not.
    pub fn failed(&mut self, key: &Key, now: Timestamp) {
        self.running.remove(key);
        let failures = self.failures.entry(key.clone()).or_default();
        *failures = failures.saturating_add(1);
        let delay = (RETRY_FIRST * 2_u32.pow((*failures - 1).min(RETRY_DOUBLINGS_MAX))).min(RETRY_MAX);
        let at = self.later_at.get(key).map_or(now + delay, |known| (*known).min(now + delay));
        self.cancel(key);
        self.schedule(key, at);
    }

    /// When a key becomes due although nothing changes.
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.later.first().map(|(at, _)| *at)
    }

    fn schedule(&mut self, key: &Key, at: Timestamp) {
        self.later.insert((at, key.clone()));
        self.later_at.insert(key.clone(), at);
    }

    fn cancel(&mut self, key: &Key) {
        if let Some(at) = self.later_at.remove(key) {
            self.later.remove(&(at, key.clone()));
        }
    }
}

/// Delay after the first failure.
const RETRY_FIRST: Duration = Duration::from_millis(50);

/// Longest delay: a person who removed the cause does not wait long.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Doublings after which the longest delay is reached for certain.
const RETRY_DOUBLINGS_MAX: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap()
    }

    #[test]
    fn a_key_waits_while_its_plan_is_carried_out_and_backs_off_when_that_fails() {
        let mut keys = Keys::default();
        keys.touch(Key::Pods);
        assert_eq!(keys.take_due(at(0)), [Key::Pods]);
        keys.started(&Key::Pods, Some(at(5000)));
        keys.touch(Key::Pods);
        assert_eq!(keys.take_due(at(0)), []);
        keys.succeeded(&Key::Pods);
        assert_eq!(keys.take_due(at(0)), [Key::Pods]);
        keys.started(&Key::Pods, None);
        assert_eq!(keys.next_wake(), None, "the newer plan needs no waking");
        for (now, due) in [(0, 50), (50, 150), (150, 350)] {
            keys.failed(&Key::Pods, at(now));
            assert_eq!(keys.next_wake(), Some(at(due)));
            assert_eq!(keys.take_due(at(due)), [Key::Pods]);
            keys.started(&Key::Pods, None);
        }
        keys.succeeded(&Key::Pods);
        assert_eq!(keys.next_wake(), None);
    }
}
