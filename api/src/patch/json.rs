//! JSON patch (RFC 6902) over JSON pointers (RFC 6901).

use serde_json::Value;

use super::PatchError;

/// Applies every operation in order; the target is as before only when the caller kept a copy.
pub(super) fn apply(target: &mut Value, patch: &Value) -> Result<(), PatchError> {
    let Some(operations) = patch.as_array() else {
        let found = if patch.is_object() { "object" } else { "value" };
        let message = format!("json: cannot unmarshal {found} into Go value of type []handlers.jsonPatchOp");
        return Err(PatchError::Unreadable(message));
    };
    if operations.len() > OPERATIONS_LIMIT {
        return Err(PatchError::TooLarge);
    }
    operations.iter().try_for_each(|operation| step(target, operation).ok_or(PatchError::NotApplicable))
}

/// One operation; `None` when it does not apply.
fn step(target: &mut Value, operation: &Value) -> Option<()> {
    let path = operation["path"].as_str()?;
    match operation["op"].as_str()? {
        "add" => add(target, path, operation.get("value")?.clone()),
        "remove" => take(target, path).map(drop),
        "replace" => {
            let value = operation.get("value")?.clone();
            *find(target, path)? = value;
            Some(())
        }
        "move" => {
            let from = operation["from"].as_str()?;
            // A value cannot move into itself.
            if path.strip_prefix(from).is_some_and(|rest| rest.starts_with('/')) {
                return None;
            }
            let value = take(target, from)?;
            add(target, path, value)
        }
        "copy" => {
            let value = find(target, operation["from"].as_str()?)?.clone();
            add(target, path, value)
        }
        "test" => {
            let expected = operation.get("value").unwrap_or(&Value::Null);
            // A missing field equals null.
            let found = find(target, path).map_or(Value::Null, |found| found.clone());
            (found == *expected).then_some(())
        }
        _ => None,
    }
}

fn add(target: &mut Value, path: &str, value: Value) -> Option<()> {
    let Some((parent, key)) = split(path)? else {
        *target = value;
        return Some(());
    };
    match find(target, parent)? {
        Value::Object(object) => {
            object.insert(key, value);
        }
        Value::Array(list) if key == "-" => list.push(value),
        Value::Array(list) => {
            let position = index(&key, list.len() + 1)?;
            list.insert(position, value);
        }
        _ => return None,
    }
    Some(())
}

fn take(target: &mut Value, path: &str) -> Option<Value> {
    let (parent, key) = split(path)??;
    match find(target, parent)? {
        Value::Object(object) => object.remove(&key),
        Value::Array(list) => {
            let position = index(&key, list.len())?;
            Some(list.remove(position))
        }
        _ => None,
    }
}

fn find<'v>(target: &'v mut Value, path: &str) -> Option<&'v mut Value> {
    if path.is_empty() { Some(target) } else { target.pointer_mut(path) }
}

/// The pointer's parent and last key; `Some(None)` for the whole document.
#[expect(
    clippy::option_option,
    reason = "no pointer, the whole document, and a place in it are three things"
)]
fn split(path: &str) -> Option<Option<(&str, String)>> {
    if path.is_empty() {
        return Some(None);
    }
    let (parent, key) = path.rsplit_once('/')?;
    Some(Some((parent, key.replace("~1", "/").replace("~0", "~"))))
}

/// A list position below `limit`, without leading zeros.
fn index(key: &str, limit: usize) -> Option<usize> {
    if key.len() > 1 && key.starts_with('0') || key.starts_with('+') {
        return None;
    }
    key.parse().ok().filter(|position| *position < limit)
}

/// As Kubernetes: bounds the work that one small patch can cause by copying.
const OPERATIONS_LIMIT: usize = 10_000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(mut target: Value, patch: Value, expected: Option<Value>) {
        let done = apply(&mut target, &patch).is_ok().then_some(target);
        assert_eq!(done, expected, "{patch}");
    }

    #[test]
    fn operations() {
        check(
            json!({"a": 1}),
            json!([{"op": "add", "path": "/b", "value": 2}]),
            Some(json!({"a": 1, "b": 2})),
        );
        check(json!([1, 3]), json!([{"op": "add", "path": "/1", "value": 2}]), Some(json!([1, 2, 3])));
        check(json!([1]), json!([{"op": "add", "path": "/-", "value": 2}]), Some(json!([1, 2])));
        check(json!([1]), json!([{"op": "add", "path": "/2", "value": 2}]), None);
        check(json!([1, 2]), json!([{"op": "remove", "path": "/0"}]), Some(json!([2])));
        check(
            json!({"a/b": {"~": 1}}),
            json!([{"op": "replace", "path": "/a~1b/~0", "value": 2}]),
            Some(json!({"a/b": {"~": 2}})),
        );
        check(json!({"a": 1}), json!([{"op": "replace", "path": "/b", "value": 2}]), None);
        check(json!({"a": 1}), json!([{"op": "move", "from": "/a", "path": "/b"}]), Some(json!({"b": 1})));
        check(json!({"a": {"b": 1}}), json!([{"op": "move", "from": "/a", "path": "/a/b"}]), None);
        check(
            json!({"a": 1}),
            json!([{"op": "copy", "from": "/a", "path": "/b"}]),
            Some(json!({"a": 1, "b": 1})),
        );
        check(json!({"a": 1}), json!([{"op": "test", "path": "/a", "value": 1}]), Some(json!({"a": 1})));
        check(json!({"a": 1}), json!([{"op": "test", "path": "/a", "value": 2}]), None);
        check(json!({"a": 1}), json!([{"op": "foo", "path": "/a"}]), None);
        check(json!({"a": 1}), json!([{"op": "add", "path": "", "value": 5}]), Some(json!(5)));
        check(json!({"a": 1}), json!({}), None);
    }
}
