//! The coordinator's store as `docs/design/store.md` promises it: one writer that commits in groups, a group durable as a whole or
//! not at all, nothing visible or acknowledged before it is durable.

use std::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};

use bytes::Bytes;
use dunlin_link::Revision;
use rand::{Rng, rngs::SmallRng};
use serde_json::Value;

/// Current values and what is on its way to the disk.
#[derive(Debug, Default)]
pub(crate) struct Store {
    disk: Disk,
    queue: VecDeque<(u64, Txn)>,
    group: Option<Group>,
    commits: u64,
}

/// What survives a crash, and what a backup copies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) revision: u64,
    pub(crate) generation: u64,
    /// Where the last restore began.
    restored_at: Revision,
    values: BTreeMap<String, Stored>,
}

/// A value with the revision that wrote it.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) revision: Revision,
    pub(crate) value: Rc<Value>,
    pub(crate) json: Bytes,
}

/// Writes that happen if some keys are still as they were read.
#[derive(Debug)]
pub(crate) struct Txn {
    /// The keys that were looked at, and the revision each had; `None` when there was nothing.
    pub(crate) reads: Vec<(String, Option<Revision>)>,
    /// `None` deletes.
    pub(crate) writes: Vec<(String, Option<Value>)>,
}

/// One change, as watches see it.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) revision: Revision,
    pub(crate) key: String,
    pub(crate) before: Option<Stored>,
    pub(crate) after: Option<Stored>,
}

impl Change {
    /// The key, and what of the value tells most.
    pub(crate) fn in_words(&self) -> String {
        let Some(after) = &self.after else { return format!("{} gone", self.key) };
        let value = &*after.value;
        let mut words = self.key.clone();
        let mut tell = |name: &str, found: &Value| {
            if !found.is_null() {
                words.push_str(&format!(" {name}={found}"));
            }
        };
        tell("replicas", &value["spec"]["replicas"]);
        tell("on", &value["spec"]["nodeName"]);
        tell("available", &value["status"]["availableReplicas"]);
        let conditions = value["status"]["conditions"].as_array().into_iter().flatten();
        for condition in conditions.filter(|condition| condition["type"] == "Ready") {
            tell("ready", &condition["status"]);
        }
        tell("deleted", &value["metadata"]["deletionTimestamp"]);
        words
    }
}

/// Whether a transaction was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Committed,
    Conflict,
}

#[derive(Debug)]
struct Group {
    outcomes: Vec<(u64, Outcome)>,
    writes: Vec<(Revision, String, Option<Value>)>,
    revision: u64,
}

impl Store {
    pub(crate) fn get(&self, key: &str) -> Option<&Stored> {
        self.disk.values.get(key)
    }

    /// Every key that begins with `prefix`, in order.
    pub(crate) fn list<'s>(
        &'s self,
        prefix: &str,
    ) -> impl Iterator<Item = (&'s String, &'s Stored)> + use<'s> {
        let start = prefix.to_owned();
        let prefix = prefix.to_owned();
        self.disk.values.range(start..).take_while(move |(key, _)| key.starts_with(&prefix))
    }

    pub(crate) fn revision(&self) -> Revision {
        Revision(self.disk.revision)
    }

    pub(crate) const fn generation(&self) -> u64 {
        self.disk.generation
    }

    /// The revision that the store went on from after its last restore.
    pub(crate) const fn restored_at(&self) -> Revision {
        self.disk.restored_at
    }

    /// How many groups were written.
    pub(crate) const fn commits(&self) -> u64 {
        self.commits
    }

    /// Hands a transaction to the writer.
    pub(crate) fn submit(&mut self, ticket: u64, txn: Txn) {
        self.queue.push_back((ticket, txn));
    }

    /// Starts to write what waits, unless a group is being written; says whether a flush is to be waited for now.
    pub(crate) fn begin(&mut self) -> bool {
        if self.group.is_some() || self.queue.is_empty() {
            return false;
        }
        let mut group = Group { outcomes: Vec::new(), writes: Vec::new(), revision: self.disk.revision };
        let mut staged: BTreeMap<String, Option<Revision>> = BTreeMap::new();
        for (ticket, txn) in self.queue.drain(..) {
            let is_as_read = |(key, expected): &(String, Option<Revision>)| {
                let current = match staged.get(key) {
                    Some(revision) => *revision,
                    None => self.disk.values.get(key).map(|stored| stored.revision),
                };
                current == *expected
            };
            if !txn.reads.iter().all(is_as_read) {
                group.outcomes.push((ticket, Outcome::Conflict));
                continue;
            }
            group.revision += 1;
            let revision = Revision(group.revision);
            for (key, value) in txn.writes {
                staged.insert(key.clone(), value.as_ref().map(|_| revision));
                group.writes.push((revision, key, value));
            }
            group.outcomes.push((ticket, Outcome::Committed));
        }
        self.group = Some(group);
        true
    }

    /// The group's flush returned: its transactions are durable and visible now.
    pub(crate) fn flushed(&mut self) -> (Vec<(u64, Outcome)>, Vec<Change>) {
        let Some(group) = self.group.take() else { return (Vec::new(), Vec::new()) };
        let changes = self.disk.apply(&group);
        self.commits += u64::from(!changes.is_empty());
        (group.outcomes, changes)
    }

    /// The process ends here. Whether a group that was being written is found later is a matter of luck; it is found whole. Answers
    /// what became visible by that.
    pub(crate) fn crash(&mut self, rng: &mut SmallRng) -> Vec<Change> {
        self.queue.clear();
        match self.group.take() {
            Some(group) if rng.random_bool(0.5) => self.disk.apply(&group),
            _ => Vec::new(),
        }
    }

    /// A copy as of now.
    pub(crate) fn backup(&self) -> Disk {
        self.disk.clone()
    }

    /// Becomes what a backup holds, one restore generation on.
    pub(crate) fn restore(&mut self, backup: Disk) {
        let generation = self.disk.generation.max(backup.generation) + 1;
        // Above all of the backup, as a restore makes it.
        let revision = backup.revision + 1;
        self.disk = Disk { generation, revision, restored_at: Revision(revision), ..backup };
    }
}

impl Disk {
    fn apply(&mut self, group: &Group) -> Vec<Change> {
        self.revision = group.revision;
        let change = |(revision, key, value): &(Revision, String, Option<Value>)| {
            let after = value.as_ref().map(|value| Stored {
                revision: *revision,
                value: Rc::new(value.clone()),
                json: value.to_string().into(),
            });
            let before = match &after {
                Some(stored) => self.values.insert(key.clone(), stored.clone()),
                None => self.values.remove(key),
            };
            Change { revision: *revision, key: key.clone(), before, after }
        };
        group.writes.iter().map(change).collect()
    }
}
