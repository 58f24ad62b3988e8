//! Types with an encoding of their own on either side: quantities, times, what is an integer or a string, and JSON inside protobuf.

use std::str::FromStr as _;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::{
    envelope::Envelope,
    error::{EncodeError, Malformed},
    read,
    wire::{Reader, put_bytes, put_varint},
    write,
};
use crate::{
    decode::{self, Counts},
    quantity::Quantity,
    schema::Definition,
    time::{format_micro_time, format_time},
};

pub(super) fn read_quantity(name: &'static str, message: &[u8]) -> Result<Value, Malformed> {
    let mut quantity = "0".to_owned();
    let mut reader = Reader::new(message);
    while let Some((number, payload)) = reader.field()? {
        if number == QUANTITY_STRING {
            let parsed = Quantity::from_str(read::text(name, payload)?);
            quantity = parsed.map_err(|error| value_error(name, &error))?.to_string();
        }
    }
    Ok(quantity.into())
}

pub(super) fn write_quantity(
    name: &'static str,
    value: &Value,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let text = value.as_str().ok_or_else(|| EncodeError::field(name, "a quantity"))?;
    put_bytes(out, QUANTITY_STRING, text.as_bytes());
    Ok(())
}

/// The zero time is an empty message, and null in JSON.
pub(super) fn read_time(name: &'static str, message: &[u8]) -> Result<Value, Malformed> {
    // JSON has whole seconds only, so Kubernetes drops the rest.
    let (seconds, _) = seconds_and_nanos(name, message)?;
    time_value(name, seconds, SignedDuration::ZERO, format_time)
}

pub(super) fn read_micro_time(name: &'static str, message: &[u8]) -> Result<Value, Malformed> {
    let (seconds, nanos) = seconds_and_nanos(name, message)?;
    let micros = SignedDuration::from_micros(i64::from(nanos / NANOS_PER_MICRO));
    time_value(name, seconds, micros, format_micro_time)
}

fn seconds_and_nanos(name: &'static str, message: &[u8]) -> Result<(i64, i32), Malformed> {
    if message.is_empty() {
        return Ok((ZERO_TIME_SECONDS, 0));
    }
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::new(message);
    while let Some((number, payload)) = reader.field()? {
        match number {
            TIME_SECONDS => seconds = read::varint(name, payload)?.cast_signed(),
            TIME_NANOS => nanos = read::int32(read::varint(name, payload)?),
            _ => {}
        }
    }
    Ok((seconds, nanos))
}

fn time_value(
    name: &'static str,
    seconds: i64,
    fraction: SignedDuration,
    format: fn(Timestamp) -> String,
) -> Result<Value, Malformed> {
    if seconds == ZERO_TIME_SECONDS && fraction.is_zero() {
        return Ok(Value::Null);
    }
    let time = Timestamp::from_second(seconds).and_then(|time| time.checked_add(fraction));
    time.map(|time| format(time).into())
        .map_err(|_| Malformed::Value { field: name, problem: "year is not between 0 and 9999".to_owned() })
}

pub(super) fn write_time(name: &'static str, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    write_timestamp(name, value, 0, out)
}

pub(super) fn write_micro_time(
    name: &'static str,
    value: &Value,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    write_timestamp(name, value, NANOS_PER_MICRO, out)
}

/// Writes a time of which parts below `unit` nanoseconds are dropped, all parts of a second if it is zero.
fn write_timestamp(
    name: &'static str,
    value: &Value,
    unit: i32,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let text = value.as_str().and_then(|text| Timestamp::from_str(text).ok());
    let time = text.ok_or_else(|| EncodeError::field(name, "a time"))?;
    let fraction = if unit == 0 { 0 } else { time.subsec_nanosecond().div_euclid(unit) * unit };
    // Parts of times before 1970 are negative here, and counted from the second before in protobuf.
    let before = i64::from(time.subsec_nanosecond() < 0);
    let nanos = if fraction < 0 { fraction + NANOS_PER_SECOND } else { fraction };
    put_varint(out, TIME_SECONDS, (time.as_second() - before).cast_unsigned());
    put_varint(out, TIME_NANOS, i64::from(nanos).cast_unsigned());
    Ok(())
}

pub(super) fn read_int_or_string(name: &'static str, message: &[u8]) -> Result<Value, Malformed> {
    let (mut which, mut number_value, mut text) = (INT, 0, "");
    let mut reader = Reader::new(message);
    while let Some((number, payload)) = reader.field()? {
        match number {
            INT_OR_STRING_TYPE => which = read::varint(name, payload)?,
            INT_VALUE => number_value = read::int32(read::varint(name, payload)?),
            STRING_VALUE => text = read::text(name, payload)?,
            _ => {}
        }
    }
    match which {
        INT => Ok(number_value.into()),
        STRING => Ok(text.into()),
        _ => Err(Malformed::Value { field: name, problem: "impossible IntOrString.Type".to_owned() }),
    }
}

pub(super) fn write_int_or_string(
    name: &'static str,
    value: &Value,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let (which, number, text) = match value {
        Value::String(text) => (STRING, 0, text.as_str()),
        value => match value.as_i64() {
            Some(number) => (INT, number, ""),
            None => return Err(EncodeError::field(name, "an integer or a string")),
        },
    };
    put_varint(out, INT_OR_STRING_TYPE, which);
    put_varint(out, INT_VALUE, number.cast_unsigned());
    put_bytes(out, STRING_VALUE, text.as_bytes());
    Ok(())
}

/// What holds any JSON, and the three unions of a custom resource's schema.
pub(super) fn read_any(
    definition: &'static Definition,
    name: &'static str,
    message: &[u8],
    depth: usize,
    counts: &mut Counts,
) -> Result<Value, Malformed> {
    match Union::of(definition) {
        Some(union) => union.read(definition, message, depth, counts),
        None => {
            let mut raw: &[u8] = &[];
            let mut reader = Reader::new(message);
            while let Some((number, payload)) = reader.field()? {
                if number == RAW {
                    raw = read::bytes(name, payload)?;
                }
            }
            read_raw(name, raw, depth, counts)
        }
    }
}

fn read_raw(name: &'static str, raw: &[u8], depth: usize, counts: &mut Counts) -> Result<Value, Malformed> {
    if raw.is_empty() {
        return Ok(Value::Null);
    }
    if Envelope::is_one(raw) {
        let opened = Envelope::open(raw);
        let inner = opened.and_then(|envelope| super::object(&envelope, None, depth, counts));
        return inner.map_err(|error| value_error(name, &error));
    }
    decode::nested_json(raw, depth, counts).map_err(|error| value_error(name, &error))
}

pub(super) fn write_any(
    definition: &'static Definition,
    name: &'static str,
    value: &Value,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    match Union::of(definition) {
        Some(union) => union.write(definition, name, value, out),
        None => {
            let json = serde_json::to_vec(value).expect("a value is JSON");
            put_bytes(out, RAW, &json);
            Ok(())
        }
    }
}

/// A schema, or something else, in JSON told apart by what it looks like.
#[derive(Clone, Copy)]
enum Union {
    /// Several schemas.
    Schemas,
    /// Whether anything is allowed.
    Allows,
    /// Names of properties.
    Properties,
}

impl Union {
    fn of(definition: &Definition) -> Option<Self> {
        match definition.short_name() {
            "JSONSchemaPropsOrArray" => Some(Self::Schemas),
            "JSONSchemaPropsOrBool" => Some(Self::Allows),
            "JSONSchemaPropsOrStringArray" => Some(Self::Properties),
            _ => None,
        }
    }

    fn read(
        self,
        definition: &'static Definition,
        message: &[u8],
        depth: usize,
        counts: &mut Counts,
    ) -> Result<Value, Malformed> {
        let mut fields = Map::new();
        read::object(definition, message, &mut fields, depth, counts)?;
        let schema = fields.remove("schema");
        let other = match self {
            Self::Schemas => fields.remove("jSONSchemas"),
            Self::Allows => fields.remove("allows"),
            Self::Properties => fields.remove("property"),
        };
        Ok(match (self, schema, other) {
            (Self::Allows, Some(schema), _) => schema,
            (Self::Allows, None, allows) => allows.unwrap_or_else(|| false.into()),
            (_, _, Some(list)) => list,
            (_, schema, None) => schema.unwrap_or_default(),
        })
    }

    fn write(
        self,
        definition: &'static Definition,
        name: &'static str,
        value: &Value,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let mut fields = Map::new();
        let key = match (self, value) {
            (Self::Allows, Value::Object(_)) => {
                fields.insert("allows".to_owned(), true.into());
                "schema"
            }
            (_, Value::Object(_)) => "schema",
            (Self::Schemas, Value::Array(_)) => "jSONSchemas",
            (Self::Properties, Value::Array(_)) => "property",
            (Self::Allows, Value::Bool(_)) => "allows",
            _ => return Err(EncodeError::field(name, "a schema or what can stand for one")),
        };
        fields.insert(key.to_owned(), value.clone());
        write::object(definition, &fields, out)
    }
}

fn value_error(name: &'static str, error: &impl std::fmt::Display) -> Malformed {
    Malformed::Value { field: name, problem: error.to_string() }
}

/// The first second of year 1, which Go takes for no time at all.
const ZERO_TIME_SECONDS: i64 = -62_135_596_800;
const NANOS_PER_MICRO: i32 = 1_000;
const NANOS_PER_SECOND: i32 = 1_000_000_000;

const QUANTITY_STRING: u32 = 1;
const TIME_SECONDS: u32 = 1;
const TIME_NANOS: u32 = 2;
const INT_OR_STRING_TYPE: u32 = 1;
const INT_VALUE: u32 = 2;
const STRING_VALUE: u32 = 3;
const INT: u64 = 0;
const STRING: u64 = 1;
/// Field of every message that holds JSON.
const RAW: u32 = 1;
