//! What is in the file, and how operations change it.

use std::{ops::Bound, path::Path};

use dunlin_wasm_host::{Answer, KeyValueError, More, Operation};
use redb::{Database, ReadableDatabase as _, ReadableTable, Table, TableDefinition};

use super::{Outcome, private_file};
use crate::folders;

/// Whose bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) namespace: String,
    pub(super) bucket: String,
}

impl Place {
    /// What the keys of its entries begin with.
    fn prefix(&self) -> Vec<u8> {
        [self.namespace.as_bytes(), &[0], self.bucket.as_bytes(), &[0]].concat()
    }

    fn key(&self, key: &str) -> Vec<u8> {
        let mut bytes = self.prefix();
        bytes.extend_from_slice(key.as_bytes());
        bytes
    }
}

pub(super) fn open(path: &Path) -> Result<Database, String> {
    let is_new = !path.exists();
    let file = private_file(path).map_err(|error| error.to_string())?;
    let database = Database::builder().set_cache_size(CACHE_BYTES).create_file(file);
    let database = database.map_err(|error| error.to_string())?;
    if is_new && let Some(folder) = path.parent() {
        folders::flush(folder).map_err(|error| error.to_string())?;
    }
    Ok(database)
}

/// What an operation may not ask for, whatever is there.
pub(super) fn check(operation: &Operation) -> Result<(), KeyValueError> {
    let refuse = |why: String| Err(KeyValueError(why));
    let is_key = |key: &String| (1..=KEY_BYTES_MAX).contains(&key.len());
    let is_value = |value: &Vec<u8>| value.len() <= VALUE_BYTES_MAX;
    let (keys_fit, values_fit, count, bytes) = match operation {
        Operation::Get(keys) | Operation::Delete(keys) => (keys.iter().all(is_key), true, keys.len(), 0),
        Operation::Set(pairs) => (
            pairs.iter().all(|(key, _)| is_key(key)),
            pairs.iter().all(|(_, value)| is_value(value)),
            pairs.len(),
            pairs.iter().map(|(_, value)| value.len()).sum(),
        ),
        Operation::Increment { key, .. } => (is_key(key), true, 1, 0),
        Operation::Swap { key, value, .. } => (is_key(key), is_value(value), 1, 0),
        Operation::List { .. } => (true, true, 0, 0),
    };
    if !keys_fit {
        return refuse(format!("a key has 1 to {KEY_BYTES_MAX} bytes"));
    }
    if !values_fit {
        return refuse(format!("a value has at most {VALUE_BYTES_MAX} bytes"));
    }
    if count > CALL_KEYS_MAX {
        return refuse(format!("a call has at most {CALL_KEYS_MAX} keys"));
    }
    if bytes > CALL_BYTES_MAX {
        return refuse(format!("the values of a call have at most {CALL_BYTES_MAX} bytes"));
    }
    Ok(())
}

/// Does an operation that changes nothing.
pub(super) fn read(
    database: &Database,
    place: &Place,
    operation: &Operation,
) -> Result<Outcome, redb::Error> {
    let transaction = database.begin_read()?;
    let entries = match transaction.open_table(ENTRIES) {
        Ok(entries) => entries,
        // Nothing was ever set.
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Ok(nothing(operation))),
        Err(error) => return Err(error.into()),
    };
    match operation {
        Operation::List { after, skip } => list(&entries, place, after.as_deref(), *skip).map(Ok),
        Operation::Get(keys) => {
            let (mut values, mut bytes) = (Vec::with_capacity(keys.len()), 0);
            for key in keys {
                let value = value(&entries, place, key)?;
                bytes += value.as_ref().map_or(0, Vec::len);
                if bytes > CALL_BYTES_MAX {
                    let why = format!("the values of a call have at most {CALL_BYTES_MAX} bytes");
                    return Ok(Err(KeyValueError(why)));
                }
                values.push(value);
            }
            Ok(Ok(Answer::Values(values)))
        }
        _ => unreachable!("changes are written"),
    }
}

/// Does operations in their order, each whole or not at all, and makes all of them durable.
pub(super) fn write<'a>(
    database: &Database,
    quota_bytes: u64,
    operations: impl Iterator<Item = (&'a Place, &'a Operation)>,
) -> Result<Vec<Outcome>, redb::Error> {
    let transaction = database.begin_write()?;
    let mut outcomes = Vec::new();
    {
        let (entries, usage) = (transaction.open_table(ENTRIES)?, transaction.open_table(USAGE)?);
        let mut writing = Writing { entries, usage, quota_bytes };
        for (place, operation) in operations {
            outcomes.push(writing.change(place, operation)?);
        }
    }
    transaction.commit()?;
    Ok(outcomes)
}

fn nothing(operation: &Operation) -> Answer {
    match operation {
        Operation::Get(keys) => Answer::Values(vec![None; keys.len()]),
        _ => Answer::Keys(Vec::new(), More::No),
    }
}

pub(super) type Entries = TableDefinition<'static, &'static [u8], &'static [u8]>;

struct Writing<'t> {
    entries: Table<'t, &'static [u8], &'static [u8]>,
    usage: Table<'t, &'static str, u64>,
    /// What all buckets of a namespace may have.
    quota_bytes: u64,
}

impl Writing<'_> {
    fn change(&mut self, place: &Place, operation: &Operation) -> Result<Outcome, redb::Error> {
        match operation {
            Operation::Set(pairs) => self.put(place, pairs),
            Operation::Delete(keys) => {
                let mut freed = 0;
                for key in keys {
                    let key = place.key(key);
                    if let Some(old) = self.entries.remove(&*key)? {
                        freed += cost(key.len(), old.value().len());
                    }
                }
                self.count(place, 0, freed)?;
                Ok(Ok(Answer::Done))
            }
            Operation::Increment { key, delta, range } => {
                let old = value(&self.entries, place, key)?;
                let number =
                    match old.map(|old| String::from_utf8(old).ok().and_then(|text| text.parse().ok())) {
                        None => Some(0_i128),
                        Some(number) => number,
                    };
                let Some(number) = number else {
                    return Ok(Err(KeyValueError(format!("the value of `{key}` is no number"))));
                };
                let sum = number.checked_add(*delta).filter(|sum| (range.0..=range.1).contains(sum));
                let Some(sum) = sum else {
                    return Ok(Err(KeyValueError(format!("the number of `{key}` would leave its range"))));
                };
                let put = self.put(place, &[(key.clone(), sum.to_string().into_bytes())])?;
                Ok(put.map(|_done| Answer::Number(sum)))
            }
            Operation::Swap { key, expected, value: new } => {
                let seen = value(&self.entries, place, key)?;
                if seen != *expected {
                    return Ok(Ok(Answer::Swapped(Err(seen))));
                }
                let put = self.put(place, &[(key.clone(), new.clone())])?;
                Ok(put.map(|_done| Answer::Swapped(Ok(()))))
            }
            Operation::Get(_) | Operation::List { .. } => unreachable!("what changes nothing is read"),
        }
    }

    fn put(&mut self, place: &Place, pairs: &[(String, Vec<u8>)]) -> Result<Outcome, redb::Error> {
        // Of a key that is named twice the last counts.
        let last: std::collections::BTreeMap<_, _> =
            pairs.iter().map(|(key, value)| (place.key(key), value)).collect();
        let (mut added, mut freed) = (0, 0);
        for (key, value) in &last {
            added += cost(key.len(), value.len() + 1);
            if let Some(old) = self.entries.get(&**key)? {
                freed += cost(key.len(), old.value().len());
            }
        }
        let bounds = [
            (place.namespace.as_str(), self.quota_bytes, format!("of namespace {}", place.namespace)),
            // Whoever may have more than that is said to have it by whoever set the quota.
            ("", NODE_BYTES_MAX.max(self.quota_bytes), "of this node".to_owned()),
        ];
        for (whose, most, words) in bounds {
            let used = self.usage.get(whose)?.map_or(0, |used| used.value());
            // What takes no more than it frees is always let in.
            if added > freed && used.saturating_add(added - freed) > most {
                let why = format!("the key-value store {words} is full: {used} of {most} bytes");
                return Ok(Err(KeyValueError(why)));
            }
        }
        for (key, value) in last {
            let record = [&[KIND_VALUE], value.as_slice()].concat();
            self.entries.insert(&*key, &*record)?;
        }
        self.count(place, added, freed)?;
        Ok(Ok(Answer::Done))
    }

    fn count(&mut self, place: &Place, added: u64, freed: u64) -> Result<(), redb::Error> {
        for whose in [place.namespace.as_str(), ""] {
            let used = self.usage.get(whose)?.map_or(0, |used| used.value());
            self.usage.insert(whose, used.saturating_add(added).saturating_sub(freed))?;
        }
        Ok(())
    }
}

fn value(
    entries: &impl ReadableTable<&'static [u8], &'static [u8]>,
    place: &Place,
    key: &str,
) -> Result<Option<Vec<u8>>, redb::Error> {
    let found = entries.get(&*place.key(key))?;
    // A kind that a later version wrote is as good as nothing to this one.
    Ok(found.and_then(|record| match record.value().split_first() {
        Some((&KIND_VALUE, value)) => Some(value.to_vec()),
        _ => None,
    }))
}

fn list(
    entries: &impl ReadableTable<&'static [u8], &'static [u8]>,
    place: &Place,
    after: Option<&str>,
    skip: u64,
) -> Result<Answer, redb::Error> {
    let prefix = place.prefix();
    let begin = after.map_or_else(|| prefix.clone(), |after| place.key(after));
    let mut end = prefix.clone();
    // The prefix ends in 0; what begins with 1 there is no key of this bucket.
    if let Some(last) = end.last_mut() {
        *last = 1;
    }
    let (mut keys, mut bytes) = (Vec::new(), 0);
    let range = (Bound::Excluded(&*begin), Bound::Excluded(&*end));
    let mut left_out = 0;
    for entry in entries.range::<&[u8]>(range)? {
        let (key, _) = entry?;
        if left_out < skip {
            left_out += 1;
            continue;
        }
        if keys.len() >= PAGE_KEYS_MAX || bytes >= PAGE_BYTES_MAX {
            return Ok(Answer::Keys(keys, More::Yes));
        }
        // Keys come from texts, and are not longer than the bound.
        let key = String::from_utf8_lossy(key.value().get(prefix.len()..).unwrap_or_default()).into_owned();
        bytes += key.len();
        keys.push(key);
    }
    Ok(Answer::Keys(keys, More::No))
}

/// What an entry counts for.
fn cost(key_bytes: usize, record_bytes: usize) -> u64 {
    u64::try_from(key_bytes + record_bytes).unwrap_or(u64::MAX).saturating_add(ENTRY_BYTES)
}

pub(super) const ENTRIES: Entries = TableDefinition::new("entries");
pub(super) const USAGE: TableDefinition<'static, &'static str, u64> = TableDefinition::new("usage");

/// Begins a record that is a value.
const KIND_VALUE: u8 = 1;

/// Longest key of a guest.
const KEY_BYTES_MAX: usize = 1024;

/// Largest value.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// Keys of one call.
const CALL_KEYS_MAX: usize = 1024;

/// Values of one call together, which are in memory all at once.
const CALL_BYTES_MAX: usize = 8 << 20;

/// Keys of a page.
const PAGE_KEYS_MAX: usize = 1000;

/// Bytes of a page's keys, but for its last.
const PAGE_BYTES_MAX: usize = 64 << 10;

/// What an entry counts for besides key and value: about what the tree needs for it.
const ENTRY_BYTES: u64 = 64;

/// All buckets of a node.
const NODE_BYTES_MAX: u64 = 512 << 20;

/// Pages that stay in memory.
const CACHE_BYTES: usize = 4 << 20;
