//! What the RFCs promise of any document and any patch, held against models that are as slow as they are plain.

use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::{BoxedStrategy, Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest},
    sample::select,
};
use serde_json::{Map, Value, json};

use super::{json, merge};

/// Few names, so that patches meet what is there; some that a pointer must escape.
const NAMES: [&str; 5] = ["a", "b", "~", "/", "0"];

fn document() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3).prop_map(Value::from),
        select(vec!["x", "y"]).prop_map(Value::from),
    ];
    let nested = leaf.prop_recursive(3, 12, 4, |inner| {
        let object = btree_map(select(NAMES.to_vec()), inner.clone(), 0..4).prop_map(|entries| {
            entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>().into()
        });
        prop_oneof![vec(inner, 0..4).prop_map(Value::from), object]
    });
    nested.boxed()
}

/// A document without nulls, which no merge patch can write.
fn document_without_nulls() -> BoxedStrategy<Value> {
    document().prop_map(without_nulls).boxed()
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(entries) => {
            let kept = entries.into_iter().filter(|(_, value)| !value.is_null());
            kept.map(|(name, value)| (name, without_nulls(value))).collect::<Map<_, _>>().into()
        }
        Value::Array(elements) => elements.into_iter().map(without_nulls).collect(),
        Value::Null => false.into(),
        other => other,
    }
}

fn token() -> impl Strategy<Value = &'static str> {
    select(vec!["a", "b", "~0", "~1", "0", "1", "2", "-", "-1", "01", "+1", ""])
}

fn pointer() -> BoxedStrategy<String> {
    let pointer = vec(token(), 0..4)
        .prop_map(|tokens| tokens.iter().map(|token| format!("/{token}")).collect::<String>());
    prop_oneof![30 => pointer, 1 => Just("a".to_owned())].boxed()
}

fn operation() -> impl Strategy<Value = Value> {
    let op = select(vec!["add", "remove", "replace", "move", "copy", "test", "no-such"]);
    (op, pointer(), pointer(), option::weighted(0.9, document())).prop_map(|(op, path, from, value)| {
        let mut operation = json!({"op": op, "path": path});
        if matches!(op, "move" | "copy") {
            operation["from"] = from.into();
        }
        if let Some(value) = value {
            operation["value"] = value;
        }
        operation
    })
}

/// RFC 6902 over whole documents: each operation makes a new one. `None` when it does not apply.
fn model(document: &Value, operation: &Value) -> Option<Value> {
    let path = tokens(operation["path"].as_str()?)?;
    let value = operation.get("value");
    match operation["op"].as_str()? {
        "add" => added(document, &path, value?),
        "remove" => removed(document, &path),
        "replace" => replaced(document, &path, value?),
        "copy" => added(document, &path, &at(document, &tokens(operation["from"].as_str()?)?)?),
        "move" => {
            let from = tokens(operation["from"].as_str()?)?;
            if path.len() > from.len() && path.starts_with(&from) {
                return None;
            }
            let value = at(document, &from)?;
            added(&removed(document, &from)?, &path, &value)
        }
        // A missing field of an object that is there is null to Kubernetes' library.
        "test" => {
            let found = match at(document, &path) {
                Some(found) => found,
                None if at(document, path.split_last()?.1)?.is_object() => Value::Null,
                None => return None,
            };
            (found == *value.unwrap_or(&Value::Null)).then(|| document.clone())
        }
        _ => None,
    }
}

fn tokens(pointer: &str) -> Option<Vec<String>> {
    if pointer.is_empty() {
        return Some(Vec::new());
    }
    let unescaped = |token: &str| token.replace("~1", "/").replace("~0", "~");
    Some(pointer.strip_prefix('/')?.split('/').map(unescaped).collect())
}

/// A place in a list of `len` elements, of which as many may be named; negative ones count from the end in Kubernetes.
fn place(token: &str, len: usize) -> Option<usize> {
    let digits = token.strip_prefix('-').unwrap_or(token);
    let is_canonical = digits == "0" || !digits.starts_with('0');
    if digits.is_empty() || !is_canonical || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: usize = digits.parse().ok()?;
    if digits.len() < token.len() {
        len.checked_sub(number).filter(|place| *place < len)
    } else {
        Some(number).filter(|place| *place < len)
    }
}

fn at(document: &Value, path: &[String]) -> Option<Value> {
    let Some((first, rest)) = path.split_first() else { return Some(document.clone()) };
    match document {
        Value::Object(entries) => at(entries.get(first)?, rest),
        Value::Array(elements) => at(&elements[place(first, elements.len())?], rest),
        _ => None,
    }
}

/// Goes down to the last container of a path and changes it there.
fn changed(
    document: &Value,
    path: &[String],
    change: &dyn Fn(&Value, &str) -> Option<Value>,
) -> Option<Value> {
    let (first, rest) = path.split_first()?;
    if rest.is_empty() {
        return change(document, first);
    }
    let mut document = document.clone();
    match &mut document {
        Value::Object(entries) => {
            let below = changed(entries.get(first)?, rest, change)?;
            entries.insert(first.clone(), below);
        }
        Value::Array(elements) => {
            let place = place(first, elements.len())?;
            elements[place] = changed(&elements[place], rest, change)?;
        }
        _ => return None,
    }
    Some(document)
}

fn added(document: &Value, path: &[String], value: &Value) -> Option<Value> {
    if path.is_empty() {
        return Some(value.clone());
    }
    changed(document, path, &|container, token| {
        let mut container = container.clone();
        match &mut container {
            Value::Object(entries) => drop(entries.insert(token.to_owned(), value.clone())),
            Value::Array(elements) if token == "-" => elements.push(value.clone()),
            Value::Array(elements) => {
                let place = place(token, elements.len() + 1)?;
                elements.insert(place, value.clone());
            }
            _ => return None,
        }
        Some(container)
    })
}

fn removed(document: &Value, path: &[String]) -> Option<Value> {
    changed(document, path, &|container, token| {
        let mut container = container.clone();
        match &mut container {
            Value::Object(entries) => drop(entries.remove(token)?),
            Value::Array(elements) => drop(elements.remove(place(token, elements.len())?)),
            _ => return None,
        }
        Some(container)
    })
}

fn replaced(document: &Value, path: &[String], value: &Value) -> Option<Value> {
    if path.is_empty() {
        return Some(value.clone());
    }
    changed(document, path, &|container, token| {
        let mut container = container.clone();
        match &mut container {
            Value::Object(entries) => *entries.get_mut(token)? = value.clone(),
            Value::Array(elements) => {
                let place = place(token, elements.len())?;
                elements[place] = value.clone();
            }
            _ => return None,
        }
        Some(container)
    })
}

/// A JSON patch that makes `new` of `old`.
fn json_diff(old: &Value, new: &Value, path: &str, patch: &mut Vec<Value>) {
    let below = |name: &str| format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for name in old.keys().filter(|name| !new.contains_key(*name)) {
                patch.push(json!({"op": "remove", "path": below(name)}));
            }
            for (name, value) in new {
                match old.get(name) {
                    Some(old) => json_diff(old, value, &below(name), patch),
                    None => patch.push(json!({"op": "add", "path": below(name), "value": value})),
                }
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            for place in (new.len()..old.len()).rev() {
                patch.push(json!({"op": "remove", "path": format!("{path}/{place}")}));
            }
            for (place, value) in new.iter().enumerate() {
                match old.get(place) {
                    Some(old) => json_diff(old, value, &format!("{path}/{place}"), patch),
                    None => patch.push(json!({"op": "add", "path": format!("{path}/-"), "value": value})),
                }
            }
        }
        (old, new) if old == new => {}
        _ => patch.push(json!({"op": "replace", "path": path, "value": new})),
    }
}

/// A merge patch that makes `new` of `old`.
fn merge_diff(old: &Value, new: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return new.clone() };
    let mut patch = Map::new();
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, value) in new.iter().filter(|(name, value)| old.get(*name) != Some(value)) {
        patch.insert(name.clone(), merge_diff(old.get(name).unwrap_or(&Value::Null), value));
    }
    patch.into()
}

fn merged(document: &Value, patch: &Value) -> Value {
    let mut document = document.clone();
    merge(&mut document, patch.clone());
    document
}

proptest! {
    #[test]
    fn a_json_patch_does_what_the_model_does(document in document(), patch in vec(operation(), 1..4)) {
        let expected = patch.iter().try_fold(document.clone(), |document, step| model(&document, step));
        let mut found = document;
        let applied = json::apply(&mut found, &patch.into()).is_ok().then_some(found);
        prop_assert_eq!(applied, expected);
    }

    #[test]
    fn a_json_patch_of_a_difference_makes_the_other(old in document(), new in document()) {
        let mut patch = Vec::new();
        json_diff(&old, &new, "", &mut patch);
        let mut found = old;
        prop_assert!(json::apply(&mut found, &patch.into()).is_ok());
        prop_assert_eq!(found, new);
    }

    #[test]
    fn a_merge_patch_of_a_difference_makes_the_other(
        old in document_without_nulls(),
        new in document_without_nulls(),
    ) {
        prop_assert_eq!(merged(&old, &merge_diff(&old, &new)), new);
    }

    #[test]
    fn a_merge_patch_changes_nothing_the_second_time(document in document(), patch in document()) {
        let once = merged(&document, &patch);
        prop_assert_eq!(merged(&once, &patch), once);
    }

    #[test]
    fn a_merge_patch_leaves_what_it_does_not_name(document in document(), patch in document()) {
        let found = merged(&document, &patch);
        let Value::Object(patch) = patch else {
            prop_assert_eq!(found, patch);
            return Ok(());
        };
        for (name, value) in document.as_object().into_iter().flatten() {
            if !patch.contains_key(name) {
                prop_assert_eq!(&found[name], value);
            }
        }
        for (name, value) in &patch {
            prop_assert_eq!(found.get(name).is_none(), value.is_null());
        }
    }

    #[test]
    fn a_list_within_a_merge_patch_replaces(document in document(), list in vec(document(), 0..3)) {
        let found = merged(&document, &json!({"a": list.clone()}));
        prop_assert_eq!(&found["a"], &Value::from(list));
    }
}
