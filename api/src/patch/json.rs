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
    let mut work = Work(WORK_LIMIT);
    for operation in operations {
        if operation["op"] == "copy" {
            // Copying a part into itself again and again would double it each time.
            let source = operation["from"].as_str().and_then(|from| find(target, from));
            copied_bytes += source.map_or(0, |source| source.to_string().len());
            if copied_bytes > decode::BODY_LIMIT_BYTES {
                return Err(PatchError::TooLarge);
            }
        }
        step(target, operation, &mut work).ok_or(match work {
            Work(0) => PatchError::TooLarge,
            Work(_) => PatchError::NotApplicable,
        })?;
    }
    Ok(())
}

/// What may still be done: elements moved to make or close a gap, values looked at.
struct Work(usize);

impl Work {
    /// `None` when that is too much; nothing is left then.
    fn spend(&mut self, steps: usize) -> Option<()> {
        let left = self.0.checked_sub(steps);
        self.0 = left.unwrap_or(0);
        left.filter(|left| *left > 0).map(drop)
    }
}

/// One operation; `None` when it does not apply.
fn step(target: &mut Value, operation: &Value, work: &mut Work) -> Option<()> {
    let path = operation["path"].as_str()?;
    match operation["op"].as_str()? {
        "add" => add(target, path, operation.get("value")?.clone(), work),
        "remove" => take(target, path, work).map(drop),
        "replace" => {
            let value = operation.get("value")?.clone();
            fits(path, &value, work)?;
            *find(target, path)? = value;
            Some(())
        }
        "move" => {
            let from = operation["from"].as_str()?;
            // A value cannot move into itself.
            if path.strip_prefix(from).is_some_and(|rest| rest.starts_with('/')) {
                return None;
            }
            let value = take(target, from, work)?;
            add(target, path, value, work)
        }
        "copy" => {
            let value = find(target, operation["from"].as_str()?)?.clone();
            add(target, path, value, work)
        }
        "test" => {
            let expected = operation.get("value").unwrap_or(&Value::Null);
            (tested(target, path)? == expected).then_some(())
        }
        _ => None,
    }
}

/// What a test looks at. To Kubernetes a missing field of an object equals null; a missing object does not.
fn tested<'v>(target: &'v mut Value, path: &str) -> Option<&'v Value> {
    let Some((parent, key)) = split(path)? else { return Some(target) };
    match find(target, parent)? {
        Value::Object(object) => Some(object.get(&key).unwrap_or(&Value::Null)),
        Value::Array(list) => index(&key, list.len()).and_then(|position| list.get(position)),
        _ => None,
    }
}

fn add(target: &mut Value, path: &str, value: Value, work: &mut Work) -> Option<()> {
    fits(path, &value, work)?;
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
            work.spend(list.len() - position)?;
            list.insert(position, value);
        }
        _ => return None,
    }
    Some(())
}

/// Operations must not nest values deeper, one after the other, than a document may.
fn fits(path: &str, value: &Value, work: &mut Work) -> Option<()> {
    (path.matches('/').count() + depth(value, work)? <= decode::DEPTH_LIMIT).then_some(())
}

fn depth(value: &Value, work: &mut Work) -> Option<usize> {
    work.spend(1)?;
    let mut deepest = |value| depth(value, work);
    match value {
        Value::Array(elements) => {
            elements.iter().try_fold(1, |most, element| Some(most.max(1 + deepest(element)?)))
        }
        Value::Object(entries) => {
            entries.values().try_fold(1, |most, entry| Some(most.max(1 + deepest(entry)?)))
        }
        _ => Some(0),
    }
}

fn take(target: &mut Value, path: &str, work: &mut Work) -> Option<Value> {
    let (parent, key) = split(path)??;
    match find(target, parent)? {
        Value::Object(object) => object.remove(&key),
        Value::Array(list) => {
            let position = index(&key, list.len())?;
            work.spend(list.len() - position)?;
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

/// A fraction of a second: many times what patches of real objects need, and far less than ten thousand operations on a list of a
/// million elements would take.
const WORK_LIMIT: usize = 1 << 26;

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

        let shift = json!({"op": "add", "path": "/a/0", "value": 0});
        let mut target = json!({"a": vec![0; 100_000]});
        assert_eq!(apply(&mut target, &Value::Array(vec![shift; 10_000])), Err(PatchError::TooLarge));

        let nest = |deep: usize| json!({"op": "add", "path": "/a".repeat(deep), "value": {}});
        let mut target = json!({});
        let operations: Vec<Value> = (1..500).map(nest).collect();
        assert_eq!(apply(&mut target, &Value::Array(operations)), Err(PatchError::NotApplicable));
    }
}
