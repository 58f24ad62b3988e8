//! Objects as text: YAML and JSON as `get -o` and `config view` print them, and fields looked up in JSON.

use std::io;

use anyhow::{Context as _, Result};
use serde::Serialize as _;
use serde_json::{Value, ser::PrettyFormatter};

/// YAML with a final line end.
pub(crate) fn yaml(value: &Value) -> String {
    dunlin_api::yaml::emit(value)
}

/// JSON, indented by four, with a final line end.
///
/// # Errors
/// Never for JSON values; encoders say they may fail.
pub(crate) fn json(value: &Value) -> Result<String> {
    let mut bytes = Vec::new();
    let mut serializer =
        serde_json::Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"    "));
    value.serialize(&mut serializer).context("cannot encode JSON")?;
    bytes.push(b'\n');
    String::from_utf8(bytes).map_err(|error| io::Error::other(error).into())
}

/// The string at a path of fields; empty when there is none.
pub(crate) fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    at(value, path).as_str().unwrap_or_default()
}

/// The entries of the list at a path of fields; none when there is no list.
pub(crate) fn items<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    at(value, path).as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The entries of the map at a path of fields; none when there is no map.
pub(crate) fn entries<'a>(value: &'a Value, path: &[&str]) -> impl Iterator<Item = (&'a str, &'a Value)> {
    at(value, path).as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

/// The value at a path of fields; null when there is none.
pub(crate) fn at<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(value, |value, key| &value[*key])
}

/// A scalar as a person writes it, strings without quotes.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Takes out who owns which fields, which people rarely want to see.
pub(crate) fn without_managed_fields(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}
