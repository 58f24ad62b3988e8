//! How records are stored: a kind, then an encoding. The records themselves are values of the node's core.

use dunlin_link::codec;
use serde::{Serialize, de::DeserializeOwned};

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
