//! Stored objects as the version of their kind that was asked for.

use std::borrow::Cow;

use dunlin_api::{Kind, Status, kind::Storage, pipeline};
use dunlin_link::Revision;
use serde_json::Value;

use super::stored;

/// Whether objects of a kind lie in the store as clients see them.
pub(super) fn is_as_stored(kind: &Kind) -> bool {
    !matches!(kind.storage, Storage::As(_))
}

/// A stored object as one of this kind.
pub(super) fn serve(kind: &'static Kind, object: Value) -> Result<Value, Status> {
    if is_as_stored(kind) { Ok(object) } else { pipeline::served(kind, &object).map(Cow::into_owned) }
}

/// A value of the store as an object of this kind.
pub(super) fn decode(kind: &'static Kind, value: &[u8], revision: Revision) -> Result<Value, Status> {
    serve(kind, stored::decode(value, revision).map_err(Status::internal)?)
}
