//! Reading JSON objects field by field, absent fields as empty values.

use serde_json::{Map, Value};

/// The string at `key`; empty when absent.
pub(crate) fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_default()
}

/// The list at `key`; empty when absent.
pub(crate) fn list<'a>(object: &'a Value, key: &str) -> &'a [Value] {
    object[key].as_array().map_or(&[], Vec::as_slice)
}

/// The elements of the list at `key`, to change.
pub(crate) fn list_mut<'a>(object: &'a mut Value, key: &str) -> &'a mut [Value] {
    object.get_mut(key).and_then(Value::as_array_mut).map_or(&mut [], Vec::as_mut_slice)
}

/// The entries of the map at `key`, in order; none when absent.
pub(crate) fn entries<'a>(object: &'a Value, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    object[key].as_object().into_iter().flatten()
}

/// Whether `key` is there and not null.
pub(crate) fn has(object: &Value, key: &str) -> bool {
    !object[key].is_null()
}

/// Whether the boolean at `key` is there and true.
pub(crate) fn is_true(object: &Value, key: &str) -> bool {
    object[key] == true
}

/// Sets `key` when it is absent or null.
pub(crate) fn default(object: &mut Value, key: &str, value: impl Into<Value>) {
    if let Some(object) = object.as_object_mut() {
        let slot = object.entry(key).or_insert(Value::Null);
        if slot.is_null() {
            *slot = value.into();
        }
    }
}

/// Sets `key` when it is absent, null or the empty string.
pub(crate) fn default_text(object: &mut Value, key: &str, value: &str) {
    if text(object, key).is_empty() {
        set(object, key, value);
    }
}

/// Sets `key`.
pub(crate) fn set(object: &mut Value, key: &str, value: impl Into<Value>) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value.into());
    }
}

/// Removes `key`.
pub(crate) fn remove(object: &mut Value, key: &str) -> Option<Value> {
    object.as_object_mut().and_then(|object| object.remove(key))
}

/// Sets `key` to `value`, or removes it when `value` is null.
pub(crate) fn put(object: &mut Value, key: &str, value: Value) {
    if value.is_null() {
        remove(object, key);
    } else {
        set(object, key, value);
    }
}

/// The object at `key`, made empty when it is absent, null or not an object.
pub(crate) fn object_mut<'a>(object: &'a mut Value, key: &str) -> &'a mut Value {
    if !object[key].is_object() {
        set(object, key, Map::new());
    }
    &mut object[key]
}
