//! What is around every object: four bytes that tell protobuf from JSON, then a `runtime.Unknown` with the object's kind and the
//! object itself as bytes.

use super::{
    error::{EncodeError, Malformed, ProtobufError},
    wire::{Payload, Reader, put_bytes, put_nested},
};

/// An envelope that was opened.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    /// Empty when it is not said.
    pub(super) api_version: &'a str,
    /// Empty when it is not said.
    pub(super) kind: &'a str,
    /// The object's message.
    pub(super) raw: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Whether bytes begin as envelopes do.
    pub(super) fn is_one(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC)
    }

    /// Opens an envelope.
    pub(super) fn open(body: &'a [u8]) -> Result<Self, ProtobufError> {
        if body.is_empty() {
            return Err(ProtobufError::Empty);
        }
        let message = body.strip_prefix(MAGIC).ok_or(ProtobufError::NoMagic)?;
        if message.is_empty() {
            return Err(ProtobufError::EmptyBody);
        }
        let mut envelope = Self { api_version: "", kind: "", raw: &[] };
        let mut content = Content::default();
        envelope.read(message, &mut content).map_err(ProtobufError::Envelope)?;
        for refused in [content.encoding, content.media_type] {
            if !refused.is_empty() && refused != MEDIA_TYPE {
                return Err(ProtobufError::Content(refused.chars().take(QUOTED_CHARS).collect()));
            }
        }
        Ok(envelope)
    }

    fn read(&mut self, message: &'a [u8], content: &mut Content<'a>) -> Result<(), Malformed> {
        let mut reader = Reader::new(message);
        while let Some((number, payload)) = reader.field()? {
            match number {
                TYPE_META => self.read_type(bytes("TypeMeta", payload)?)?,
                RAW => self.raw = bytes("Raw", payload)?,
                CONTENT_ENCODING => content.encoding = text("ContentEncoding", payload)?,
                CONTENT_TYPE => content.media_type = text("ContentType", payload)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn read_type(&mut self, message: &'a [u8]) -> Result<(), Malformed> {
        let mut reader = Reader::new(message);
        while let Some((number, payload)) = reader.field()? {
            match number {
                API_VERSION => self.api_version = text("APIVersion", payload)?,
                KIND => self.kind = text("Kind", payload)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// How the object is packed; nothing but plain protobuf is.
#[derive(Default)]
struct Content<'a> {
    encoding: &'a str,
    media_type: &'a str,
}

/// Puts what `write` appends into an envelope.
pub(super) fn seal(
    api_version: &str,
    kind: &str,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<Vec<u8>, EncodeError> {
    let mut out = head(api_version, kind)?;
    put_nested(&mut out, RAW, write)?;
    out.extend_from_slice(TAIL);
    Ok(out)
}

/// An envelope up to its object.
pub(super) fn head(api_version: &str, kind: &str) -> Result<Vec<u8>, EncodeError> {
    let mut out = MAGIC.to_vec();
    put_nested(&mut out, TYPE_META, |out| {
        put_bytes(out, API_VERSION, api_version.as_bytes());
        put_bytes(out, KIND, kind.as_bytes());
        Ok(())
    })?;
    Ok(out)
}

fn bytes<'a>(field: &'static str, payload: Payload<'a>) -> Result<&'a [u8], Malformed> {
    match payload {
        Payload::Bytes(bytes) => Ok(bytes),
        other => Err(Malformed::Field { field, found: other.wire_type() }),
    }
}

fn text<'a>(field: &'static str, payload: Payload<'a>) -> Result<&'a str, Malformed> {
    std::str::from_utf8(bytes(field, payload)?).map_err(|_| Malformed::Text(field))
}

/// "k8s" and a zero.
const MAGIC: &[u8] = b"k8s\0";
/// An empty encoding and an empty content type, as Go writes them.
pub(super) const TAIL: &[u8] = &[0x1a, 0, 0x22, 0];
/// The one content type that is understood.
const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// Enough to recognise a content type by.
const QUOTED_CHARS: usize = 100;

const TYPE_META: u32 = 1;
pub(super) const RAW: u32 = 2;
const CONTENT_ENCODING: u32 = 3;
const CONTENT_TYPE: u32 = 4;
const API_VERSION: u32 = 1;
const KIND: u32 = 2;
