//! Which controllers have to be asked about what, and when.
//!
//! A key is asked about at once when something changed, later when its plan said so, and after a growing delay when carrying out
//! its plan failed. While its plan is carried out it waits.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use dunlin_link::{NodeName, Revision};
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
    /// A request for a certificate.
    CertificateRequest(Arc<str>),
    /// A PodDisruptionBudget and the pods that it guards.
    Budget(ObjectKey),
    /// A HorizontalPodAutoscaler and its target.
    Autoscaler(ObjectKey),
    /// A Service with its slices, and the Endpoints of its name.
    Service(ObjectKey),
    /// A PersistentVolumeClaim, its volume and the pods that use it.
    Claim(ObjectKey),
    /// A PersistentVolume and its claim.
    Volume(Arc<str>),
    /// An object with its owners and dependents.
    Object(ObjectId),
    /// A workload and its pods.
    Workload(ObjectId),
    /// A pod that a Job held, and that perhaps none counts any more.
    OrphanPod(ObjectKey),
}

/// What went wrong when a plan was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// As the API said it.
    pub message: String,
    /// How often in a row.
    pub times: u32,
}

/// The keys, by when they are due.
#[derive(Debug, Default)]
pub struct Keys {
    touched: BTreeSet<Key>,
    running: BTreeSet<Key>,
    /// Plans that are carried out, with the revision up to which the view has to come before their keys are asked about again.
    written: BTreeSet<(Revision, Key)>,
    /// How far the view has come.
    seen: Revision,
    later: BTreeSet<(Timestamp, Key)>,
    later_at: HashMap<Key, Timestamp>,
    failures: HashMap<Key, Failure>,
    /// The time of the last call.
    now: Timestamp,
}

impl Keys {
    /// Something about `key` changed.
    pub fn touch(&mut self, key: Key) {
        self.touched.insert(key);
    }

    /// Whether the clock was put back since the last call.
    pub(super) fn is_before(&self, now: Timestamp) -> bool {
        now < self.now
    }

    /// Takes out the keys to ask about now.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Vec<Key> {
        if now < self.now {
            // The clock was put back: nobody knows how long ago what waits began to.
            self.later_at.clear();
            self.touched.extend(std::mem::take(&mut self.later).into_iter().map(|(_, key)| key));
        }
        self.now = now;
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

    /// It was carried out, and what it wrote is in the view once that has come to revision `written`: not before is the key asked
    /// about again, so that no controller sees a world older than its own writes.
    pub fn succeeded(&mut self, key: &Key, written: Revision) {
        self.failures.remove(key);
        self.ended(key, written);
    }

    /// It was not, or not all of it.
    pub fn failed(&mut self, key: &Key, message: &str, written: Revision, now: Timestamp) {
        self.ended(key, written);
        let failure =
            self.failures.entry(key.clone()).or_insert_with(|| Failure { message: String::new(), times: 0 });
        failure.times = failure.times.saturating_add(1);
        message.clone_into(&mut failure.message);
        let delay = (RETRY_FIRST * 2_u32.pow((failure.times - 1).min(RETRY_DOUBLINGS_MAX))).min(RETRY_MAX);
        let at = self.later_at.get(key).map_or(now + delay, |known| (*known).min(now + delay));
        self.cancel(key);
        self.schedule(key, at);
    }

    /// The view has come to this revision.
    pub fn seen(&mut self, revision: Revision) {
        self.seen = self.seen.max(revision);
        while let Some((written, _)) = self.written.first()
            && *written <= self.seen
            && let Some((_, key)) = self.written.pop_first()
        {
            self.running.remove(&key);
        }
    }

    /// What went wrong with a key's last plan.
    pub fn failure(&self, key: &Key) -> Option<&Failure> {
        self.failures.get(key)
    }

    /// When a key becomes due although nothing changes.
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.later.first().map(|(at, _)| *at)
    }

    fn ended(&mut self, key: &Key, written: Revision) {
        if written <= self.seen {
            self.running.remove(key);
        } else {
            self.written.insert((written, key.clone()));
        }
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
        keys.succeeded(&Key::Pods, Revision(0));
        assert_eq!(keys.take_due(at(0)), [Key::Pods]);
        keys.started(&Key::Pods, None);
        assert_eq!(keys.next_wake(), None, "the newer plan needs no waking");
        for (now, due) in [(0, 50), (50, 150), (150, 350)] {
            keys.failed(&Key::Pods, "no", Revision(0), at(now));
            assert_eq!(keys.next_wake(), Some(at(due)));
            assert_eq!(keys.take_due(at(due)), [Key::Pods]);
            keys.started(&Key::Pods, None);
        }
        assert_eq!(keys.failure(&Key::Pods), Some(&Failure { message: "no".to_owned(), times: 3 }));
        keys.succeeded(&Key::Pods, Revision(0));
        assert_eq!(keys.next_wake(), None);
        assert_eq!(keys.failure(&Key::Pods), None);
    }

    #[test]
    fn nothing_waits_longer_when_the_clock_is_put_back() {
        let mut keys = Keys::default();
        keys.touch(Key::Pods);
        keys.take_due(at(90_000));
        keys.started(&Key::Pods, Some(at(100_000)));
        keys.succeeded(&Key::Pods, Revision(0));
        assert_eq!(keys.take_due(at(99_000)), []);
        assert_eq!(keys.take_due(at(10_000)), [Key::Pods]);
        assert_eq!(keys.next_wake(), None);
    }

    #[test]
    fn a_key_waits_until_the_view_has_what_its_plan_wrote() {
        let mut keys = Keys::default();
        keys.seen(Revision(5));
        keys.touch(Key::Pods);
        keys.take_due(at(0));
        keys.started(&Key::Pods, None);
        keys.succeeded(&Key::Pods, Revision(7));
        keys.touch(Key::Pods);
        assert_eq!(keys.take_due(at(0)), []);
        keys.seen(Revision(6));
        assert_eq!(keys.take_due(at(0)), []);
        keys.seen(Revision(7));
        assert_eq!(keys.take_due(at(0)), [Key::Pods]);
    }
}
