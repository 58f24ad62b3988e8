//! The pods that wait for a node: which is tried next, and when one that found none is tried again.
//!
//! A pod is *active* (tried next, by priority and then by age), *backing off* until a time, or *parked* with the reasons for
//! which it found no node. What changes in the cluster moves parked pods whose reasons it may remove to backing off, for as long
//! as their count of failures demands.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use jiff::Timestamp;

use super::explain::Reason;
use crate::view::ObjectKey;

/// What changed, as far as a parked pod can care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hint {
    /// A node came.
    NodeCame,
    /// A node changed in its labels, taints or cordon, or is gone.
    NodeChanged,
    /// A node has more to give than before.
    Capacity,
    /// A pod freed what it held.
    PodGone,
    /// A pod came to a node, or one there changed its labels.
    PodCame,
    /// A claim, a volume or a class of them came or changed.
    Storage,
    /// An image of the coordinator's own registry came, changed or went.
    Image,
}

/// The waiting pods.
#[derive(Debug, Default)]
pub struct Queue {
    pods: HashMap<ObjectKey, Waiting>,
    /// Highest priority first, then the oldest.
    active: BTreeSet<(i64, Timestamp, ObjectKey)>,
    /// By the time that backing off ends.
    backing_off: BTreeSet<(Timestamp, ObjectKey)>,
    /// By the time of parking, the oldest first.
    parked: BTreeSet<(Timestamp, ObjectKey)>,
    /// The same by what may help them, so that a change concerns no others.
    hoping: BTreeMap<Hint, BTreeSet<ObjectKey>>,
    /// The time of the last call.
    now: Timestamp,
}

#[derive(Debug)]
struct Waiting {
    priority: i32,
    created: Timestamp,
    failures: u32,
    failed_at: Timestamp,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Active,
    BackingOff(Timestamp),
    Parked {
        since: Timestamp,
        reasons: Vec<Reason>,
    },
    /// Handed out by `pop`, its outcome not known yet.
    Trying,
}

impl Queue {
    /// Adds a pod that wants a node. One that is known keeps its place.
    pub fn add(&mut self, key: &ObjectKey, priority: i32, created: Timestamp) {
        if self.pods.contains_key(key) {
            return;
        }
        let waiting = Waiting {
            priority,
            created,
            failures: 0,
            failed_at: Timestamp::UNIX_EPOCH,
            place: Place::Active,
        };
        self.active.insert(active_key(&waiting, key));
        self.pods.insert(key.clone(), waiting);
    }

    /// Takes a pod out, wherever it is.
    pub fn remove(&mut self, key: &ObjectKey) {
        if self.pods.contains_key(key) {
            self.leave(key);
            self.pods.remove(key);
        }
    }

    /// Tries a pod again at once because it changed itself, forgetting its failures.
    pub fn renew(&mut self, key: &ObjectKey) {
        if let Some(waiting) = self.pods.get_mut(key) {
            waiting.failures = 0;
            self.enter(key, Place::Active);
        }
    }

    /// The next pod to try now.
    pub fn pop(&mut self, now: Timestamp) -> Option<ObjectKey> {
        self.wake(now);
        let (_, _, key) = self.active.first()?.clone();
        self.enter(&key, Place::Trying);
        Some(key)
    }

    /// A popped pod found no node for these reasons.
    pub fn park<'a>(&mut self, key: &ObjectKey, reasons: impl Iterator<Item = &'a Reason>, now: Timestamp) {
        let Some(waiting) = self.pods.get_mut(key) else { return };
        waiting.failures = waiting.failures.saturating_add(1);
        waiting.failed_at = now;
        let place = Place::Parked { since: now, reasons: reasons.cloned().collect() };
        self.enter(key, place);
    }

    /// A popped pod has to be tried again after a while: its binding failed.
    pub fn retry(&mut self, key: &ObjectKey, now: Timestamp) {
        let Some(waiting) = self.pods.get_mut(key) else { return };
        waiting.failures = waiting.failures.saturating_add(1);
        waiting.failed_at = now;
        let until = backoff_end(waiting);
        self.enter(key, Place::BackingOff(until));
    }

    /// Something changed: parked pods that it helps are tried again, those that failed recently after their backoff. `helps` says
    /// of a pod that the kind of change could help whether this one does.
    pub fn changed(&mut self, hint: Hint, helps: impl Fn(&ObjectKey, &[Reason]) -> bool) {
        let Some(hoping) = self.hoping.get(&hint) else { return };
        let helped: Vec<(ObjectKey, Timestamp)> = hoping
            .iter()
            .filter_map(|key| {
                let waiting = self.pods.get(key)?;
                let Place::Parked { reasons, .. } = &waiting.place else { return None };
                helps(key, reasons).then(|| (key.clone(), backoff_end(waiting)))
            })
            .collect();
        for (key, until) in helped {
            self.enter(&key, Place::BackingOff(until));
        }
    }

    /// When [`Self::pop`] may answer a pod that it does not answer now; `None` when only a change can help.
    pub fn next_wake(&self) -> Option<Timestamp> {
        if !self.active.is_empty() {
            // At once.
            return Some(Timestamp::MIN);
        }
        let backing_off = self.backing_off.first().map(|(until, _)| *until);
        let parked = self.parked.first().map(|(since, _)| *since + PARKED_MAX);
        [backing_off, parked].into_iter().flatten().min()
    }

    /// Number of waiting pods.
    pub fn len(&self) -> usize {
        self.pods.len()
    }

    /// Whether no pod waits.
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    fn wake(&mut self, now: Timestamp) {
        if now < self.now {
            self.wake_all(now);
        }
        self.now = now;
        while let Some((until, key)) = self.backing_off.first().cloned()
            && until <= now
        {
            self.enter(&key, Place::Active);
        }
        while let Some((since, key)) = self.parked.first().cloned()
            && since + PARKED_MAX <= now
        {
            self.enter(&key, Place::Active);
        }
    }

    /// The clock was put back: nobody knows how long ago what waits began to.
    fn wake_all(&mut self, now: Timestamp) {
        for waiting in self.pods.values_mut() {
            waiting.failed_at = waiting.failed_at.min(now);
        }
        let waiting = self.backing_off.iter().chain(&self.parked).map(|(_, key)| key.clone());
        for key in waiting.collect::<Vec<_>>() {
            self.enter(&key, Place::Active);
        }
    }

    fn enter(&mut self, key: &ObjectKey, place: Place) {
        self.leave(key);
        let Some(waiting) = self.pods.get_mut(key) else { return };
        match &place {
            Place::Active => {
                self.active.insert(active_key(waiting, key));
            }
            Place::BackingOff(until) => {
                self.backing_off.insert((*until, key.clone()));
            }
            Place::Parked { since, reasons } => {
                self.parked.insert((*since, key.clone()));
                for hint in hints(reasons) {
                    self.hoping.entry(hint).or_default().insert(key.clone());
                }
            }
            Place::Trying => {}
        }
        waiting.place = place;
    }

    fn leave(&mut self, key: &ObjectKey) {
        let Some(waiting) = self.pods.get(key) else { return };
        match &waiting.place {
            Place::Active => {
                self.active.remove(&active_key(waiting, key));
            }
            Place::BackingOff(until) => {
                self.backing_off.remove(&(*until, key.clone()));
            }
            Place::Parked { since, reasons } => {
                self.parked.remove(&(*since, key.clone()));
                for hint in hints(reasons) {
                    if let Some(hoping) = self.hoping.get_mut(&hint) {
                        hoping.remove(key);
                    }
                }
            }
            Place::Trying => {}
        }
    }
}

impl Hint {
    const ALL: [Self; 7] = [
        Self::NodeCame,
        Self::NodeChanged,
        Self::Capacity,
        Self::PodGone,
        Self::PodCame,
        Self::Storage,
        Self::Image,
    ];

    /// Whether such a change could remove a reason.
    const fn helps(self, reason: &Reason) -> bool {
        match reason {
            Reason::NodeUnschedulable
            | Reason::UntoleratedTaint
            | Reason::NotNamed
            | Reason::NodeAffinity
            | Reason::SpreadLabelMissing => matches!(self, Self::NodeCame | Self::NodeChanged),
            Reason::NoContainers | Reason::NoNetwork | Reason::OtherPlatform => {
                matches!(self, Self::NodeCame | Self::NodeChanged | Self::Image)
            }
            // A node that came with a taint is of use once it is gone.
            Reason::NodePorts => matches!(self, Self::NodeCame | Self::NodeChanged | Self::PodGone),
            Reason::TooManyPods
            | Reason::InsufficientCpu
            | Reason::InsufficientMemory
            | Reason::InsufficientEphemeralStorage
            | Reason::InsufficientExtended(_) => {
                matches!(self, Self::NodeCame | Self::NodeChanged | Self::Capacity | Self::PodGone)
            }
            Reason::VolumeNodeAffinity | Reason::VolumeMissing | Reason::VolumeUnbound => {
                matches!(self, Self::NodeCame | Self::NodeChanged | Self::Storage)
            }
            Reason::TopologySpread => {
                matches!(self, Self::NodeCame | Self::NodeChanged | Self::PodGone | Self::PodCame)
            }
            Reason::PodAffinity => matches!(self, Self::NodeCame | Self::NodeChanged | Self::PodCame),
            Reason::PodAntiAffinity | Reason::ExistingAntiAffinity => {
                matches!(self, Self::NodeCame | Self::NodeChanged | Self::PodGone | Self::PodCame)
            }
            Reason::Prerequisite => matches!(self, Self::Storage),
            Reason::NoVictims | Reason::PreemptionNotHelpful => false,
        }
    }
}

/// What may help a pod that is parked for these reasons. Without any node, each that comes.
fn hints(reasons: &[Reason]) -> impl Iterator<Item = Hint> {
    Hint::ALL.into_iter().filter(|hint| {
        reasons.iter().any(|reason| hint.helps(reason)) || reasons.is_empty() && *hint == Hint::NodeCame
    })
}

fn active_key(waiting: &Waiting, key: &ObjectKey) -> (i64, Timestamp, ObjectKey) {
    (-i64::from(waiting.priority), waiting.created, key.clone())
}

fn backoff_end(waiting: &Waiting) -> Timestamp {
    let doublings = waiting.failures.saturating_sub(1).min(BACKOFF_DOUBLINGS_MAX);
    waiting.failed_at + (BACKOFF_FIRST * 2_u32.pow(doublings)).min(BACKOFF_MAX)
}

/// Kubernetes' first backoff of a pod that could not be placed.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);

/// Kubernetes' longest backoff of a pod that could not be placed.
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Doublings after which the longest backoff is reached for certain.
const BACKOFF_DOUBLINGS_MAX: u32 = 4;

/// A parked pod is tried again after this long even if no change seemed to help it, as in Kubernetes.
const PARKED_MAX: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests;
