//! From bytes to a JSON value: JSON or YAML, with bounded size, depth and number of values, noting duplicate and unknown fields on
//! the way. Protobuf is read elsewhere, within the same bounds.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IgnoredAny, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};
use serde_json::{Map, Number, Value};

use crate::{
    protobuf::{self, ProtobufError},
    schema::{Definition, Encoding, Shape, Type},
};

mod counts;
mod key;
mod merge;
mod notes;
mod scalar;

pub use counts::{OBJECTS_LIMIT, TooMany, VALUES_LIMIT};

pub(crate) use counts::Counts;
pub(crate) use notes::{note, shown};

use key::{Key, Name};
use notes::Path;
use scalar::Scalar;

/// Notation of a request body or file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    Json,
    /// YAML, one document.
    Yaml,
    /// Protobuf, in the envelope that Kubernetes puts around objects.
    Protobuf,
}

/// Why bytes are no document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// More bytes than [`BODY_LIMIT_BYTES`].
    #[error("document is larger than {BODY_LIMIT_BYTES} bytes")]
    TooLarge,
    /// The syntax is broken.
    #[error("{message}")]
    Syntax {
        /// In the words Kubernetes uses.
        message: String,
        /// Line, from 1; 0 when not known.
        line: usize,
        /// Column, from 1; 0 when not known.
        column: usize,
    },
    /// It should be an object in protobuf, and is none.
    #[error(transparent)]
    Protobuf(#[from] ProtobufError),
}

/// A document as a value, and what strict checking holds against it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// The value; of a duplicate field, the last.
    pub value: Value,
    /// `duplicate field "a.b"`, in the order of the text.
    pub duplicates: Vec<String>,
    /// `unknown field "a.b"`, in the order of the text; only with a definition.
    pub unknown: Vec<String>,
}

/// Parses one document; with a definition also notes fields that the definition does not have. Protobuf knows no fields but those of
/// its definition, and says itself which that is if it is not said here.
///
/// # Errors
///
/// When it is too large, nested too deeply, or not of this format.
pub fn document(
    body: &[u8],
    format: Format,
    definition: Option<&'static Definition>,
) -> Result<Document, DecodeError> {
    if body.len() > BODY_LIMIT_BYTES {
        return Err(DecodeError::TooLarge);
    }
    // Windows editors leave a mark at the start.
    let body = if format == Format::Yaml { body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body) } else { body };
    let mut notes = Notes { yaml: (format == Format::Yaml).then_some(body), ..Notes::default() };
    let seed = |notes| Node { notes, schema: Schema::of(definition), path: Path::Root, depth: 0 };
    let parsed = match format {
        Format::Json => {
            let mut parser = serde_json::Deserializer::from_slice(body);
            let value = seed(&mut notes).deserialize(&mut parser);
            value.and_then(|value| parser.end().map(|()| value)).map_err(|error| json_error(body, &error))
        }
        Format::Yaml if yaml_parts(body) > VALUES_LIMIT => {
            return Err(DecodeError::Syntax { message: TooMany::Values.to_string(), line: 0, column: 0 });
        }
        Format::Yaml => {
            let parser = serde_norway::Deserializer::from_slice(body);
            seed(&mut notes).deserialize(parser).map_err(|error| yaml_error(&error))
        }
        Format::Protobuf => protobuf::decode(body, definition).map_err(DecodeError::Protobuf),
    };
    Ok(notes.into_document(parsed?))
}

/// How many parts a YAML text could have, from its looks: its parser takes hundreds of bytes for each before it gives the first away.
fn yaml_parts(body: &[u8]) -> usize {
    let is_part = |(position, byte): &(usize, &u8)| match byte {
        b'[' | b'{' | b',' => true,
        b'-' => body.get(position + 1).is_some_and(u8::is_ascii_whitespace),
        _ => false,
    };
    body.iter().enumerate().filter(is_part).count()
}

/// Parses JSON that is part of a document: at `depth` in it, counting with what was there before.
pub(crate) fn nested_json(json: &[u8], depth: usize, counts: &mut Counts) -> Result<Value, DecodeError> {
    let mut notes = Notes { counts: std::mem::take(counts), ..Notes::default() };
    let node = Node { notes: &mut notes, schema: Schema::Free, path: Path::Root, depth };
    let mut parser = serde_json::Deserializer::from_slice(json);
    let parsed = node.deserialize(&mut parser).and_then(|value| parser.end().map(|()| value));
    *counts = notes.counts;
    parsed.map_err(|error| json_error(json, &error))
}

/// What is noted while parsing.
#[derive(Default)]
struct Notes<'s> {
    /// The text, if it is YAML: what a scalar means depends on how it is written there.
    yaml: Option<&'s [u8]>,
    duplicates: Vec<String>,
    unknown: Vec<String>,
    /// Bytes of text plus one per value so far. Without aliases a document never expands beyond its own size.
    expanded_bytes: usize,
    counts: Counts,
}

impl Notes<'_> {
    fn expand<E: serde::de::Error>(&mut self, bytes: usize) -> Result<(), E> {
        self.expanded_bytes = self.expanded_bytes.saturating_add(bytes);
        if self.expanded_bytes > BODY_LIMIT_BYTES {
            return Err(E::custom("document contains excessive aliasing"));
        }
        Ok(())
    }

    fn into_document(self, value: Value) -> Document {
        Document { value, duplicates: self.duplicates, unknown: self.unknown }
    }
}

/// What is known about a value's type while parsing.
#[derive(Clone, Copy)]
enum Schema {
    Free,
    Typed(Type),
    Struct(&'static Definition),
}

impl Schema {
    fn of(definition: Option<&'static Definition>) -> Self {
        match definition {
            Some(definition) if definition.encoding == Encoding::Struct => Self::Struct(definition),
            _ => Self::Free,
        }
    }

    fn resolve(self) -> Self {
        match self {
            Self::Typed(ty) => match ty.shape() {
                Shape::Named(definition) => Self::of(Some(definition)),
                Shape::List(_) | Shape::Map(_) => self,
                _ => Self::Free,
            },
            other => other,
        }
    }

    /// The type of the field or entry `key`; `None` when a struct has no such field.
    fn at_key(self, key: &str) -> Option<Self> {
        match self {
            Self::Struct(definition) => definition.field(key).map(|field| Self::Typed(field.ty)),
            Self::Typed(ty) => match ty.shape() {
                Shape::Map(value) => Some(Self::Typed(value)),
                _ => Some(Self::Free),
            },
            Self::Free => Some(Self::Free),
        }
    }

    fn element(self) -> Self {
        match self {
            Self::Typed(ty) => match ty.shape() {
                Shape::List(element) => Self::Typed(element),
                _ => Self::Free,
            },
            _ => Self::Free,
        }
    }
}

/// Parses one value at a path.
struct Node<'n, 's> {
    notes: &'n mut Notes<'s>,
    schema: Schema,
    path: Path<'n>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Node<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.depth > DEPTH_LIMIT {
            return Err(D::Error::custom("exceeded max depth"));
        }
        self.notes.expand(1)?;
        self.notes.counts.value().map_err(D::Error::custom)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        let read = self.notes.yaml.and_then(|_| Scalar::Unsigned(value).value());
        Ok(read.filter(|_| i64::try_from(value).is_err()).unwrap_or_else(|| value.into()))
    }

    fn visit_i128<E: serde::de::Error>(self, value: i128) -> Result<Value, E> {
        self.visit_f64(value as f64)
    }

    fn visit_u128<E: serde::de::Error>(self, value: u128) -> Result<Value, E> {
        self.visit_f64(value as f64)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let read = match self.notes.yaml {
            Some(_) => Scalar::Float(value).value(),
            None => Number::from_f64(value).map(Value::Number),
        };
        read.ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, value: &'de str) -> Result<Value, E> {
        match self.notes.yaml.map(|source| Scalar::at(source, value)) {
            None | Some(Scalar::Text) => self.visit_str(value),
            Some(scalar) => scalar.value().ok_or_else(|| E::custom("not a finite number")),
        }
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.notes.expand(value.len())?;
        Ok(value.into())
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<Value, A::Error> {
        // A tag that nobody knows makes a text of any scalar.
        let (IgnoredAny, tagged) = access.variant()?;
        let text: String = tagged.newtype_variant()?;
        self.visit_str(&text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let schema = self.schema.resolve().element();
        let mut elements = Vec::new();
        loop {
            let path = Path::Element(&self.path, elements.len());
            let node = Node { notes: &mut *self.notes, schema, path, depth: self.depth + 1 };
            match access.next_element_seed(node)? {
                Some(element) => elements.push(element),
                None => return Ok(Value::Array(elements)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        self.notes.counts.object().map_err(A::Error::custom)?;
        let own = self.schema.resolve();
        let mut object = Map::new();
        while let Some(name) = access.next_key_seed(Key { yaml: self.notes.yaml })? {
            let Name::Field(key) = name else {
                let (schema, path, depth) = (self.schema, self.path, self.depth + 1);
                let node = Node { notes: &mut *self.notes, schema, path, depth };
                merge::into(&mut object, access.next_value_seed(node)?).map_err(A::Error::custom)?;
                continue;
            };
            self.notes.expand(key.len())?;
            let path = Path::Field(&self.path, &key);
            let schema = own.at_key(&key).unwrap_or_else(|| {
                note(&mut self.notes.unknown, "unknown", path);
                Schema::Free
            });
            if object.contains_key(&key) {
                note(&mut self.notes.duplicates, "duplicate", path);
            }
            let node = Node { notes: &mut *self.notes, schema, path, depth: self.depth + 1 };
            let value = access.next_value_seed(node)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

/// A parser's error in the words of Go's JSON package.
fn json_error(body: &[u8], error: &serde_json::Error) -> DecodeError {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let message = if error.is_eof() {
        "unexpected end of JSON input".to_owned()
    } else {
        let found = character_at(body, line, column);
        let known = |(pattern, _): &&(&str, &str)| text.starts_with(pattern);
        match (found, JSON_CONTEXTS.iter().find(known)) {
            (Some(found), Some((_, context))) => format!("invalid character {found} {context}"),
            _ => text,
        }
    };
    DecodeError::Syntax { message, line, column }
}

/// The character at a position, quoted as Go quotes it.
fn character_at(body: &[u8], line: usize, column: usize) -> Option<String> {
    let line = body.split(|byte| *byte == b'\n').nth(line.checked_sub(1)?)?;
    let byte = *line.get(column.checked_sub(1)?)?;
    Some(match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        byte => format!("'{}'", char::from(byte).escape_debug()),
    })
}

/// A parser's error as Kubernetes shows it: the line first, unless it is the first line.
fn yaml_error(error: &serde_norway::Error) -> DecodeError {
    let (line, column) = error.location().map_or((0, 0), |location| (location.line(), location.column()));
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    let message = if line > 1 { format!("yaml: line {line}: {text}") } else { format!("yaml: {text}") };
    DecodeError::Syntax { message, line, column }
}

/// Kubernetes takes 3 MiB; more than one object never needs, and it bounds what a request can make us hold.
pub const BODY_LIMIT_BYTES: usize = 3 * 1024 * 1024;

/// Deeper than any schema nests; below the parsers' own limit of 128.
pub(crate) const DEPTH_LIMIT: usize = 100;

/// What may precede a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What our parser says, and how Go says it.
const JSON_CONTEXTS: &[(&str, &str)] = &[
    ("expected value", "looking for beginning of value"),
    ("expected ident", "looking for beginning of value"),
    ("trailing characters", "after top-level value"),
    ("expected `,` or `}`", "after object key:value pair"),
    ("expected `,` or `]`", "after array element"),
    ("key must be a string", "looking for beginning of object key string"),
    ("trailing comma", "looking for beginning of value"),
    ("expected `:`", "after object key"),
    ("control character", "in string literal"),
];

#[cfg(test)]
mod tests;
