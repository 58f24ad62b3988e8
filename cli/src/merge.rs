//! `apply`: what was applied before, what is wanted now, and what is there, merged as Kubernetes merges them. Lists whose
//! elements have a merge key in the schema are merged by element; other lists are one value.

use dunlin_api::schema::{self, Definition, Field, Shape, Type};
use serde_json::{Map, Value};

/// The object as it should become: `wanted` over `current`, without what only `applied` had.
pub(crate) fn three_way(schema: &str, applied: &Value, wanted: &Value, current: &Value) -> Value {
    merge(Place::of(schema), applied, wanted, current)
}

/// The JSON merge patch that turns `from` into `to`; an empty map when they are equal.
pub(crate) fn patch(from: &Value, to: &Value) -> Value {
    let (Some(from), Some(to)) = (from.as_object(), to.as_object()) else { return to.clone() };
    let mut patch = Map::new();
    for (key, value) in to {
        match from.get(key) {
            Some(present) if present == value => {}
            Some(present) if present.is_object() && value.is_object() => {
                patch.insert(key.clone(), self::patch(present, value));
            }
            // A null in a patch deletes, so that there is no way to write one; nor does Kubernetes keep any.
            None if value.is_null() => {}
            _ => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    for key in from.keys().filter(|key| !to.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    Value::Object(patch)
}

/// Where in the schema a value stands.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// An object with known fields.
    Struct(&'static Definition),
    /// A map or list whose values have this type; the field tells how a list merges.
    Of(Type, Option<&'static Field>),
    /// Nothing is known.
    Unknown,
}

impl Place {
    fn of(schema: &str) -> Self {
        schema::definition(schema).map_or(Self::Unknown, Self::Struct)
    }

    fn below(self, key: &str) -> Self {
        match self {
            Self::Struct(definition) => {
                definition.field(key).map_or(Self::Unknown, |field| Self::typed(field.ty, Some(field)))
            }
            Self::Of(ty, _) => Self::typed(ty, None),
            Self::Unknown => Self::Unknown,
        }
    }

    fn typed(ty: Type, field: Option<&'static Field>) -> Self {
        match ty.shape() {
            Shape::Named(definition) => Self::Struct(definition),
            Shape::List(element) | Shape::Map(element) => Self::Of(element, field),
            _ => Self::Unknown,
        }
    }

    /// How lists merge here: by this key, or `None` when they are one value.
    fn list(self) -> Option<ListMerge> {
        let Self::Of(_, Some(field)) = self else { return None };
        let merges =
            field.patch_strategy().is_some_and(|strategy| strategy.split(',').any(|word| word == "merge"));
        match field.patch_merge_key() {
            _ if !merges => None,
            Some(key) => Some(ListMerge::ByKey(key)),
            None => Some(ListMerge::Set),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum ListMerge {
    ByKey(&'static str),
    Set,
}

fn merge(place: Place, applied: &Value, wanted: &Value, current: &Value) -> Value {
    match (wanted, current) {
        (Value::Object(wanted), Value::Object(current)) => {
            Value::Object(merge_maps(place, applied, wanted, current))
        }
        (Value::Array(wanted), Value::Array(current)) => {
            let applied = applied.as_array().map(Vec::as_slice).unwrap_or_default();
            match place.list() {
                Some(how) => Value::Array(merge_lists(place, how, applied, wanted, current)),
                None => Value::Array(wanted.clone()),
            }
        }
        _ => wanted.clone(),
    }
}

fn merge_maps(
    place: Place,
    applied: &Value,
    wanted: &Map<String, Value>,
    current: &Map<String, Value>,
) -> Map<String, Value> {
    let mut merged = Map::new();
    for (key, present) in current {
        match wanted.get(key) {
            // Writing null asks for the field's removal.
            Some(Value::Null) => {}
            Some(value) => {
                merged.insert(key.clone(), merge(place.below(key), &applied[key.as_str()], value, present));
            }
            // What was applied once and is gone now is deleted; what others set stays.
            None if applied.get(key).is_some() => {}
            None => {
                merged.insert(key.clone(), present.clone());
            }
        }
    }
    for (key, value) in wanted.iter().filter(|(key, value)| !current.contains_key(*key) && !value.is_null()) {
        merged.insert(key.clone(), value.clone());
    }
    merged
}

/// The wanted elements in their order, each over the one that is there, then what others added.
fn merge_lists(
    place: Place,
    how: ListMerge,
    applied: &[Value],
    wanted: &[Value],
    current: &[Value],
) -> Vec<Value> {
    let find = |list: &[Value], element: &Value| list.iter().find(|other| how.same(other, element)).cloned();
    let element_place = place.below("");
    let mut merged: Vec<Value> = Vec::with_capacity(wanted.len());
    for element in wanted {
        let value = match find(current, element) {
            Some(present) => {
                let before = find(applied, element).unwrap_or_default();
                merge(element_place, &before, element, &present)
            }
            None => element.clone(),
        };
        merged.push(value);
    }
    let others =
        current.iter().filter(|element| find(wanted, element).is_none() && find(applied, element).is_none());
    merged.extend(others.cloned());
    merged
}

impl ListMerge {
    fn same(self, a: &Value, b: &Value) -> bool {
        match self {
            Self::ByKey(key) => a[key] == b[key] && !a[key].is_null(),
            Self::Set => a == b,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{patch, three_way};

    const POD: &str = "io.k8s.api.core.v1.Pod";

    fn merged(applied: &Value, wanted: &Value, current: &Value) -> Value {
        three_way(POD, applied, wanted, current)
    }

    #[test]
    fn maps() {
        let check = |applied: Value, wanted: Value, current: Value, expected: Value| {
            assert_eq!(merged(&applied, &wanted, &current), expected);
        };
        let labels = |labels: Value| json!({"metadata": {"labels": labels}});
        check(
            labels(json!({})),
            labels(json!({"a": "1"})),
            labels(json!({"b": "2"})),
            labels(json!({"a": "1", "b": "2"})),
        );
        check(
            labels(json!({"b": "2"})),
            labels(json!({"a": "1"})),
            labels(json!({"b": "2"})),
            labels(json!({"a": "1"})),
        );
        check(Value::Null, labels(json!({"a": null})), labels(json!({"a": "1"})), labels(json!({})));
        check(Value::Null, json!({"x": [1]}), json!({"x": [2, 3]}), json!({"x": [1]}));
    }

    #[test]
    fn keyed_lists_keep_what_the_server_filled_in() {
        let containers = |containers: Value| json!({"spec": {"containers": containers}});
        let current = containers(json!([
            {"name": "a", "image": "x", "imagePullPolicy": "Always", "args": ["1", "2"]},
            {"name": "injected", "image": "y"},
            {"name": "dropped", "image": "z"},
        ]));
        let applied = containers(json!([{"name": "a", "image": "x"}, {"name": "dropped", "image": "z"}]));
        let wanted =
            containers(json!([{"name": "a", "image": "x2", "args": ["3"]}, {"name": "new", "image": "n"}]));
        assert_eq!(
            merged(&applied, &wanted, &current),
            containers(json!([
                {"name": "a", "image": "x2", "imagePullPolicy": "Always", "args": ["3"]},
                {"name": "new", "image": "n"},
                {"name": "injected", "image": "y"},
            ]))
        );
        assert_eq!(merged(&applied, &applied, &current), current_without_order(&current));
    }

    /// Elements of others move behind the applied ones.
    fn current_without_order(current: &Value) -> Value {
        let mut current = current.clone();
        current["spec"]["containers"].as_array_mut().unwrap().swap(1, 2);
        current
    }

    #[test]
    fn patches() {
        let check = |from: Value, to: Value, expected: Value| assert_eq!(patch(&from, &to), expected);
        check(json!({"a": 1}), json!({"a": 1}), json!({}));
        check(json!({"a": 1, "b": 2}), json!({"a": 3}), json!({"a": 3, "b": null}));
        check(json!({"a": {"b": 1, "c": 2}}), json!({"a": {"b": 1}}), json!({"a": {"c": null}}));
        check(json!({"a": [1]}), json!({"a": [1, 2]}), json!({"a": [1, 2]}));
    }
}
