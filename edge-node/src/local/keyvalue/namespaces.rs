//! What is known of the namespaces whose buckets there are, and the end of those whose namespace was deleted.
//!
//! Never by absence alone: only a namespace that was seen in the same cluster and restore generation, and is gone, was deleted. Where there is
//! another of its name by now, nobody can tell whose the entries are, and they stay.

use dunlin_edge_node_core::sandbox::stream::BucketVerdicts;
use redb::{
    Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError, WriteTransaction,
};

use super::tables::{ENTRIES, USAGE};

/// What a namespace was when it was seen last.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    cluster: String,
    restore_generation: u64,
    uid: String,
}

/// What was done about namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    /// Those that were seen for the first time in their restore generation.
    pub(crate) noted: Vec<String>,
    /// Those whose buckets are gone with them.
    pub(crate) gone: Vec<String>,
}

/// What becomes of a namespace's buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nothing, and nothing new is known.
    Same,
    /// Nothing, but it was seen.
    Noted,
    /// The namespace was deleted.
    Gone,
}

impl Seen {
    fn parse(record: &[u8]) -> Option<Self> {
        // A kind that a later version wrote is as good as nothing to this one.
        let rest = record.strip_prefix(&[KIND_SEEN])?;
        let (generation, rest) = rest.split_first_chunk::<8>()?;
        let (cluster, uid) = str::from_utf8(rest).ok()?.split_once('\0')?;
        let restore_generation = u64::from_be_bytes(*generation);
        Some(Self { cluster: cluster.to_owned(), restore_generation, uid: uid.to_owned() })
    }

    fn record(&self) -> Vec<u8> {
        let generation = self.restore_generation.to_be_bytes();
        [&[KIND_SEEN], &generation[..], self.cluster.as_bytes(), &[0], self.uid.as_bytes()].concat()
    }
}

/// Namespaces with buckets, at most [`NAMESPACES_MAX`].
pub(super) fn with_buckets(database: &Database) -> Result<Vec<String>, redb::Error> {
    let usage = match database.begin_read()?.open_table(USAGE) {
        Ok(usage) => usage,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut names = Vec::new();
    for entry in usage.iter()? {
        let (name, bytes) = entry?;
        // The empty one is all of them.
        if !name.value().is_empty() && bytes.value() > 0 && names.len() < NAMESPACES_MAX {
            names.push(name.value().to_owned());
        }
    }
    Ok(names)
}

/// Notes what the coordinator said, and removes the buckets of namespaces that were deleted; answers what was done.
pub(super) fn judge(database: &Database, said: &BucketVerdicts) -> Result<Judged, redb::Error> {
    let transaction = database.begin_write()?;
    let mut judged = Judged::default();
    for (name, uid) in &said.namespaces {
        let uid = uid.as_deref();
        match fate(seen(&transaction, name)?.as_ref(), (&said.cluster, said.restore_generation), uid) {
            Fate::Same => continue,
            Fate::Noted => judged.noted.push(name.clone()),
            Fate::Gone => {
                remove(&transaction, name)?;
                judged.gone.push(name.clone());
            }
        }
        let mut table = transaction.open_table(SEEN)?;
        match uid {
            Some(uid) => {
                let (cluster, restore_generation) = (said.cluster.clone(), said.restore_generation);
                let seen = Seen { cluster, restore_generation, uid: uid.to_owned() };
                table.insert(name.as_str(), &*seen.record())?;
            }
            None => drop(table.remove(name.as_str())?),
        }
    }
    // A disk is not written to say that all is as it was.
    if judged == Judged::default() {
        transaction.abort()?
    } else {
        transaction.commit()?
    }
    Ok(judged)
}

fn fate(seen: Option<&Seen>, said_of: (&str, u64), uid: Option<&str>) -> Fate {
    let seen = seen.filter(|seen| (&*seen.cluster, seen.restore_generation) == said_of);
    match (seen, uid) {
        (Some(seen), Some(uid)) if seen.uid == uid => Fate::Same,
        (Some(_), None) => Fate::Gone,
        (_, Some(_)) => Fate::Noted,
        (None, None) => Fate::Same,
    }
}

fn seen(transaction: &WriteTransaction, name: &str) -> Result<Option<Seen>, redb::Error> {
    let table = transaction.open_table(SEEN)?;
    let seen = table.get(name)?.and_then(|record| Seen::parse(record.value()));
    Ok(seen)
}

fn remove(transaction: &WriteTransaction, name: &str) -> Result<(), redb::Error> {
    // Neither namespaces nor buckets have a zero in their names.
    let (begin, end) = ([name.as_bytes(), &[0]].concat(), [name.as_bytes(), &[1]].concat());
    transaction.open_table(ENTRIES)?.retain_in::<&[u8], _>(&*begin..&*end, |_, _| false)?;
    let mut usage = transaction.open_table(USAGE)?;
    let freed = usage.remove(name)?.map_or(0, |bytes| bytes.value());
    let all = usage.get("")?.map_or(0, |bytes| bytes.value());
    usage.insert("", all.saturating_sub(freed))?;
    Ok(())
}

/// Begins a record of this kind.
const KIND_SEEN: u8 = 1;

/// As many as fit a frame with the longest names; a node with more tells of the first.
const NAMESPACES_MAX: usize = 512;

const SEEN: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("namespaces");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_seen_in_this_generation_was_deleted() {
        let seen = |restore_generation, uid: &str| {
            Some(Seen { cluster: "c".to_owned(), restore_generation, uid: uid.to_owned() })
        };
        let check = |before: Option<Seen>, generation, uid, expected| {
            let found = fate(before.as_ref(), ("c", generation), uid);
            assert_eq!(found, expected, "{before:?} {generation} {uid:?}");
        };
        check(None, 0, None, Fate::Same);
        check(None, 0, Some("a"), Fate::Noted);
        check(seen(0, "a"), 0, Some("a"), Fate::Same);
        check(seen(0, "a"), 0, None, Fate::Gone);
        // What is there may have been written by guests of the new one.
        check(seen(0, "a"), 0, Some("b"), Fate::Noted);
        // The node has joined another cluster, which never had it.
        assert_eq!(fate(seen(0, "a").as_ref(), ("other", 0), None), Fate::Same);
        // A cluster that was restored may have forgotten it, or have it by the uid that it had before.
        check(seen(0, "a"), 1, None, Fate::Same);
        check(seen(0, "a"), 1, Some("a"), Fate::Noted);
        check(seen(0, "a"), 1, Some("b"), Fate::Noted);
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let seen = Seen { cluster: "c".to_owned(), restore_generation: 7, uid: "u".to_owned() };
        assert_eq!(Seen::parse(&seen.record()), Some(seen));
        for record in [&b""[..], b"\x02", b"\x01short", b"\x01\0\0\0\0\0\0\0\x01\xff"] {
            assert_eq!(Seen::parse(record), None, "{record:?}");
        }
    }
}
