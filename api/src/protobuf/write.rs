//! From values to messages, byte for byte as Go writes them: fields in the order of their numbers, maps in the order of their keys,
//! and zeros of what Go holds by value also where JSON leaves them out.

use serde_json::{Map, Value};

use super::{
    error::EncodeError,
    special,
    wire::{put_bytes, put_double, put_nested, put_varint},
};
use crate::{
    base64,
    schema::{
        Definition, Encoding, Shape, Type,
        wire::{Place, WireField},
    },
};

/// Appends an object's message.
pub(super) fn object(
    definition: &'static Definition,
    object: &Map<String, Value>,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    message(definition, definition, object, out)
}

/// Appends the fields of one message; `owner` is the struct that they are of in JSON.
fn message(
    owner: &'static Definition,
    definition: &'static Definition,
    object: &Map<String, Value>,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    for field in definition.wire_fields() {
        let writes_zero = match field.place {
            Place::Inlined(inlined) => {
                put_nested(out, field.number, |out| message(owner, inlined, object, out))?;
                continue;
            }
            Place::Field(_) => field.writes_zero,
            Place::Outer => owner.field(field.name).is_some_and(|own| own.is_held_by_value()),
        };
        match object.get(field.name) {
            None | Some(Value::Null) if writes_zero => zero(field.number, field.ty, out)?,
            Some(Value::Null) if is_null_when_zero(field.ty) => zero(field.number, field.ty, out)?,
            None | Some(Value::Null) => {}
            Some(value) => present(field, value, out)?,
        }
    }
    Ok(())
}

/// Whether null in JSON is a value that is there and zero.
fn is_null_when_zero(ty: Type) -> bool {
    let encoding = ty.definition().map(|definition| definition.encoding);
    matches!(encoding, Some(Encoding::Time | Encoding::MicroTime | Encoding::Any))
}

fn present(field: &WireField, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let name = field.name;
    match (field.ty.shape(), value) {
        (Shape::List(element), Value::Array(elements)) => {
            for value in elements {
                single(name, field.number, element, value, out)?;
            }
            Ok(())
        }
        (Shape::Map(ty), Value::Object(entries)) => {
            for (key, value) in entries {
                put_nested(out, field.number, |out| {
                    put_bytes(out, MAP_KEY, key.as_bytes());
                    single(name, MAP_VALUE, ty, value, out)
                })?;
            }
            Ok(())
        }
        (Shape::List(_), _) => Err(EncodeError::field(name, "a list")),
        (Shape::Map(_), _) => Err(EncodeError::field(name, "a map")),
        _ => single(name, field.number, field.ty, value, out),
    }
}

/// Appends a field of one value, which is neither a list nor a map.
fn single(
    name: &'static str,
    number: u32,
    ty: Type,
    value: &Value,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let wrong = |expected| EncodeError::field(name, expected);
    match (ty.shape(), value) {
        (_, Value::Null) => return zero(number, ty, out),
        (Shape::String, Value::String(text)) => put_bytes(out, number, text.as_bytes()),
        (Shape::Bytes, Value::String(text)) => {
            let bytes = base64::decode(text).map_err(|_| wrong("base64"))?;
            put_bytes(out, number, &bytes);
        }
        (Shape::Bool, Value::Bool(value)) => put_varint(out, number, u64::from(*value)),
        (Shape::Int32 | Shape::Int64, Value::Number(value)) => {
            let value = value.as_i64().ok_or_else(|| wrong("an integer"))?;
            put_varint(out, number, value.cast_unsigned());
        }
        (Shape::Double, Value::Number(value)) => {
            put_double(out, number, value.as_f64().ok_or_else(|| wrong("a number"))?);
        }
        (Shape::Named(definition), value) => {
            return put_nested(out, number, |out| named(definition, name, value, out));
        }
        (shape, _) => {
            return Err(wrong(match shape {
                Shape::String => "a string",
                Shape::Bytes => "base64",
                Shape::Bool => "a boolean",
                _ => "a number",
            }));
        }
    }
    Ok(())
}

/// Appends the message of a value that has a definition.
fn named(
    definition: &'static Definition,
    name: &'static str,
    value: &Value,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    match (definition.encoding, value) {
        (Encoding::Quantity, value) => special::write_quantity(name, value, out),
        (Encoding::Time, value) => special::write_time(name, value, out),
        (Encoding::MicroTime, value) => special::write_micro_time(name, value, out),
        (Encoding::IntOrString, value) => special::write_int_or_string(name, value, out),
        (Encoding::Any, value) => special::write_any(definition, name, value, out),
        (Encoding::Message | Encoding::Struct, Value::Object(fields)) => object(definition, fields, out),
        (_, Value::Array(elements)) if let Some(element) = definition.listed() => {
            for value in elements {
                single(name, LIST_ITEMS, element, value, out)?;
            }
            Ok(())
        }
        _ => Err(EncodeError::field(name, "an object")),
    }
}

/// Appends a field that is zero.
fn zero(number: u32, ty: Type, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    match ty.shape() {
        Shape::Bool | Shape::Int32 | Shape::Int64 => put_varint(out, number, 0),
        Shape::Double => put_double(out, number, 0.0),
        Shape::Named(definition) => {
            return put_nested(out, number, |out| match definition.encoding {
                Encoding::Struct | Encoding::Message => object(definition, &Map::new(), out),
                Encoding::Quantity => special::write_quantity("", &"0".into(), out),
                Encoding::IntOrString => special::write_int_or_string("", &0.into(), out),
                Encoding::Time | Encoding::MicroTime | Encoding::Any => Ok(()),
            });
        }
        _ => put_bytes(out, number, &[]),
    }
    Ok(())
}

/// Field of an entry of a map.
const MAP_KEY: u32 = 1;
/// Field of an entry of a map.
const MAP_VALUE: u32 = 2;
/// Field of a message that stands for a list.
const LIST_ITEMS: u32 = 1;
