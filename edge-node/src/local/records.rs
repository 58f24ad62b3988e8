//! How records are stored: a kind, then an encoding. The records themselves are values of the node's core.

use dunlin_edge_node_core::content::Seal;
use dunlin_link::{
    Digest, codec,
    pod::{ConfigKind, ConfigObject},
    sealed::{Content, Sealed},
};
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
    encode_as(KIND, record)
}

/// The value of content. A Secret that came in clear is sealed first, to the node's own key.
pub(super) fn encode_content(id: &Digest, content: &Content, seal: &Seal) -> Vec<u8> {
    match content {
        Content::Sealed(sealed) => encode_as(KIND_SEALED, &**sealed),
        Content::Clear(object) if object.kind == ConfigKind::ConfigMap => encode(&**object),
        Content::Clear(object) => {
            let sealed = seal.key.public().seal(object, id, &seal.place, &mut rand::rng());
            encode_as(KIND_SEALED, &sealed.expect("a key of our own making can be sealed to"))
        }
    }
}

/// The content of a value.
pub(super) fn decode_content(
    table: &'static str,
    key: &str,
    value: &[u8],
) -> Result<Content, MalformedRecord> {
    match value.split_first() {
        Some((&KIND_SEALED, body)) => {
            let malformed = |_| MalformedRecord { table, key: key.to_owned(), kind: Some(KIND_SEALED) };
            Ok(Content::Sealed(codec::decode::<Sealed>(body).map_err(malformed)?.into()))
        }
        _ => Ok(decode::<ConfigObject>(table, key, value)?.into()),
    }
}

fn encode_as<T: Serialize>(kind: u8, record: &T) -> Vec<u8> {
    let mut value = vec![kind];
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

/// Sealed content; Secrets were of the first kind once.
const KIND_SEALED: u8 = 2;
