//! Strategic merge patch: lists of objects merge by key where the schema says so, with `$patch`, `$deleteFromPrimitiveList`,
//! `$setElementOrder` and `$retainKeys` directives.
//!
//! What a list looks like after a merge follows Kubernetes to the element: what the patch names comes in the patch's order, what
//! only the server has keeps its order, and of both the patch's goes first unless the server had them the other way round.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{PatchError, go_value};
use crate::schema::{Definition, Encoding, Field, Shape, Type};

mod order;

use order::Places;

/// Merges `patch` into `target`, an object of this definition.
pub(super) fn apply(
    definition: &'static Definition,
    target: &mut Value,
    patch: Value,
) -> Result<(), PatchError> {
    let Value::Object(patch) = patch else { return Ok(()) };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(object) = target else { return Ok(()) };
    merge(Known::Struct(definition), object, patch)
}

/// What the schema says about an object's fields.
#[derive(Clone, Copy)]
enum Known {
    Struct(&'static Definition),
    Map(Type),
    Nothing,
}

impl Known {
    fn of(ty: Type) -> Self {
        match ty.shape() {
            Shape::Named(definition) if definition.encoding == Encoding::Struct => Self::Struct(definition),
            Shape::Map(value) => Self::Map(value),
            _ => Self::Nothing,
        }
    }

    fn field(self, key: &str) -> Option<&'static Field> {
        match self {
            Self::Struct(definition) => definition.field(key),
            Self::Map(_) | Self::Nothing => None,
        }
    }

    fn below(self, key: &str) -> Self {
        match self {
            Self::Struct(_) => self.field(key).map_or(Self::Nothing, |field| Self::of(field.ty)),
            Self::Map(value) => Self::of(value),
            Self::Nothing => Self::Nothing,
        }
    }

    /// What it says about the elements of a list.
    fn elements(self, key: &str) -> Self {
        self.field(key).map_or(Self::Nothing, |field| match field.ty.shape() {
            Shape::List(element) => Self::of(element),
            _ => Self::Nothing,
        })
    }

    fn has_strategy(self, key: &str, strategy: &str) -> bool {
        let strategies = self.field(key).and_then(Field::patch_strategy);
        strategies.is_some_and(|all| all.split(',').any(|one| one == strategy))
    }

    fn merge_key(self, key: &str) -> Option<&'static str> {
        self.field(key).and_then(Field::patch_merge_key)
    }
}

/// Merges an object into another.
fn merge(
    known: Known,
    object: &mut Map<String, Value>,
    mut patch: Map<String, Value>,
) -> Result<(), PatchError> {
    match patch.get(PATCH).map(Value::as_str) {
        None => {}
        Some(Some("replace")) => {
            patch.remove(PATCH);
            *object = patch;
            return Ok(());
        }
        Some(Some("delete")) => {
            object.clear();
            return Ok(());
        }
        Some(_) => return Err(unknown_directive(&Value::Object(patch))),
    }
    if let Some(retained) = patch.remove(RETAIN_KEYS) {
        retain_keys(object, &patch, &retained)?;
    }
    let ordered: Vec<String> =
        patch.keys().filter(|key| key.starts_with(SET_ELEMENT_ORDER)).cloned().collect();
    for directive in ordered {
        let order = patch.remove(&directive).unwrap_or_default();
        merge_ordered(known, object, &mut patch, &directive[SET_ELEMENT_ORDER.len()..], &order)?;
    }
    for (key, value) in patch {
        match key.strip_prefix(DELETE_FROM_LIST) {
            Some(key) => {
                if let (Some(Value::Array(list)), Value::Array(removed)) = (object.get_mut(key), value) {
                    let removed = Places::of(&removed, None);
                    list.retain(|element| removed.find(element).is_none());
                }
            }
            None => merge_field(known, object, key, value)?,
        }
    }
    Ok(())
}

fn merge_field(
    known: Known,
    object: &mut Map<String, Value>,
    key: String,
    patch: Value,
) -> Result<(), PatchError> {
    let below = known.below(&key);
    let merged = match (object.remove(&key), patch) {
        (_, Value::Null) => return Ok(()),
        (Some(Value::Object(mut current)), Value::Object(patch)) if !known.has_strategy(&key, "replace") => {
            merge(below, &mut current, patch)?;
            Value::Object(current)
        }
        (Some(Value::Array(current)), Value::Array(patch)) if known.has_strategy(&key, "merge") => {
            Value::Array(merge_list(known.elements(&key), known.merge_key(&key), current, patch)?)
        }
        (_, patch) => match without_directives(patch) {
            Some(value) => value,
            None => return Ok(()),
        },
    };
    object.insert(key, merged);
    Ok(())
}

/// Merges a list whose order the patch gives.
fn merge_ordered(
    known: Known,
    object: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    key: &str,
    order: &Value,
) -> Result<(), PatchError> {
    let Some(order) = order.as_array() else { return Err(not_a_list(order)) };
    let merge_key = known.merge_key(key);
    let list = |value: Option<Value>| match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(list)) => Ok(Some(list)),
        Some(other) => Err(not_a_list(&other)),
    };
    let (current, patched) = (list(object.get(key).cloned())?, list(patch.remove(key))?);
    if let Some(patched) = &patched {
        order::check(patched, order, merge_key)?;
    }
    let before = current.clone().unwrap_or_default();
    let merged = match (current, patched) {
        (None, None) => return Ok(()),
        (Some(current), None) => current,
        (None, Some(patched)) => patched.into_iter().filter_map(without_directives).collect(),
        (Some(current), Some(patched)) => merge_list(known.elements(key), merge_key, current, patched)?,
    };
    object.insert(key.to_owned(), Value::Array(order::arrange(merged, order, &before, merge_key)));
    Ok(())
}

/// Merges two lists: of objects by their key, of anything else by their values.
fn merge_list(
    known: Known,
    merge_key: Option<&str>,
    current: Vec<Value>,
    patch: Vec<Value>,
) -> Result<Vec<Value>, PatchError> {
    let Some(merge_key) = merge_key else {
        let mut merged = Vec::with_capacity(current.len() + patch.len());
        let mut places = Places::of(&[], None);
        for element in current.iter().chain(&patch) {
            if places.find(element).is_none() {
                places.insert(element, merged.len());
                merged.push(element.clone());
            }
        }
        return Ok(order::arrange(merged, &patch, &current, None));
    };
    let (mut merged, patch) = obey_element_directives(current, patch, merge_key)?;
    let before = merged.clone();
    let mut places = Places::of(&merged, Some(merge_key));
    for element in &patch {
        element.get(merge_key).ok_or_else(|| no_merge_key(element, merge_key))?;
        let existing = places.find(element).and_then(|place| merged.get_mut(place));
        match (existing, element) {
            (Some(Value::Object(existing)), Value::Object(element)) => {
                merge(known, existing, element.clone())?
            }
            _ => {
                places.insert(element, merged.len());
                merged.push(element.clone());
            }
        }
    }
    Ok(order::arrange(merged, &patch, &before, Some(merge_key)))
}

/// Deletes the elements that a patch wants deleted, and answers what is left of both lists.
fn obey_element_directives(
    mut current: Vec<Value>,
    patch: Vec<Value>,
    merge_key: &str,
) -> Result<(Vec<Value>, Vec<Value>), PatchError> {
    let mut rest = Vec::with_capacity(patch.len());
    let mut deleted = Vec::new();
    let mut replaces = false;
    for element in patch {
        match element.get(PATCH).map(Value::as_str) {
            None => rest.push(element),
            Some(Some("delete")) => {
                element.get(merge_key).ok_or_else(|| no_merge_key(&element, merge_key))?;
                deleted.push(element);
            }
            Some(Some("replace")) => replaces = true,
            Some(Some("merge")) => {
                let message = "merging lists cannot yet be specified in the patch";
                return Err(PatchError::Failed(message.to_owned()));
            }
            Some(_) => return Err(unknown_directive(&element)),
        }
    }
    if !deleted.is_empty() {
        let deleted = Places::of(&deleted, Some(merge_key));
        current.retain(|existing| deleted.find(existing).is_none());
    }
    Ok(if replaces { (rest, Vec::new()) } else { (current, rest) })
}

/// Removes every field that a patch does not retain; what it sets it must retain.
fn retain_keys(
    object: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    retained: &Value,
) -> Result<(), PatchError> {
    let invalid = || PatchError::Invalid("invalid patch format of retainKeys list".to_owned());
    let retained = retained.as_array().ok_or_else(invalid)?;
    let retained: BTreeSet<&str> = retained.iter().filter_map(Value::as_str).collect();
    let is_retained = |key: &str| retained.contains(key);
    let is_directive = |key: &str| key.starts_with(DELETE_FROM_LIST) || key.starts_with(SET_ELEMENT_ORDER);
    if patch.iter().any(|(key, value)| !value.is_null() && !is_directive(key) && !is_retained(key)) {
        return Err(invalid());
    }
    object.retain(|key, _| is_retained(key));
    Ok(())
}

/// A value that merges with nothing: without directives and nulls. `None` when it asks to be deleted.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(mut object) => {
            if object.get(PATCH).is_some_and(|directive| directive == "delete") {
                return None;
            }
            let is_directive = |key: &str| {
                [PATCH, RETAIN_KEYS].contains(&key)
                    || key.starts_with(SET_ELEMENT_ORDER)
                    || key.starts_with(DELETE_FROM_LIST)
            };
            object.retain(|key, value| !is_directive(key) && !value.is_null());
            let kept = object.into_iter().filter_map(|(key, value)| Some((key, without_directives(value)?)));
            Some(Value::Object(kept.collect()))
        }
        Value::Array(elements) => {
            Some(Value::Array(elements.into_iter().filter_map(without_directives).collect()))
        }
        scalar => Some(scalar),
    }
}

fn unknown_directive(patch: &Value) -> PatchError {
    PatchError::Failed(format!("unknown patch type: {} in map: {}", go_value(&patch[PATCH]), go_value(patch)))
}

fn no_merge_key(element: &Value, merge_key: &str) -> PatchError {
    let shown = go_value(element);
    PatchError::Failed(format!("map: {shown} does not contain declared merge key: {merge_key}"))
}

fn not_a_list(value: &Value) -> PatchError {
    PatchError::Failed(format!("expected a []interface {{}}, but received a {}", go_type(value)))
}

/// The type that Go gives a decoded value.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ELEMENT_ORDER: &str = "$setElementOrder/";
const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList/";

#[cfg(test)]
mod laws;

#[cfg(test)]
mod tests;
