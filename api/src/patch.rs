//! Patches: JSON merge patch (RFC 7386), JSON patch (RFC 6902) and Kubernetes' strategic merge patch.

use serde_json::Value;

use crate::{
    decode::{self, DecodeError, Format},
    kind::Kind,
};

mod json;
mod strategic;

/// Which kind of patch a body is, by its content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// `application/merge-patch+json`.
    Merge,
    /// `application/json-patch+json`.
    Json,
    /// `application/strategic-merge-patch+json`.
    Strategic,
}

/// Why a patch does not apply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PatchError {
    /// The body is larger than a request may be.
    #[error("patch is too large")]
    TooLarge,
    /// The body is no patch of this kind.
    #[error("{0}")]
    Unreadable(String),
    /// A JSON patch names what is not there, or a test failed.
    #[error("patch does not apply")]
    NotApplicable,
    /// A directive of a strategic merge patch is malformed.
    #[error("{0}")]
    Invalid(String),
    /// A strategic merge patch contradicts the schema or itself. Kubernetes takes the blame.
    #[error("{0}")]
    Failed(String),
}

impl PatchKind {
    /// The patch that a content type names.
    pub fn from_content_type(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/merge-patch+json" => Some(Self::Merge),
            "application/json-patch+json" => Some(Self::Json),
            "application/strategic-merge-patch+json" => Some(Self::Strategic),
            _ => None,
        }
    }
}

/// What a patch made of an object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Patched {
    /// The object, not checked against the kind.
    pub(crate) object: Value,
    /// What messages about it show: the object, or for a strategic merge patch the patch.
    pub(crate) shown: String,
}

/// What `patch` makes of `current`; the outcome is not checked against the kind.
///
/// # Errors
///
/// When the body is no patch or does not apply.
pub(crate) fn apply(
    kind: &Kind,
    current: &Value,
    patch: PatchKind,
    body: &[u8],
) -> Result<Patched, PatchError> {
    let document = decode::document(body, Format::Json, None).map_err(|error| match error {
        DecodeError::TooLarge => PatchError::TooLarge,
        error => PatchError::Unreadable(error.to_string()),
    })?;
    let patch_value = document.value;
    let mut object = current.clone();
    if patch != PatchKind::Json && !patch_value.is_object() {
        let found = if patch_value.is_array() { "array" } else { "value" };
        let message =
            format!("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}");
        return Err(PatchError::Unreadable(message));
    }
    let shown = match patch {
        PatchKind::Strategic => {
            let shown = go_value(&patch_value);
            strategic::apply(kind.definition(), &mut object, patch_value)?;
            shown
        }
        PatchKind::Merge => {
            merge(&mut object, patch_value);
            go_json(&object)
        }
        PatchKind::Json => {
            json::apply(&mut object, &patch_value)?;
            go_json(&object)
        }
    };
    Ok(Patched { object, shown })
}

/// RFC 7386: objects merge, null removes, everything else replaces.
pub fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(object) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            object.remove(&key);
        } else {
            merge(object.entry(key).or_insert(Value::Null), value);
        }
    }
}

/// An object as messages about patches show it: top-level fields in alphabetical order, metadata in the order of its struct.
fn go_json(object: &Value) -> String {
    let Some(entries) = object.as_object() else { return object.to_string() };
    let shown = entries.iter().map(|(key, value)| match (key.as_str(), value.as_object()) {
        ("metadata", Some(metadata)) => {
            let shown = in_order(metadata, &METADATA_ORDER, |key, value| match (key, value.as_array()) {
                ("managedFields", Some(managers)) => {
                    let managers = managers.iter().filter_map(Value::as_object);
                    let managers: Vec<String> = managers
                        .map(|manager| in_order(manager, &MANAGER_ORDER, |_, value| value.to_string()))
                        .collect();
                    format!("[{}]", managers.join(","))
                }
                _ => value.to_string(),
            });
            format!("\"metadata\":{shown}")
        }
        _ => format!("{}:{value}", Value::from(key.as_str())),
    });
    format!("{{{}}}", shown.collect::<Vec<_>>().join(","))
}

/// A struct with its fields in this order, each as `shown`.
fn in_order(
    fields: &serde_json::Map<String, Value>,
    order: &[&str],
    shown: impl Fn(&str, &Value) -> String,
) -> String {
    let known = order.iter().filter_map(|key| fields.get(*key).map(|value| (*key, value)));
    let fields: Vec<String> = known.map(|(key, value)| format!("\"{key}\":{}", shown(key, value))).collect();
    format!("{{{}}}", fields.join(","))
}

/// A value as Go's default formatting shows it: `map[data:map[a:1]]`.
pub(crate) fn go_value(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(elements) => {
            let elements: Vec<String> = elements.iter().map(go_value).collect();
            format!("[{}]", elements.join(" "))
        }
        Value::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| format!("{key}:{}", go_value(value)));
            format!("map[{}]", entries.collect::<Vec<_>>().join(" "))
        }
    }
}

/// Fields of `ObjectMeta` as its Go struct orders them.
const METADATA_ORDER: [&str; 15] = [
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
];

/// Fields of an entry of `managedFields` as its Go struct orders them.
const MANAGER_ORDER: [&str; 7] =
    ["manager", "operation", "apiVersion", "time", "fieldsType", "fieldsV1", "subresource"];

#[cfg(test)]
mod laws;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(mut target: Value, patch: Value, expected: Value) {
        merge(&mut target, patch);
        assert_eq!(target, expected);
    }

    #[test]
    fn merge_patch_follows_the_rfc() {
        check(json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"}));
        check(json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"}));
        check(json!({"a": "b"}), json!({"a": null}), json!({}));
        check(json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"}));
        check(json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"}));
        check(json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]}));
        check(json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}}));
        check(json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]}));
        check(json!(["a"]), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}}));
        check(json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1}));
    }
}
