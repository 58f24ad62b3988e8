//! From messages to values: a walk over the wire that asks the table what each field is.

use serde_json::{Map, Number, Value};

use super::{
    error::Malformed,
    special,
    wire::{Payload, Reader},
};
use crate::{
    base64,
    decode::{Counts, DEPTH_LIMIT},
    schema::{
        Definition, Encoding, Field, Shape, Type,
        wire::{Place, WireField},
    },
};

/// Reads the fields of an object's message into `object`; a message that comes again adds to what was there, as Go has it.
pub(super) fn object(
    definition: &'static Definition,
    message: &[u8],
    object: &mut Map<String, Value>,
    depth: usize,
    counts: &mut Counts,
) -> Result<(), Malformed> {
    counts.object()?;
    let mut walk = Walk { owner: definition, object, counts };
    walk.message(definition, message, depth)?;
    for field in definition.fields() {
        if let Some(value) = field.unset()
            && !object.contains_key(field.name)
        {
            object.insert(field.name.to_owned(), value);
        }
    }
    Ok(())
}

struct Walk<'w> {
    /// The struct that the fields are of, also those of messages that JSON inlines into it.
    owner: &'static Definition,
    object: &'w mut Map<String, Value>,
    counts: &'w mut Counts,
}

impl Walk<'_> {
    fn message(
        &mut self,
        definition: &'static Definition,
        message: &[u8],
        depth: usize,
    ) -> Result<(), Malformed> {
        if depth > DEPTH_LIMIT {
            return Err(Malformed::TooDeep);
        }
        let mut reader = Reader::new(message);
        while let Some((number, payload)) = reader.field()? {
            self.counts.value()?;
            let Some(field) = definition.wire_field(number) else { continue };
            match field.place {
                Place::Inlined(inlined) => self.message(inlined, bytes(field.name, payload)?, depth + 1)?,
                Place::Field(own) => self.field(field, Some(own), payload, depth + 1)?,
                Place::Outer => self.field(field, self.owner.field(field.name), payload, depth + 1)?,
            }
        }
        Ok(())
    }

    fn field(
        &mut self,
        field: &'static WireField,
        in_json: Option<&'static Field>,
        payload: Payload<'_>,
        depth: usize,
    ) -> Result<(), Malformed> {
        match field.ty.shape() {
            Shape::List(element) => self.elements(field, element, payload, depth),
            Shape::Map(value) => self.entry(field, value, bytes(field.name, payload)?, depth),
            Shape::Named(definition) if definition.encoding == Encoding::Struct => {
                let message = bytes(field.name, payload)?;
                let slot = self.object.entry(field.name).or_insert_with(|| Value::Object(Map::new()));
                match slot.as_object_mut() {
                    Some(inner) => object(definition, message, inner, depth, self.counts),
                    None => Ok(()),
                }
            }
            _ => {
                let value = single(field.name, field.ty, payload, depth, self.counts)?;
                if in_json.is_some_and(|field| field.drops_zero) && is_zero(&value) {
                    self.object.remove(field.name);
                } else {
                    self.object.insert(field.name.to_owned(), value);
                }
                Ok(())
            }
        }
    }

    /// One element of a list, or several that are packed.
    fn elements(
        &mut self,
        field: &'static WireField,
        element: Type,
        payload: Payload<'_>,
        depth: usize,
    ) -> Result<(), Malformed> {
        let name = field.name;
        let Payload::Bytes(packed) = payload else {
            let value = single(name, element, payload, depth + 1, self.counts)?;
            return self.push(name, value);
        };
        let mut reader = Reader::new(packed);
        match element.shape() {
            Shape::Bool | Shape::Int32 | Shape::Int64 => {
                while let Some(varint) = reader.packed_varint()? {
                    self.counts.value()?;
                    let value = single(name, element, Payload::Varint(varint), depth + 1, self.counts)?;
                    self.push(name, value)?;
                }
                Ok(())
            }
            Shape::Double => {
                while let Some(bits) = reader.packed_fixed64()? {
                    self.counts.value()?;
                    let value = single(name, element, Payload::Fixed64(bits), depth + 1, self.counts)?;
                    self.push(name, value)?;
                }
                Ok(())
            }
            _ => {
                let value = single(name, element, payload, depth + 1, self.counts)?;
                self.push(name, value)
            }
        }
    }

    fn push(&mut self, name: &'static str, value: Value) -> Result<(), Malformed> {
        let slot = self.object.entry(name).or_insert_with(|| Value::Array(Vec::new()));
        if let Some(elements) = slot.as_array_mut() {
            elements.push(value);
        }
        Ok(())
    }

    /// One entry of a map: a message of a key and a value, either of which is zero when it is missing.
    fn entry(
        &mut self,
        field: &'static WireField,
        ty: Type,
        message: &[u8],
        depth: usize,
    ) -> Result<(), Malformed> {
        let (mut key, mut value) = ("", None);
        let mut reader = Reader::new(message);
        while let Some((number, payload)) = reader.field()? {
            self.counts.value()?;
            match number {
                MAP_KEY => key = text(field.name, payload)?,
                MAP_VALUE => value = Some(single(field.name, ty, payload, depth + 1, self.counts)?),
                _ => {}
            }
        }
        let value = match value {
            Some(value) => value,
            None => zero(field.name, ty, depth + 1, self.counts)?,
        };
        let slot = self.object.entry(field.name).or_insert_with(|| Value::Object(Map::new()));
        if let Some(entries) = slot.as_object_mut() {
            entries.insert(key.to_owned(), value);
        }
        Ok(())
    }
}

/// One value that is neither a list nor a map.
fn single(
    name: &'static str,
    ty: Type,
    payload: Payload<'_>,
    depth: usize,
    counts: &mut Counts,
) -> Result<Value, Malformed> {
    match (ty.shape(), payload) {
        (Shape::String, payload) => text(name, payload).map(Value::from),
        (Shape::Bytes, payload) => bytes(name, payload).map(|bytes| base64::encode(bytes).into()),
        (Shape::Bool, Payload::Varint(value)) => Ok((value != 0).into()),
        (Shape::Int32, Payload::Varint(value)) => Ok(int32(value).into()),
        (Shape::Int64, Payload::Varint(value)) => Ok(value.cast_signed().into()),
        (Shape::Double, Payload::Fixed64(bits)) => double(name, f64::from_bits(bits)),
        (Shape::Named(definition), payload) => {
            message(definition, name, bytes(name, payload)?, depth, counts)
        }
        (_, payload) => Err(Malformed::Field { field: name, found: payload.wire_type() }),
    }
}

/// A message, whatever it is in JSON.
pub(super) fn message(
    definition: &'static Definition,
    name: &'static str,
    message: &[u8],
    depth: usize,
    counts: &mut Counts,
) -> Result<Value, Malformed> {
    match definition.encoding {
        Encoding::Quantity => special::read_quantity(name, message),
        Encoding::Time => special::read_time(name, message),
        Encoding::MicroTime => special::read_micro_time(name, message),
        Encoding::IntOrString => special::read_int_or_string(name, message),
        Encoding::Any => special::read_any(definition, name, message, depth, counts),
        Encoding::Message | Encoding::Struct => match definition.listed() {
            Some(element) => list(name, element, message, depth, counts),
            None => {
                let mut fields = Map::new();
                object(definition, message, &mut fields, depth, counts)?;
                Ok(Value::Object(fields))
            }
        },
    }
}

/// A message that stands for a list.
fn list(
    name: &'static str,
    element: Type,
    message: &[u8],
    depth: usize,
    counts: &mut Counts,
) -> Result<Value, Malformed> {
    let mut elements = Vec::new();
    let mut reader = Reader::new(message);
    while let Some((number, payload)) = reader.field()? {
        counts.value()?;
        if number == LIST_ITEMS {
            elements.push(single(name, element, payload, depth + 1, counts)?);
        }
    }
    Ok(Value::Array(elements))
}

/// The value of a map's entry that has none.
fn zero(name: &'static str, ty: Type, depth: usize, counts: &mut Counts) -> Result<Value, Malformed> {
    match ty.shape() {
        Shape::Bool => Ok(false.into()),
        Shape::Int32 | Shape::Int64 | Shape::Double => Ok(0.into()),
        _ => single(name, ty, Payload::Bytes(&[]), depth, counts),
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// As Go has it, the lower half of what was sent.
pub(super) fn int32(value: u64) -> i32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

/// A double as JSON has it: without a point when it is whole.
fn double(name: &'static str, value: f64) -> Result<Value, Malformed> {
    let text = format!("{value}");
    if let Ok(whole) = text.parse::<i64>() {
        return Ok(whole.into());
    }
    let number = Number::from_f64(value);
    number
        .map(Value::Number)
        .ok_or_else(|| Malformed::Value { field: name, problem: format!("unsupported value: {text}") })
}

pub(super) fn varint(name: &'static str, payload: Payload<'_>) -> Result<u64, Malformed> {
    match payload {
        Payload::Varint(value) => Ok(value),
        other => Err(Malformed::Field { field: name, found: other.wire_type() }),
    }
}

pub(super) fn bytes<'a>(name: &'static str, payload: Payload<'a>) -> Result<&'a [u8], Malformed> {
    match payload {
        Payload::Bytes(bytes) => Ok(bytes),
        other => Err(Malformed::Field { field: name, found: other.wire_type() }),
    }
}

pub(super) fn text<'a>(name: &'static str, payload: Payload<'a>) -> Result<&'a str, Malformed> {
    std::str::from_utf8(bytes(name, payload)?).map_err(|_| Malformed::Text(name))
}

/// Field of an entry of a map.
const MAP_KEY: u32 = 1;
/// Field of an entry of a map.
const MAP_VALUE: u32 = 2;
/// Field of a message that stands for a list.
const LIST_ITEMS: u32 = 1;
