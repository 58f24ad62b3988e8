//! The stored records. A released struct never changes: a new shape is a new kind, with a conversion from the old one.

use dunlin_link::{Revision, UnixMillis, codec, pod::PodAssignment};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// One pod of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PodRecord {
    /// Revision of its assignment; `None` for a pod that is held: a snapshot neither named nor buried it.
    pub(crate) revision: Option<Revision>,
    /// What to run.
    pub(crate) assignment: PodAssignment,
    /// Its address, as a slot in the pod range.
    pub(crate) slot: Option<u16>,
    /// When the node accepted it.
    pub(crate) start_time: UnixMillis,
    /// Reason and message, when the node refused it.
    pub(crate) refusal: Option<(String, String)>,
}

/// The revision that the node has applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AppliedRecord {
    pub(crate) revision: Revision,
    pub(crate) restore_generation: u64,
}

/// A value that is not a record of the wanted kind.
#[derive(Debug, thiserror::Error)]
#[error("malformed record `{key}` in table `{table}` (kind {kind:?})")]
pub struct MalformedRecord {
    table: &'static str,
    key: String,
    kind: Option<u8>,
}

/// The value of a record: its kind, then its encoding.
pub(super) fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    let mut value = vec![KIND];
    value.extend(codec::encode(record));
    value
}

/// The record of a value.
pub(super) fn decode<T: DeserializeOwned>(
    table: &'static str,
    key: &str,
    value: &[u8],
) -> Result<T, MalformedRecord> {
    let malformed = || MalformedRecord { table, key: key.to_owned(), kind: value.first().copied() };
    match value.split_first() {
        Some((&KIND, body)) => codec::decode(body).map_err(|_| malformed()),
        _ => Err(malformed()),
    }
}

/// The first kind of every table.
const KIND: u8 = 1;
