//! Strategic merge patch: lists of objects merge by key where the schema says so, with `$patch`, `$deleteFromPrimitiveList`,
//! `$setElementOrder` and `$retainKeys` directives.

use serde_json::{Map, Value};

use super::PatchError;
use crate::schema::{Definition, Encoding, Field, Shape, Type};

/// Merges `patch` into `target`, an object of this definition.
pub(super) fn apply(
    definition: &'static Definition,
    target: &mut Value,
    patch: Value,
) -> Result<(), PatchError> {
    merge_object(Known::Struct(definition), target, patch)
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
            Self::Struct(definition) => {
                definition.field(key).map_or(Self::Nothing, |field| Self::of(field.ty))
            }
            Self::Map(value) => Self::of(value),
            Self::Nothing => Self::Nothing,
        }
    }
}

fn merge_object(known: Known, target: &mut Value, patch: Value) -> Result<(), PatchError> {
    let Value::Object(mut patch) = patch else {
        *target = patch;
        return Ok(());
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(object) = target else { return Ok(()) };
    match patch.remove(PATCH).as_ref().map(Value::as_str) {
        None | Some(Some("merge")) => {}
        Some(Some("replace")) => {
            *object = without_directives(patch);
            return Ok(());
        }
        Some(Some("delete")) => {
            object.clear();
            return Ok(());
        }
        Some(_) => return Err(PatchError::Invalid("unknown patch strategy found in patch".to_owned())),
    }
    if let Some(retained) = patch.remove(RETAIN_KEYS) {
        let retained = strings(&retained);
        object.retain(|key, _| retained.contains(&key.as_str()));
    }
    let mut orders = Map::new();
    let mut removals = Map::new();
    for (key, value) in patch {
        if let Some(field) = key.strip_prefix(SET_ELEMENT_ORDER) {
            orders.insert(field.to_owned(), value);
        } else if let Some(field) = key.strip_prefix(DELETE_FROM_LIST) {
            removals.insert(field.to_owned(), value);
        } else {
            merge_field(known, object, &key, value)?;
        }
    }
    for (key, removed) in removals {
        if let (Some(Value::Array(list)), Value::Array(removed)) = (object.get_mut(&key), removed) {
            list.retain(|element| !removed.contains(element));
        }
    }
    for (key, order) in orders {
        if let (Some(field), Some(Value::Array(list)), Value::Array(order)) =
            (known.field(&key), object.get_mut(&key), order)
        {
            reorder(list, &order, field.patch_merge_key());
        }
    }
    Ok(())
}

fn merge_field(
    known: Known,
    object: &mut Map<String, Value>,
    key: &str,
    value: Value,
) -> Result<(), PatchError> {
    if value.is_null() {
        object.remove(key);
        return Ok(());
    }
    let field = known.field(key);
    let merges =
        field.and_then(Field::patch_strategy).is_some_and(|all| all.split(',').any(|one| one == "merge"));
    match value {
        Value::Object(_) => {
            let slot = object.entry(key).or_insert(Value::Null);
            merge_object(known.below(key), slot, value)
        }
        Value::Array(elements) if merges => {
            let slot = object.entry(key).or_insert_with(|| Value::Array(Vec::new()));
            if !slot.is_array() {
                *slot = Value::Array(Vec::new());
            }
            let Value::Array(list) = slot else { return Ok(()) };
            let element = field.map_or(Known::Nothing, |field| match field.ty.shape() {
                Shape::List(element) => Known::of(element),
                _ => Known::Nothing,
            });
            match field.and_then(Field::patch_merge_key) {
                Some(merge_key) => merge_list(element, list, elements, merge_key),
                None => {
                    for element in elements {
                        if !list.contains(&element) {
                            list.push(element);
                        }
                    }
                    Ok(())
                }
            }
        }
        Value::Array(elements) => {
            let plain = elements.into_iter().map(|element| match element {
                Value::Object(element) => Value::Object(without_directives(element)),
                other => other,
            });
            object.insert(key.to_owned(), Value::Array(plain.collect()));
            Ok(())
        }
        scalar => {
            object.insert(key.to_owned(), scalar);
            Ok(())
        }
    }
}

/// Merges patch elements into those with the same key; new ones go to the end in the patch's order.
fn merge_list(
    known: Known,
    list: &mut Vec<Value>,
    patch: Vec<Value>,
    merge_key: &str,
) -> Result<(), PatchError> {
    if patch.iter().any(|element| element[PATCH] == "replace") {
        let kept = patch.into_iter().filter(|element| element[PATCH] != "replace");
        *list = kept.collect();
        return Ok(());
    }
    for element in patch {
        let Some(key) = element.get(merge_key).cloned() else {
            let message = format!("map: {element} does not contain declared merge key: {merge_key}");
            return Err(PatchError::Invalid(message));
        };
        if element[PATCH] == "delete" {
            list.retain(|existing| existing[merge_key] != key);
            continue;
        }
        match list.iter_mut().find(|existing| existing[merge_key] == key) {
            Some(existing) => merge_object(known, existing, element)?,
            None => {
                let mut fresh = Value::Object(Map::new());
                merge_object(known, &mut fresh, element)?;
                list.push(fresh);
            }
        }
    }
    Ok(())
}

/// Orders a list as the directive lists it; elements that it does not list keep their places after their predecessor.
fn reorder(list: &mut Vec<Value>, order: &[Value], merge_key: Option<&str>) {
    let key_of = |element: &Value| merge_key.map_or_else(|| element.clone(), |key| element[key].clone());
    let order: Vec<Value> = order.iter().map(key_of).collect();
    let (mut listed, mut others): (Vec<_>, Vec<_>) = std::mem::take(list)
        .into_iter()
        .enumerate()
        .partition(|(_, element)| order.contains(&key_of(element)));
    listed.sort_by_key(|(_, element)| order.iter().position(|key| *key == key_of(element)));
    others.reverse();
    // Merge both by where they stood, so that what a client did not know of stays near where it was.
    for (place, element) in listed {
        while others.last().is_some_and(|(other, _)| *other < place) {
            list.extend(others.pop().map(|(_, other)| other));
        }
        list.push(element);
    }
    list.extend(others.into_iter().rev().map(|(_, other)| other));
}

fn without_directives(object: Map<String, Value>) -> Map<String, Value> {
    let is_directive = |key: &str| {
        [PATCH, RETAIN_KEYS].contains(&key)
            || key.starts_with(SET_ELEMENT_ORDER)
            || key.starts_with(DELETE_FROM_LIST)
    };
    object.into_iter().filter(|(key, value)| !is_directive(key) && !value.is_null()).collect()
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ELEMENT_ORDER: &str = "$setElementOrder/";
const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList/";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema;

    fn check(spec: Value, patch: Value, expected: Value) {
        let mut pod = json!({"spec": spec});
        apply(schema::definition("io.k8s.api.core.v1.Pod").unwrap(), &mut pod, json!({"spec": patch}))
            .unwrap();
        assert_eq!(pod["spec"], expected);
    }

    #[test]
    fn lists_merge_by_key() {
        let two = json!({"containers": [{"name": "a", "image": "1", "args": ["x"]}, {"name": "b"}]});
        check(
            two.clone(),
            json!({"containers": [{"name": "a", "image": "2", "args": ["y"]}, {"name": "c"}]}),
            json!({"containers": [{"name": "a", "image": "2", "args": ["y"]}, {"name": "b"}, {"name": "c"}]}),
        );
        check(
            two.clone(),
            json!({"containers": [{"name": "a", "$patch": "delete"}]}),
            json!({"containers": [{"name": "b"}]}),
        );
        check(
            two.clone(),
            json!({"containers": [{"$patch": "replace"}, {"name": "z"}]}),
            json!({"containers": [{"name": "z"}]}),
        );
        check(
            two,
            json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": [{"name": "b", "image": "3"}]}),
            json!({"containers": [{"name": "b", "image": "3"}, {"name": "a", "image": "1", "args": ["x"]}]}),
        );
    }

    #[test]
    fn objects_follow_directives() {
        check(
            json!({"nodeSelector": {"a": "1", "b": "2"}}),
            json!({"nodeSelector": {"$patch": "replace", "c": "3"}}),
            json!({"nodeSelector": {"c": "3"}}),
        );
        check(json!({"nodeSelector": {"a": "1"}}), json!({"nodeSelector": null}), json!({}));
        check(
            json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
            json!({"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}),
            json!({"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}),
        );
    }
}
