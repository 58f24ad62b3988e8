//! A map's key; YAML allows scalars of other types, which become their text.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, Visitor};

use super::scalar::{self, Scalar};

/// What a key says.
pub(super) enum Name {
    /// The name of a field or entry.
    Field(String),
    /// The entries are those of the maps which are the value.
    Merge,
}

/// Parses a key.
pub(super) struct Key<'s> {
    /// The text it is in, if that is YAML.
    pub(super) yaml: Option<&'s [u8]>,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Key<'_> {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Name, E> {
        named(Scalar::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Name, E> {
        named(Scalar::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Name, E> {
        named(i64::try_from(value).map_or(Scalar::Unsigned(value), Scalar::Integer))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Name, E> {
        self.visit_f64(value as f64)
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Name, E> {
        self.visit_f64(value as f64)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Name, E> {
        named(Scalar::Float(value))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Name, E> {
        let Some(source) = self.yaml else { return self.visit_str(value) };
        if scalar::is_merge(source, value) {
            return Ok(Name::Merge);
        }
        match Scalar::at(source, value) {
            Scalar::Text => self.visit_str(value),
            scalar => named(scalar),
        }
    }

    fn visit_str<E>(self, value: &str) -> Result<Name, E> {
        Ok(Name::Field(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Name, E> {
        Ok(Name::Field(value))
    }
}

fn named<E: Error>(scalar: Scalar) -> Result<Name, E> {
    scalar.key().map(Name::Field).ok_or_else(|| E::custom("unsupported map key of type: uint64"))
}
