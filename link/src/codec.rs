//! The one place that names postcard: values to bytes and back, for frames, sandbox messages and records in redb.

use serde::{Serialize, de::DeserializeOwned};

/// Bytes that are not an encoding of the wanted type.
#[derive(Debug, thiserror::Error)]
#[error("malformed message")]
pub struct DecodeError(#[source] postcard::Error);

/// Encodes `value`. Only types whose serde derive postcard can carry may be given, which golden tests prove for each.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("our message types have no shape that postcard refuses")
}

/// Decodes a value from exactly `bytes`.
///
/// # Errors
/// When the bytes are truncated, malformed, or longer than the value.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(DecodeError)?;
    if rest.is_empty() { Ok(value) } else { Err(DecodeError(postcard::Error::SerdeDeCustom)) }
}
