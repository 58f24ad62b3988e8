//! Reading at one revision: values, consistent pages, and changes from history.

use std::{
    iter::Peekable,
    ops::{Bound, ControlFlow},
};

use dunlin_link::Revision;
use redb::{AccessGuard, Range, ReadOnlyTable, ReadTransaction, ReadableTable};

use crate::store::{
    KeyValue, ListOptions, Page, StoreError, WatchEvent,
    entry::{self, Change, ChangeKind, Meta, Version},
    recent::{self, CHANGES_BYTES_MAX, Changes, LOOKED_AT_MAX},
    tables::{self, CHANGES, HISTORY, META, META_KEY, OBJECTS},
};

/// What ends a page before the end of what it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// Its limit, and bytes that a client can be expected to take at once. What follows is counted.
    Page,
    /// Its limit, and bytes that are held for as long as somebody takes.
    Part,
}

/// The tables as one read transaction sees them.
pub(super) struct Snapshot {
    objects: ReadOnlyTable<&'static str, &'static [u8]>,
    history: ReadOnlyTable<(&'static str, u64), &'static [u8]>,
    changes: ReadOnlyTable<(u64, u32), &'static [u8]>,
    meta: Meta,
}

impl Snapshot {
    /// The tables of `txn`; the transaction ends when the snapshot is dropped.
    pub(super) fn new(txn: &ReadTransaction) -> Result<Self, redb::Error> {
        let meta = txn.open_table(META)?;
        let row = meta.get(META_KEY)?.ok_or_else(|| redb::Error::from(entry::Damaged))?;
        Ok(Self {
            objects: txn.open_table(OBJECTS)?,
            history: txn.open_table(HISTORY)?,
            changes: txn.open_table(CHANGES)?,
            meta: Meta::decode(row.value())?,
        })
    }

    /// The newest revision in the snapshot.
    pub(super) fn revision(&self) -> Revision {
        self.meta.revision
    }

    /// The current value of `key`.
    pub(super) fn get(&self, key: &str) -> Result<Option<KeyValue>, redb::Error> {
        match self.objects.get(key)? {
            None => Ok(None),
            Some(entry) => Ok(tables::key_value(key, entry.value())?),
        }
    }

    /// A page, consistent at the revision asked for.
    pub(super) fn list(
        &self,
        options: &ListOptions,
        extent: Extent,
    ) -> Result<Result<Page, StoreError>, redb::Error> {
        let at = options.at.unwrap_or(self.meta.revision);
        if let Err(error) = self.check_kept(at) {
            return Ok(Err(error));
        }
        let mut keys = KeysAt::new(self, options, at)?;
        let mut items = Vec::new();
        let (limit, bytes_max) = match (options.limit, extent) {
            (None, Extent::Page) => (usize::MAX, usize::MAX),
            (Some(limit), Extent::Page) => (limit, PAGE_BYTES_MAX),
            (limit, Extent::Part) => (limit.unwrap_or(usize::MAX), PART_BYTES_MAX),
        };
        let mut bytes = 0;
        while items.len() < limit && bytes < bytes_max {
            let Some((key, found)) = keys.next()? else {
                return Ok(Ok(Page { items, revision: at, more: false, remaining: Some(0) }));
            };
            let Version { revision, value } = found.version()?;
            bytes += value.len();
            items.push(KeyValue { key, value, mod_revision: revision });
        }
        if extent == Extent::Part {
            let more = keys.next()?.is_some();
            return Ok(Ok(Page { items, revision: at, more, remaining: (!more).then_some(0) }));
        }
        let mut remaining = 0;
        while remaining <= REMAINING_COUNTED_MAX && keys.next()?.is_some() {
            remaining += 1;
        }
        let known = (remaining <= REMAINING_COUNTED_MAX).then_some(remaining);
        Ok(Ok(Page { items, revision: at, more: remaining > 0, remaining: known }))
    }

    /// Hands every key's current value to `each`, in key order, until that answers `Break`.
    pub(super) fn walk(&self, mut each: impl FnMut(KeyValue) -> ControlFlow<()>) -> Result<(), redb::Error> {
        for row in self.objects.iter()? {
            let (key, entry) = row?;
            let found = tables::key_value(key.value(), entry.value())?.ok_or(entry::Damaged)?;
            if each(found).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Changes after `after` under `prefix`, from history: some whole revisions.
    pub(super) fn changes(
        &self,
        after: Revision,
        prefix: &str,
    ) -> Result<Result<Changes, StoreError>, redb::Error> {
        if let Err(error) = self.check_kept(after) {
            return Ok(Err(error));
        }
        let mut changes = Changes { events: Vec::new(), upto: after };
        let mut bytes = 0;
        for (looked_at, row) in self.changes.range((after.0 + 1, 0)..)?.enumerate() {
            let (place, change) = row?;
            let revision = Revision(place.value().0);
            if revision != changes.upto && (looked_at >= LOOKED_AT_MAX || bytes >= CHANGES_BYTES_MAX) {
                break;
            }
            changes.upto = revision;
            let change = Change::decode(change.value())?;
            if change.key.starts_with(prefix) {
                let event = self.event(change, revision)?;
                bytes += recent::event_bytes(&event);
                changes.events.push(event);
            }
        }
        Ok(Ok(changes))
    }

    fn check_kept(&self, asked: Revision) -> Result<(), StoreError> {
        let Meta { revision: newest, floor: oldest, .. } = self.meta;
        if asked > newest {
            return Err(StoreError::Future { asked, newest });
        }
        if asked < oldest { Err(StoreError::Compacted { asked, oldest }) } else { Ok(()) }
    }

    /// The change with its values: the one before is in history, the one it made is what the key's next change found.
    fn event(&self, change: Change, revision: Revision) -> Result<WatchEvent, redb::Error> {
        let key = change.key;
        let previous = match self.history.get((key.as_str(), revision.0))? {
            Some(entry) => Version::decode(entry.value())?,
            None => return Err(entry::Damaged.into()),
        };
        let value = match change.kind {
            ChangeKind::Delete => None,
            ChangeKind::Put => Some(self.version_after(&key, revision)?.ok_or(entry::Damaged)?.value),
        };
        let previous = previous.map(|version| (version.value, version.revision));
        Ok(WatchEvent { key, revision, value, previous })
    }

    /// The version of `key` right after `at`; `None` when it did not exist.
    fn version_after(&self, key: &str, at: Revision) -> Result<Option<Version>, redb::Error> {
        if let Some(row) = self.history.range((key, at.0 + 1)..=(key, u64::MAX))?.next() {
            return Ok(Version::decode(row?.1.value())?);
        }
        match self.objects.get(key)? {
            Some(entry) => Ok(Version::decode(entry.value())?),
            None => Ok(None),
        }
    }
}

/// Walks the keys that existed at a revision: those that exist now, and those that history says were removed since.
struct KeysAt<'a> {
    snapshot: &'a Snapshot,
    prefix: &'a str,
    at: Revision,
    current: Rows<'a, &'static str>,
    /// Absent for a list at the newest revision, for which history has nothing to say.
    past: Option<Rows<'a, (&'static str, u64)>>,
}

/// A key's version, not copied yet where that can be avoided: most of what is counted is not wanted.
enum Found<'a> {
    Current(AccessGuard<'a, &'static [u8]>),
    Past(Version),
}

impl Found<'_> {
    fn version(self) -> Result<Version, entry::Damaged> {
        match self {
            Self::Current(entry) => Version::decode(entry.value())?.ok_or(entry::Damaged),
            Self::Past(version) => Ok(version),
        }
    }
}

impl<'a> KeysAt<'a> {
    fn new(snapshot: &'a Snapshot, options: &'a ListOptions, at: Revision) -> Result<Self, redb::Error> {
        let after = options.after.as_deref().filter(|after| *after >= options.prefix.as_str());
        let start = after.map_or(Bound::Included(options.prefix.as_str()), Bound::Excluded);
        let current = Rows::new(snapshot.objects.range::<&str>((start, Bound::Unbounded))?);
        let past = if at < snapshot.meta.revision {
            let start = after.map_or(Bound::Included((options.prefix.as_str(), 0)), |after| {
                Bound::Excluded((after, u64::MAX))
            });
            Some(Rows::new(snapshot.history.range::<(&str, u64)>((start, Bound::Unbounded))?))
        } else {
            None
        };
        Ok(Self { snapshot, prefix: &options.prefix, at, current, past })
    }

    /// The next key that existed at the revision.
    fn next(&mut self) -> Result<Option<(String, Found<'a>)>, redb::Error> {
        loop {
            let current = self.current.peek(str::to_owned)?;
            let past = match &mut self.past {
                Some(past) => past.peek(|(key, _)| key.to_owned())?,
                None => None,
            };
            let is_current =
                current.is_some() && past.as_ref().is_none_or(|past| current.as_ref() <= Some(past));
            let Some(key) = (if is_current { current } else { past }) else { return Ok(None) };
            if !key.starts_with(self.prefix) {
                return Ok(None);
            }
            let entry = if is_current { self.current.next()? } else { None };
            self.skip_past(&key)?;
            match entry {
                Some(entry) if entry::decode_revision(entry.value())? <= Some(self.at) => {
                    return Ok(Some((key, Found::Current(entry))));
                }
                _ => {
                    if let Some(version) = self.snapshot.version_after(&key, self.at)? {
                        return Ok(Some((key, Found::Past(version))));
                    }
                }
            }
        }
    }

    fn skip_past(&mut self, key: &str) -> Result<(), redb::Error> {
        let Some(past) = &mut self.past else { return Ok(()) };
        while past.peek(|(past, _)| past == key)? == Some(true) {
            past.next()?;
        }
        Ok(())
    }
}

/// Rows of a table in key order, the next of which can be looked at.
struct Rows<'a, K: redb::Key + 'static>(Peekable<Range<'a, K, &'static [u8]>>);

impl<'a, K: redb::Key + 'static> Rows<'a, K> {
    fn new(rows: Range<'a, K, &'static [u8]>) -> Self {
        Self(rows.peekable())
    }

    /// The next row's value.
    fn next(&mut self) -> Result<Option<AccessGuard<'a, &'static [u8]>>, redb::Error> {
        Ok(self.0.next().transpose()?.map(|(_, value)| value))
    }

    /// What `key` makes of the next row's key; the row stays.
    fn peek<T>(&mut self, key: impl FnOnce(K::SelfType<'_>) -> T) -> Result<Option<T>, redb::Error> {
        match self.0.next_if(Result::is_err) {
            Some(Err(error)) => Err(error.into()),
            _ => Ok(self.0.peek().and_then(|row| row.as_ref().ok()).map(|(guard, _)| key(guard.value()))),
        }
    }
}

/// Counting the rest of a list reads it, so only short rests are counted.
const REMAINING_COUNTED_MAX: u64 = 1000;

/// Bytes of values after which a page ends whatever its limit: whoever asks for pages takes shorter ones, too. A page of 500 pods is
/// half of it.
pub(crate) const PAGE_BYTES_MAX: usize = 8 << 20;

/// Bytes of values after which a part ends: what a list that is told holds while its client takes its time.
pub(crate) const PART_BYTES_MAX: usize = 1 << 20;
