//! Bytes of the values in redb's tables: each begins with a kind, so that a later format can stand beside this one.

use bytes::Bytes;
use dunlin_link::Revision;

use crate::store::Write;

/// A value and the revision of the write that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) revision: Revision,
    pub(super) value: Bytes,
}

impl Version {
    /// Kind, revision, value.
    pub(super) fn encode(revision: Revision, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(VERSION_HEADER_BYTES + value.len());
        bytes.push(KIND_VERSION);
        bytes.extend_from_slice(&revision.0.to_le_bytes());
        bytes.extend_from_slice(value);
        bytes
    }

    /// What [`Version::encode`] made; an entry that says there was no value is `None`.
    pub(super) fn decode(bytes: &[u8]) -> Result<Option<Self>, Damaged> {
        match decode_revision(bytes)? {
            None => Ok(None),
            Some(revision) => {
                Ok(Some(Self { revision, value: Bytes::copy_from_slice(&bytes[VERSION_HEADER_BYTES..]) }))
            }
        }
    }
}

/// The revision in an encoded version, without copying its value.
pub(super) fn decode_revision(bytes: &[u8]) -> Result<Option<Revision>, Damaged> {
    match bytes.first() {
        Some(&KIND_NOTHING) if bytes.len() == 1 => Ok(None),
        Some(&KIND_VERSION) => {
            let revision = bytes.get(1..VERSION_HEADER_BYTES).and_then(|bytes| bytes.try_into().ok());
            Ok(Some(Revision(u64::from_le_bytes(revision.ok_or(Damaged)?))))
        }
        _ => Err(Damaged),
    }
}

/// The history entry of a key that had no value before.
pub(super) const NOTHING: &[u8] = &[KIND_NOTHING];

/// What happened to a key at a revision; the values are found by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) kind: ChangeKind,
    pub(super) key: String,
}

/// Whether a key was set or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChangeKind {
    Put,
    Delete,
}

impl Change {
    /// The entry for `write`: kind, key.
    pub(super) fn encode(write: &Write) -> Vec<u8> {
        let kind = match write {
            Write::Put(..) => KIND_PUT,
            Write::Delete(_) => KIND_DELETE,
        };
        let mut bytes = Vec::with_capacity(1 + write.key().len());
        bytes.push(kind);
        bytes.extend_from_slice(write.key().as_bytes());
        bytes
    }

    /// What [`Change::encode`] made.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let (kind, key) = bytes.split_first().ok_or(Damaged)?;
        let kind = match *kind {
            KIND_PUT => ChangeKind::Put,
            KIND_DELETE => ChangeKind::Delete,
            _ => return Err(Damaged),
        };
        let key = std::str::from_utf8(key).map_err(|_| Damaged)?.to_owned();
        Ok(Self { kind, key })
    }
}

/// The store's one row of state, written with every commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Meta {
    /// The newest revision in the tables.
    pub(super) revision: Revision,
    /// History holds every change after this revision.
    pub(super) floor: Revision,
    /// What the history tables hold, by the measure of [`history_bytes`].
    pub(super) history_bytes: u64,
    /// Records of the log with this epoch follow on the tables; all others are already in them.
    pub(super) log_epoch: u64,
    /// How long the log is, so that a shorter one is known to be damaged; zero while it is being made.
    pub(super) log_bytes: u64,
}

impl Meta {
    /// Kind, then the fields in order.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![KIND_META];
        for field in [self.revision.0, self.floor.0, self.history_bytes, self.log_epoch, self.log_bytes] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    /// What [`Meta::encode`] made.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let (kind, fields) = bytes.split_first().ok_or(Damaged)?;
        let expected = match *kind {
            KIND_META => 40,
            KIND_META_FIRST => 32,
            _ => return Err(Damaged),
        };
        if fields.len() != expected {
            return Err(Damaged);
        }
        let field = |index: usize| {
            let bytes = fields.get(index * 8..index * 8 + 8).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u64::from_le_bytes)
        };
        Ok(Self {
            revision: Revision(field(0)),
            floor: Revision(field(1)),
            history_bytes: field(2),
            log_epoch: field(3),
            log_bytes: field(4),
        })
    }
}

/// What one change occupies in the history tables: its key twice, the value before, and the headers.
pub(super) fn history_bytes(key: &str, previous_entry: &[u8]) -> u64 {
    let bytes = 2 * key.len() + previous_entry.len() + HISTORY_OVERHEAD_BYTES;
    u64::try_from(bytes).expect("a length fits in 64 bits")
}

/// An entry is not what any version of this program writes.
#[derive(Debug, thiserror::Error)]
#[error("the entry is damaged or of a newer format")]
pub(super) struct Damaged;

impl From<Damaged> for redb::Error {
    fn from(damaged: Damaged) -> Self {
        Self::Corrupted(damaged.to_string())
    }
}

const KIND_NOTHING: u8 = 0;
const KIND_VERSION: u8 = 1;
const KIND_PUT: u8 = 2;
const KIND_DELETE: u8 = 3;
/// Did not know the length of the log.
const KIND_META_FIRST: u8 = 4;
const KIND_META: u8 = 5;
const VERSION_HEADER_BYTES: usize = 9;
const HISTORY_OVERHEAD_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_round_trip_and_refuse_others() {
        let version = Version { revision: Revision(7), value: Bytes::from_static(b"{}") };
        let bytes = Version::encode(version.revision, &version.value);
        assert_eq!(bytes, b"\x01\x07\0\0\0\0\0\0\0{}");
        assert_eq!(Version::decode(&bytes).unwrap(), Some(version));
        assert_eq!(Version::decode(NOTHING).unwrap(), None);

        let change = Change { kind: ChangeKind::Delete, key: "/a".to_owned() };
        let bytes = Change::encode(&Write::Delete("/a".to_owned()));
        assert_eq!(bytes, b"\x03/a");
        assert_eq!(Change::decode(&bytes).unwrap(), change);

        let meta =
            Meta { revision: Revision(1), floor: Revision(2), history_bytes: 3, log_epoch: 4, log_bytes: 5 };
        let bytes = meta.encode();
        assert_eq!(Meta::decode(&bytes).unwrap(), meta);
        let first = [&[KIND_META_FIRST], &bytes[1..33]].concat();
        assert_eq!(Meta::decode(&first).unwrap(), Meta { log_bytes: 0, ..meta });

        for bad in [&b""[..], b"\x01", b"\x09", b"\x00\x00", b"\x04"] {
            assert!(Version::decode(bad).is_err(), "{bad:?}");
            assert!(Meta::decode(bad).is_err(), "{bad:?}");
            assert!(Change::decode(bad).is_err(), "{bad:?}");
        }
    }
}
