//! Objects in protobuf, as Kubernetes' typed clients send them: one transcoder over the schema table, to and from the same values that
//! JSON gives.
//!
//! Decoding gives what Kubernetes' own types give when they are read from these bytes and written as JSON; encoding gives the very
//! bytes that they write. Where Go holds a field by value its zero is on the wire and not in JSON; which fields those are is in the
//! table. Sizes, depth and the number of values are bounded as those of JSON bodies are.

use serde_json::{Map, Value};

use crate::{
    decode::{BODY_LIMIT_BYTES, Counts},
    schema::{Definition, by_group_version_kind, definition},
};

mod envelope;
mod error;
mod list;
mod read;
mod special;
mod wire;
mod write;

pub use error::{EncodeError, Malformed, ProtobufError};
pub use list::ListEncoder;

use envelope::Envelope;

/// The value of an object in its envelope. The envelope says what the object is; `definition` is for what it leaves open.
///
/// # Errors
///
/// When it is malformed, too large or nested too deeply, or of a kind that nobody knows.
pub fn decode(body: &[u8], definition: Option<&'static Definition>) -> Result<Value, ProtobufError> {
    debug_assert!(body.len() <= BODY_LIMIT_BYTES, "who reads bodies has checked");
    object(&Envelope::open(body)?, definition, ROOT, &mut Counts::default())
}

/// An object in its envelope. What it is, `kind` and `apiVersion` say.
///
/// # Errors
///
/// When it is of a kind without protobuf, or a field is not of its type.
pub fn encode(object: &Value) -> Result<Vec<u8>, EncodeError> {
    let empty = Map::new();
    let fields = object.as_object().unwrap_or(&empty);
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let definition = message_of(api_version, kind)?;
    envelope::seal(api_version, kind, |out| write::object(definition, fields, out))
}

/// Whether objects of this kind can be written in protobuf.
pub fn has_message(api_version: &str, kind: &str) -> bool {
    definition_of(api_version, kind).is_some()
}

/// One frame of a watch: the event's length in four bytes, the highest first, then the event around an encoded object.
///
/// # Errors
///
/// When it has more bytes than such a length can say.
pub fn watch_frame(event: &str, object: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let mut frame = vec![0; FRAME_LENGTH_BYTES];
    wire::put_bytes(&mut frame, EVENT_TYPE, event.as_bytes());
    wire::put_nested(&mut frame, EVENT_OBJECT, |out| {
        wire::put_bytes(out, RAW, object);
        Ok(())
    })?;
    let length = u32::try_from(frame.len() - FRAME_LENGTH_BYTES).map_err(|_| EncodeError::TooLong)?;
    frame[..FRAME_LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}

/// The object in an envelope that was opened, at `depth` of the whole.
fn object(
    envelope: &Envelope<'_>,
    implied: Option<&'static Definition>,
    depth: usize,
    counts: &mut Counts,
) -> Result<Value, ProtobufError> {
    let (api_version, kind) = (envelope.api_version, envelope.kind);
    let definition = match implied {
        Some(implied) if kind.is_empty() || api_version.is_empty() => implied,
        None if kind.is_empty() => return Err(ProtobufError::NoKind),
        _ => definition_of(api_version, kind).ok_or_else(|| ProtobufError::UnknownKind {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
        })?,
    };
    let mut object = Map::new();
    read::object(definition, envelope.raw, &mut object, depth, counts).map_err(|malformed| {
        ProtobufError::Object { api_version: api_version.to_owned(), kind: kind.to_owned(), malformed }
    })?;
    for (key, text) in [("apiVersion", api_version), ("kind", kind)] {
        if !text.is_empty() {
            object.insert(key.to_owned(), text.into());
        }
    }
    Ok(Value::Object(object))
}

/// The definition of objects of this kind.
fn definition_of(api_version: &str, kind: &str) -> Option<&'static Definition> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    match (group, kind) {
        // The two versions of these are one type, but for the numbers of the list's fields.
        (META_GROUP, "PartialObjectMetadata") => definition(&format!("{META}.v1.{kind}")),
        (META_GROUP, "PartialObjectMetadataList") => definition(&format!("{META}.{version}.{kind}")),
        // What metrics-server serves has no numbers for its fields in the table.
        _ => by_group_version_kind(group, version, kind)
            .filter(|definition| !definition.wire_fields().is_empty()),
    }
}

fn message_of(api_version: &str, kind: &str) -> Result<&'static Definition, EncodeError> {
    definition_of(api_version, kind)
        .ok_or_else(|| EncodeError::NoMessage { api_version: api_version.to_owned(), kind: kind.to_owned() })
}

/// Group of what answers consist of that show objects in part.
const META_GROUP: &str = "meta.k8s.io";
/// Where its definitions are.
const META: &str = "io.k8s.apimachinery.pkg.apis.meta";
/// Depth of a document's outermost object.
const ROOT: usize = 0;
/// A 32-bit number.
const FRAME_LENGTH_BYTES: usize = 4;
/// Field of `metav1.WatchEvent`.
const EVENT_TYPE: u32 = 1;
/// Field of `metav1.WatchEvent`.
const EVENT_OBJECT: u32 = 2;
/// Field of `runtime.RawExtension`.
const RAW: u32 = 1;

#[cfg(test)]
mod tests;
