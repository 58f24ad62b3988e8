//! JSON patch (RFC 6902) over JSON pointers (RFC 6901).

use serde_json::Value;

use super::PatchError;
use crate::decode;

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
    let mut copied_bytes = 0;
    for operation in operations {
        if operation["op"] == "copy" {
            // Copying a part into itself again and again would double it each time.
            let source = operation["from"].as_str().and_then(|from| find(target, from));
            copied_bytes += source.map_or(0, |source| source.to_string().len());
            if copied_bytes > decode::BODY_LIMIT_BYTES {
                return Err(PatchError::TooLarge);
            }
        }
        step(target, operation).ok_or(PatchError::NotApplicable)?;
    }
    Ok(())
}

/// One operation; `None` when it does not apply.
fn step(target: &mut Value, operation: &Value) -> Option<()> {
    let path = operation["path"].as_str()?;
    match operation["op"].as_str()? {
        "add" => add(target, path, operation.get("value")?.clone()),
        "remove" => take(target, path).map(drop),
        "replace" => {
            let value = operation.get("value")?.clone();
            fits(path, &value)?;
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
    fits(path, &value)?;
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

/// Operations must not nest values deeper, one after the other, than a document may.
fn fits(path: &str, value: &Value) -> Option<()> {
    (path.matches('/').count() + depth(value) <= decode::DEPTH_LIMIT).then_some(())
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(elements) => 1 + elements.iter().map(depth).max().unwrap_or(0),
        Value::Object(entries) => 1 + entries.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
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
    let keys = path.strip_prefix('/').map(|keys| keys.split('/'));
    if keys.is_none() && !path.is_empty() {
        return None;
    }
    keys.into_iter().flatten().try_fold(target, |value, key| match value {
        Value::Object(object) => object.get_mut(&unescape(key)),
        Value::Array(list) => {
            let position = index(key, list.len())?;
            list.get_mut(position)
        }
        _ => None,
    })
}

fn unescape(key: &str) -> String {
    key.replace("~1", "/").replace("~0", "~")
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
    Some(Some((parent, unescape(key))))
}

/// A list position below `limit`, without leading zeros; `-1` is the last one, as Kubernetes has it.
fn index(key: &str, limit: usize) -> Option<usize> {
    if let Some(from_end) = key.strip_prefix('-') {
        return index(from_end, limit + 1).filter(|position| *position > 0).map(|position| limit - position);
    }
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
        check(json!([1, 2]), json!([{"op": "remove", "path": "/-1"}]), Some(json!([1])));
        check(json!([1, 2]), json!([{"op": "remove", "path": "/-3"}]), None);
        check(json!([1, 2]), json!([{"op": "remove", "path": "/-0"}]), None);
        check(json!([1]), json!([{"op": "add", "path": "/-1", "value": 2}]), Some(json!([1, 2])));
        check(json!([[1]]), json!([{"op": "replace", "path": "/-1/0", "value": 2}]), Some(json!([[2]])));
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

    #[test]
    fn patches_cannot_grow_without_bound() {
        let double = json!({"op": "copy", "from": "/a", "path": "/a/-"});
        let mut target = json!({"a": ["0123456789"]});
        assert_eq!(apply(&mut target, &Value::Array(vec![double; 60])), Err(PatchError::TooLarge));

        let nest = |deep: usize| json!({"op": "add", "path": "/a".repeat(deep), "value": {}});
        let mut target = json!({});
        let operations: Vec<Value> = (1..500).map(nest).collect();
        assert_eq!(apply(&mut target, &Value::Array(operations)), Err(PatchError::NotApplicable));
    }
}
