//! How objects lie in the store: their keys, and values that lists and watches can copy without decoding.

use bytes::Bytes;
use dunlin_api::{Kind, kind};
use dunlin_link::Revision;
use serde_json::{Map, Value};

use crate::store::value::StoredObject;

/// All API objects are under this prefix.
pub const REGISTRY_PREFIX: &str = "/registry/";

/// Where an object is stored.
#[derive(Clone, Copy, Debug)]
pub struct StoredKey<'a> {
    /// Its kind.
    pub kind: &'static Kind,
    /// Empty for cluster-scoped kinds.
    pub namespace: &'a str,
    /// `metadata.name`.
    pub name: &'a str,
}

impl<'a> StoredKey<'a> {
    /// Reads a key of the store back; `None` when it names no object of a known kind.
    pub fn parse(key: &'a str) -> Option<Self> {
        let rest = key.strip_prefix(REGISTRY_PREFIX)?;
        let (kind, rest) =
            kind::KINDS.iter().find_map(|&kind| Some((kind, rest.strip_prefix(&folder(kind)[..])?)))?;
        let (namespace, name) = if kind.namespaced { rest.split_once('/')? } else { ("", rest) };
        (!name.is_empty() && !name.contains('/')).then_some(Self { kind, namespace, name })
    }
}

/// The key of one object.
pub fn key(kind: &Kind, namespace: &str, name: &str) -> String {
    format!("{}{name}", prefix(kind, namespace))
}

/// The prefix of all keys of a kind, or of its objects in one namespace when `namespace` is not empty.
pub fn prefix(kind: &Kind, namespace: &str) -> String {
    let folder = folder(kind);
    if namespace.is_empty() {
        format!("{REGISTRY_PREFIX}{folder}")
    } else {
        format!("{REGISTRY_PREFIX}{folder}{namespace}/")
    }
}

fn folder(kind: &Kind) -> String {
    if kind.group.is_empty() {
        format!("{}/", kind.plural)
    } else {
        format!("{}/{}/", kind.group, kind.plural)
    }
}

/// Encodes an object for the store, `kind` and `apiVersion` first so that [`write_item`] can cut them off. Its resource version is
/// left out: only the commit knows it.
pub fn encode(object: &Value) -> Bytes {
    let mut json = Vec::with_capacity(512);
    json.push(b'{');
    for field in ["kind", "apiVersion"] {
        if let Some(value) = object.get(field) {
            write_field(&mut json, field, value);
            json.push(b',');
        }
    }
    json.extend_from_slice(b"\"metadata\":{");
    let empty = Map::new();
    let metadata = object.get("metadata").and_then(Value::as_object).unwrap_or(&empty);
    let metadata = metadata.iter().filter(|(field, _)| *field != "resourceVersion");
    for (position, (field, value)) in metadata.enumerate() {
        if position > 0 {
            json.push(b',');
        }
        write_field(&mut json, field, value);
    }
    json.push(b'}');
    for (field, value) in object.as_object().into_iter().flatten() {
        if !matches!(field.as_str(), "kind" | "apiVersion" | "metadata") {
            json.push(b',');
            write_field(&mut json, field, value);
        }
    }
    json.push(b'}');
    StoredObject::from_json(&json).expect("the JSON above has metadata").to_value()
}

/// Decodes a value of the store together with the revision that made it.
///
/// # Errors
/// When the value is not one of ours.
pub fn decode(value: &[u8], revision: Revision) -> Result<Value, MalformedObject> {
    let stored = StoredObject::from_value(value).map_err(|_| MalformedObject)?;
    let mut object: Value = serde_json::from_slice(stored.json()).map_err(|_| MalformedObject)?;
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut).ok_or(MalformedObject)?;
    metadata.insert("resourceVersion".to_owned(), revision.to_string().into());
    Ok(object)
}

/// The JSON of a stored object, without a resource version.
///
/// # Errors
/// When the value is not one of ours.
pub fn json(value: &[u8]) -> Result<&[u8], MalformedObject> {
    StoredObject::from_value(value).map(|object| object.json()).map_err(|_| MalformedObject)
}

/// A value of the store that is not an object.
#[derive(Debug, thiserror::Error)]
#[error("a stored object is malformed")]
pub struct MalformedObject;

/// Appends the JSON of a stored object, with its resource version.
pub(super) fn write(value: &[u8], revision: Revision, out: &mut Vec<u8>) -> Result<(), MalformedObject> {
    StoredObject::from_value(value).map_err(|_| MalformedObject)?.splice_into(revision, out);
    Ok(())
}

/// Appends the JSON of a stored object as an item of a list of its kind, which has neither `kind` nor `apiVersion`.
pub(super) fn write_item(
    kind: &Kind,
    value: &[u8],
    revision: Revision,
    out: &mut Vec<u8>,
) -> Result<(), MalformedObject> {
    let start = out.len();
    write(value, revision, out)?;
    let head = format!("{{\"kind\":\"{}\",\"apiVersion\":\"{}\",", kind.kind, kind.api_version());
    if out[start..].starts_with(head.as_bytes()) {
        out.drain(start + 1..start + head.len());
    }
    Ok(())
}

fn write_field(json: &mut Vec<u8>, field: &str, value: &Value) {
    serde_json::to_writer(&mut *json, field).expect("writing JSON to memory cannot fail");
    json.push(b':');
    serde_json::to_writer(json, value).expect("writing JSON to memory cannot fail");
}

#[cfg(test)]
mod tests {
    use dunlin_api::kind;
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_are_spliced_without_decoding() {
        let pod = kind::by_kind("v1", "Pod").unwrap();
        for object in [
            json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "uid": "u"}, "spec": {"a": ["\"}"]}}),
            json!({"metadata": {}, "data": {}}),
            json!({"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n", "resourceVersion": "3"}}),
        ] {
            let value = encode(&object);
            let mut expected = object.clone();
            expected["metadata"]["resourceVersion"] = "7".into();
            assert_eq!(decode(&value, Revision(7)).unwrap(), expected);
            let mut whole = Vec::new();
            write(&value, Revision(7), &mut whole).unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&whole).unwrap(), expected);
            let mut item = Vec::new();
            write_item(pod, &value, Revision(7), &mut item).unwrap();
            if object["kind"] == "Pod" {
                expected.as_object_mut().unwrap().retain(|field, _| field != "kind" && field != "apiVersion");
            }
            assert_eq!(serde_json::from_slice::<Value>(&item).unwrap(), expected);
        }
    }

    #[test]
    fn keys_are_read_back() {
        let (pod, node) = (kind::by_kind("v1", "Pod").unwrap(), kind::by_kind("v1", "Node").unwrap());
        for (kind, namespace, name) in [(pod, "ns", "p"), (node, "", "n.example")] {
            let key = key(kind, namespace, name);
            let parsed = StoredKey::parse(&key).unwrap();
            assert_eq!((parsed.kind.kind, parsed.namespace, parsed.name), (kind.kind, namespace, name));
        }
        for foreign in
            ["/dunlin/tombstones/n/u", "/registry/pods/", "/registry/pods/ns/", "/registry/foos/a/b"]
        {
            assert!(StoredKey::parse(foreign).is_none(), "{foreign}");
        }
    }
}
