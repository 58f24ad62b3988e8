//! The tables in redb and what one transaction does to them.

use dunlin_link::Revision;
use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};

use crate::store::{
    KeyValue, StoreError, Txn, TxnOutcome, WatchEvent, Write,
    entry::{self, Change, Meta, NOTHING, Version},
};

/// Current values: key to version.
pub(super) const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
/// The version that a key had before the change at a revision: (key, revision) to version or nothing.
pub(super) const HISTORY: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("history");
/// What changed at a revision: (revision, index in its transaction) to change.
pub(super) const CHANGES: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("changes");
/// One row, [`Meta`].
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// The tables within a write transaction.
pub(super) struct Tables<'txn> {
    objects: Table<'txn, &'static str, &'static [u8]>,
    history: Table<'txn, (&'static str, u64), &'static [u8]>,
    changes: Table<'txn, (u64, u32), &'static [u8]>,
    meta: Table<'txn, &'static str, &'static [u8]>,
}

/// How far history may be shortened in one commit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pruning {
    /// Changes up to this revision are old enough to go.
    pub(super) aged: Revision,
    /// Beyond this many bytes, younger ones go too.
    pub(super) history_bytes_max: u64,
    /// About so many changes go by age, so that no commit takes long.
    pub(super) changes_max: usize,
}

impl<'txn> Tables<'txn> {
    /// Opens the tables, creating those that are absent.
    pub(super) fn open(txn: &'txn WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            objects: txn.open_table(OBJECTS)?,
            history: txn.open_table(HISTORY)?,
            changes: txn.open_table(CHANGES)?,
            meta: txn.open_table(META)?,
        })
    }

    /// Evaluates and applies one transaction; nothing is changed unless the outcome is `Committed`.
    pub(super) fn execute(
        &mut self,
        txn: &Txn,
        meta: &mut Meta,
        events: &mut Vec<WatchEvent>,
    ) -> Result<Result<TxnOutcome, StoreError>, redb::Error> {
        for (index, compare) in txn.compares.iter().enumerate() {
            let current = self.objects.get(compare.key())?;
            let revision = match &current {
                Some(entry) => entry::decode_revision(entry.value())?,
                None => None,
            };
            if !compare.holds(revision) {
                drop(current);
                return Ok(Ok(TxnOutcome::Conflict(index, self.current(compare.key())?)));
            }
        }
        for write in &txn.writes {
            if write.value().is_none() && self.objects.get(write.key())?.is_none() {
                return Ok(Err(StoreError::Malformed("an absent key is deleted")));
            }
        }
        if !txn.writes.is_empty() {
            events.extend(self.apply(&txn.writes, meta)?);
        }
        Ok(Ok(TxnOutcome::Committed(meta.revision)))
    }

    /// Applies writes whose conditions hold, at the next revision.
    pub(super) fn apply(
        &mut self,
        writes: &[Write],
        meta: &mut Meta,
    ) -> Result<Vec<WatchEvent>, redb::Error> {
        meta.revision.0 += 1;
        let revision = meta.revision;
        let mut events = Vec::with_capacity(writes.len());
        for (index, write) in (0..).zip(writes) {
            let key = write.key();
            let previous = match write.value() {
                Some(value) => self.objects.insert(key, &*Version::encode(revision, value))?,
                None => self.objects.remove(key)?,
            };
            let previous_entry = previous.as_ref().map_or(NOTHING, |entry| entry.value());
            meta.history_bytes += entry::history_bytes(key, previous_entry);
            self.history.insert((key, revision.0), previous_entry)?;
            self.changes.insert((revision.0, index), &*Change::encode(write))?;
            events.push(WatchEvent {
                key: key.to_owned(),
                revision,
                value: write.value().cloned(),
                previous: Version::decode(previous_entry)?.map(|version| (version.value, version.revision)),
            });
        }
        Ok(events)
    }

    /// Removes the oldest whole revisions of history, as `pruning` says.
    pub(super) fn prune(&mut self, pruning: Pruning, meta: &mut Meta) -> Result<(), redb::Error> {
        let mut removed = 0;
        while meta.floor < meta.revision {
            let oldest = Revision(meta.floor.0 + 1);
            let too_large = meta.history_bytes > pruning.history_bytes_max;
            let aged = oldest <= pruning.aged && removed < pruning.changes_max;
            if !too_large && !aged {
                break;
            }
            removed += self.forget(oldest, meta)?;
            meta.floor = oldest;
        }
        Ok(())
    }

    /// Writes the row of state.
    pub(super) fn save(&mut self, meta: &Meta) -> Result<(), redb::Error> {
        self.meta.insert(META_KEY, &*meta.encode())?;
        Ok(())
    }

    /// The row of state; `None` in a database that was just made.
    pub(super) fn load(&self) -> Result<Option<Meta>, redb::Error> {
        let entry = self.meta.get(META_KEY)?;
        Ok(entry.map(|entry| Meta::decode(entry.value())).transpose()?)
    }

    fn current(&self, key: &str) -> Result<Option<KeyValue>, redb::Error> {
        match self.objects.get(key)? {
            None => Ok(None),
            Some(entry) => Ok(key_value(key, entry.value())?),
        }
    }

    /// Removes all history of one revision; answers how many changes it had.
    fn forget(&mut self, revision: Revision, meta: &mut Meta) -> Result<usize, redb::Error> {
        let mut forgotten = 0;
        for index in 0.. {
            let Some(change) = self.changes.remove((revision.0, index))? else { break };
            let change = Change::decode(change.value())?;
            if let Some(previous) = self.history.remove((change.key.as_str(), revision.0))? {
                let bytes = entry::history_bytes(&change.key, previous.value());
                meta.history_bytes = meta.history_bytes.saturating_sub(bytes);
            }
            forgotten += 1;
        }
        Ok(forgotten)
    }
}

/// What `entry`, the current version of `key`, says.
pub(super) fn key_value(key: &str, entry: &[u8]) -> Result<Option<KeyValue>, entry::Damaged> {
    let version = Version::decode(entry)?;
    let key_value = |Version { revision, value }: Version| KeyValue {
        key: key.to_owned(),
        value,
        mod_revision: revision,
    };
    Ok(version.map(key_value))
}

/// Key of the one row in [`META`].
pub(super) const META_KEY: &str = "meta";
