//! A stored object in the two parts that a row of a table has: values for its cells, and metadata that is copied as it is.
//!
//! Most of an object's metadata is `managedFields`, of which no cell is made; it is passed over and not decoded.

use std::fmt;

use dunlin_link::Revision;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value, value::RawValue};

/// The metadata of a stored object, as text without its resource version.
#[derive(Clone, Copy, Debug)]
pub(in crate::service) struct StoredMetadata<'a> {
    text: &'a str,
    revision: Revision,
}

impl StoredMetadata<'_> {
    /// Appends it with the resource version.
    pub(in crate::service) fn write(&self, out: &mut Vec<u8>) {
        let members = self.text.strip_prefix('{').unwrap_or_default();
        let comma = if members.trim_start().starts_with('}') { "" } else { "," };
        out.extend_from_slice(format!("{{\"resourceVersion\":\"{}\"{comma}", self.revision).as_bytes());
        out.extend_from_slice(members.as_bytes());
    }
}

/// Reads both parts.
pub(super) fn read(json: &[u8], revision: Revision) -> serde_json::Result<(Value, StoredMetadata<'_>)> {
    let mut metadata = None;
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let mut object = Object(&mut metadata).deserialize(&mut deserializer)?;
    let text = metadata.map_or("{}", RawValue::get);
    let mut metadata = Metadata.deserialize(&mut serde_json::Deserializer::from_str(text))?;
    metadata.insert("resourceVersion".to_owned(), revision.to_string().into());
    object.insert("metadata".to_owned(), metadata.into());
    Ok((object.into(), StoredMetadata { text, revision }))
}

/// An object without its metadata, which is put aside.
struct Object<'s, 'de>(&'s mut Option<&'de RawValue>);

impl<'de> DeserializeSeed<'de> for Object<'_, 'de> {
    type Value = Map<String, Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_, 'de> {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "metadata" {
                *self.0 = Some(map.next_value()?);
            } else {
                object.insert(name, map.next_value()?);
            }
        }
        Ok(object)
    }
}

/// Metadata without `managedFields`.
struct Metadata;

impl<'de> DeserializeSeed<'de> for Metadata {
    type Value = Map<String, Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Metadata {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("metadata")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut metadata = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "managedFields" {
                map.next_value::<IgnoredAny>()?;
            } else {
                metadata.insert(name, map.next_value()?);
            }
        }
        Ok(metadata)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(object: &Value, kept: &Value) {
        let json = object.to_string();
        let (found, metadata) = read(json.as_bytes(), Revision(7)).unwrap();
        let mut expected = object.clone();
        expected["metadata"] = kept.clone();
        expected["metadata"]["resourceVersion"] = "7".into();
        assert_eq!(found, expected);
        let mut written = Vec::new();
        metadata.write(&mut written);
        let mut whole = object["metadata"].clone();
        whole["resourceVersion"] = "7".into();
        assert_eq!(serde_json::from_slice::<Value>(&written).unwrap(), whole);
    }

    #[test]
    fn managed_fields_are_written_and_not_decoded() {
        check(&json!({"kind": "Pod", "metadata": {}, "spec": {"a": [1]}}), &json!({}));
        check(
            &json!({"metadata": {"name": "p\"q", "managedFields": [{"fieldsV1": {"f:a": {}}}], "uid": "u"}}),
            &json!({"name": "p\"q", "uid": "u"}),
        );
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for bad in ["", "[]", "{\"metadata\":[]}", "{\"metadata\":{\"a\"}}"] {
            assert!(read(bad.as_bytes(), Revision(1)).is_err(), "{bad}");
        }
    }
}
