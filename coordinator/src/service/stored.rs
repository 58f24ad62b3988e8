//! How objects lie in the store: their keys, and values that lists and watches can copy without decoding.

use bytes::Bytes;
use dunlin_api::{
    Kind,
    kind::{self, Storage},
};
use dunlin_link::Revision;
use serde_json::{Map, Value};

pub(super) use self::row_parts::StoredMetadata;
use crate::store::{KeyValue, value::StoredObject};

mod row_parts;

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
            kind::all().find_map(|kind| Some((kind, rest.strip_prefix(&folder(kind)[..])?)))?;
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

/// The prefix of all keys of the kinds of a group other than the core group.
pub fn group_prefix(group: &str) -> String {
    format!("{REGISTRY_PREFIX}{group}/")
}

/// Versions of one kind share a folder.
fn folder(kind: &Kind) -> String {
    let kind = match &kind.storage {
        Storage::As(conversion) => conversion.stored,
        Storage::Own | Storage::None => kind,
    };
    if kind.group.is_empty() {
        format!("{}/", kind.plural)
    } else {
        format!("{}/{}/", kind.group, kind.plural)
    }
}

/// Encodes an object for the store, `kind` and `apiVersion` first so that [`write_item`] can cut them off. Its resource version is
/// left out: only the commit knows it.
pub fn encode(object: &Value) -> Bytes {
    let json = encode_json(object);
    StoredObject::from_json(&json).expect("the JSON has metadata").to_value()
}

/// Encodes an object that takes the place of `current`, of which `old` is the decoded form. A value that differs only in its status
/// says so, and since when.
pub(super) fn encode_update(object: &Value, old: &Value, current: &KeyValue) -> Bytes {
    let since = StoredObject::from_value(&current.value).map(|value| value.changed_at(current.mod_revision));
    let json = encode_json(object);
    let stored = StoredObject::from_json(&json).expect("the JSON has metadata");
    match since {
        Ok(since) if differ_in_status_only(object, old) => stored.unchanged_since(since).to_value(),
        _ => stored.to_value(),
    }
}

/// Whether two states of an object are the same but for the status and what metadata says about writers and owners: nothing of that
/// ever reaches a node.
fn differ_in_status_only(new: &Value, old: &Value) -> bool {
    let empty = Map::new();
    let fields = |value| Value::as_object(value).unwrap_or(&empty);
    are_equal_but_for(fields(new), fields(old), &["status", "metadata"])
        && are_equal_but_for(
            fields(&new["metadata"]),
            fields(&old["metadata"]),
            &["resourceVersion", "managedFields", "finalizers", "ownerReferences"],
        )
}

fn are_equal_but_for(new: &Map<String, Value>, old: &Map<String, Value>, left_out: &[&str]) -> bool {
    let counts = |field: &String| !left_out.contains(&field.as_str());
    new.iter().filter(|(field, _)| counts(field)).eq(old.iter().filter(|(field, _)| counts(field)))
}

fn encode_json(object: &Value) -> Vec<u8> {
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
    json
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

/// Decodes of a stored object what the cells of its row are made of, which is all but `managedFields`; beside it the metadata as text.
///
/// # Errors
/// When the value is not one of ours.
pub(super) fn decode_for_row(
    value: &[u8],
    revision: Revision,
) -> Result<(Value, StoredMetadata<'_>), MalformedObject> {
    let stored = StoredObject::from_value(value).map_err(|_| MalformedObject)?;
    row_parts::read(stored.json(), revision).map_err(|_| MalformedObject)
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
    fn what_changes_only_the_status_keeps_the_revision_of_the_rest() {
        let pod = |label: &str, finalizers: Value, status: &str| {
            json!({
                "metadata": { "name": "p", "labels": { "a": label }, "finalizers": finalizers },
                "spec": { "nodeName": "n" },
                "status": { "phase": status },
            })
        };
        let none = || json!([]);
        let check = |old: &Value, new: &Value, expected: u64| {
            let value = encode_update(old, old, &kv(encode(old), 3));
            let value = encode_update(new, old, &kv(value, 5));
            let changed_at = StoredObject::from_value(&value).unwrap().changed_at(Revision(9));
            assert_eq!(changed_at, Revision(expected), "{old} {new}");
            assert_eq!(decode(&value, Revision(9)).unwrap()["status"], new["status"]);
        };
        check(&pod("a", none(), "Pending"), &pod("a", none(), "Running"), 3);
        check(&pod("a", none(), "Pending"), &pod("a", json!(["x"]), "Running"), 3);
        check(&pod("a", none(), "Pending"), &pod("b", none(), "Running"), 9);
        check(&json!({ "metadata": {} }), &json!({ "metadata": {}, "status": {} }), 3);
        check(&json!({ "metadata": {} }), &json!({ "metadata": {}, "spec": {} }), 9);
        check(&json!({ "metadata": {}, "spec": {} }), &json!({ "metadata": {} }), 9);
    }

    fn kv(value: Bytes, mod_revision: u64) -> KeyValue {
        KeyValue { key: String::new(), value, mod_revision: Revision(mod_revision) }
    }

    #[test]
    fn keys_are_read_back() {
        let (pod, node) = (kind::by_kind("v1", "Pod").unwrap(), kind::by_kind("v1", "Node").unwrap());
        let scaler = kind::by_kind("autoscaling/v2", "HorizontalPodAutoscaler").unwrap();
        for (kind, namespace, name) in [(pod, "ns", "p"), (node, "", "n.example"), (scaler, "ns", "h")] {
            let key = key(kind, namespace, name);
            let parsed = StoredKey::parse(&key).unwrap();
            assert_eq!((parsed.kind.kind, parsed.namespace, parsed.name), (kind.kind, namespace, name));
        }
        for (version, stored) in [("events.k8s.io/v1", "v1"), ("autoscaling/v1", "autoscaling/v2")] {
            let name = if stored == "v1" { "Event" } else { "HorizontalPodAutoscaler" };
            let [asked, stored] = [version, stored].map(|version| kind::by_kind(version, name).unwrap());
            assert_eq!(key(asked, "ns", "x"), key(stored, "ns", "x"));
        }
        for foreign in
            ["/dunlin/tombstones/n/u", "/registry/pods/", "/registry/pods/ns/", "/registry/foos/a/b"]
        {
            assert!(StoredKey::parse(foreign).is_none(), "{foreign}");
        }
    }
}
