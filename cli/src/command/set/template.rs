//! The pods of an object, and the smallest strategic patch from what they are to what they should be.

use anyhow::{Result, anyhow};
use serde_json::{Map, Value, json};

use super::Changed;
use crate::{
    command::target::Found,
    document::{at, items, text},
    merge, workload,
};

/// Changes the spec of an object's pods.
///
/// # Errors
/// When it has none, or `edit` fails.
pub(super) fn edit(found: &Found, edit: impl FnOnce(&mut Value) -> Result<()>) -> Result<Changed> {
    let path = path(found)?;
    let mut object = found.object.clone();
    let spec = path.iter().fold(&mut object, |value, key| &mut value[*key]);
    edit(spec)?;
    let patch = patch(at(&found.object, path), at(&object, path));
    let whole = |patch: Value| path.iter().rev().fold(patch, |inner, key| json!({*key: inner}));
    Ok(Changed { patch: patch.map(whole), object })
}

/// The containers of an object's pods, those of their start too, with the kind of list they are in.
pub(super) fn containers_mut(spec: &mut Value) -> impl Iterator<Item = &mut Value> {
    let lists = spec.as_object_mut().into_iter().flatten();
    lists
        .filter(|(field, _)| LISTS.contains(&field.as_str()))
        .filter_map(|(_, list)| list.as_array_mut())
        .flatten()
}

/// Where the pods' spec is.
///
/// # Errors
/// When the object makes no pods.
pub(super) fn path(found: &Found) -> Result<&'static [&'static str]> {
    let kind = found.target.kind;
    workload::pod_spec_path(kind.kind).ok_or_else(|| {
        let (plural, name) = (kind.plural, &found.target.name);
        anyhow!("{plural}/{name} the object is not a pod or does not have a pod template: {}", kind.kind)
    })
}

/// Whether a name is meant by a pattern, in which `*` stands for any letters.
pub(super) fn is_meant(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        match name.find(part) {
            Some(found) => name = &name[found + part.len()..],
            None => return false,
        }
    }
    name.ends_with(end)
}

/// The strategic merge patch from one pod spec to another that differs in fields and in its containers' fields.
fn patch(before: &Value, after: &Value) -> Option<Value> {
    let (Some(before), Some(after)) = (before.as_object(), after.as_object()) else { return None };
    let mut patch = Map::new();
    for (field, value) in after {
        let present = before.get(field).unwrap_or(&Value::Null);
        if present == value {
            continue;
        }
        let change = if LISTS.contains(&field.as_str()) { containers(present, value) } else { value.clone() };
        patch.insert(field.clone(), change);
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

fn containers(before: &Value, after: &Value) -> Value {
    let pairs = items(before, &[]).iter().zip(items(after, &[]));
    let changed = pairs.filter(|(before, after)| before != after);
    changed.map(|(before, after)| container(before, after)).collect()
}

fn container(before: &Value, after: &Value) -> Value {
    let mut patch = json!({"name": after["name"]});
    for (field, value) in after.as_object().into_iter().flatten() {
        let present = &before[field];
        if present == value {
            continue;
        }
        patch[field] = match field.as_str() {
            "env" => variables(present, value),
            _ if present.is_object() => merge::patch(present, value),
            _ => value.clone(),
        };
    }
    patch
}

/// Variables by name: those that are new or different, and those that go.
fn variables(before: &Value, after: &Value) -> Value {
    let (before, after) = (items(before, &[]), items(after, &[]));
    let find = |list: &[Value], name: &Value| list.iter().find(|variable| variable["name"] == *name).cloned();
    let mut patch: Vec<Value> = Vec::new();
    for variable in after {
        match find(before, &variable["name"]) {
            Some(present) if present == *variable => {}
            Some(present) => {
                let mut change = merge::patch(&present, variable);
                change["name"] = variable["name"].clone();
                patch.push(change);
            }
            None => patch.push(variable.clone()),
        }
    }
    let gone = before.iter().filter(|variable| find(after, &variable["name"]).is_none());
    patch.extend(gone.map(|variable| json!({"name": text(variable, &["name"]), "$patch": "delete"})));
    patch.into()
}

/// The lists of containers that a pod has.
const LISTS: [&str; 2] = ["initContainers", "containers"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{is_meant, patch};

    #[test]
    fn patterns() {
        let check =
            |pattern, name, expected| assert_eq!(is_meant(pattern, name), expected, "{pattern} {name}");
        check("*", "web", true);
        check("web", "web", true);
        check("we", "web", false);
        check("w*", "web", true);
        check("*b", "web", true);
        check("w*b", "web", true);
        check("a*b*c", "axxbyyc", true);
        check("a*b*c", "axxcyyb", false);
        check("w*wb", "wb", false);
    }

    #[test]
    fn a_patch_names_only_what_is_different() {
        let before = json!({"nodeName": "n", "containers": [
            {"name": "a", "image": "x", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}, {"name": "C", "valueFrom": {}}]},
            {"name": "b", "image": "y", "resources": {"limits": {"cpu": "1"}}},
        ]});
        let mut after = before.clone();
        assert_eq!(patch(&before, &after), None);
        after["containers"][0]["env"] =
            json!([{"name": "A", "value": "9"}, {"name": "C", "value": "3"}, {"name": "D", "value": "4"}]);
        after["containers"][1]["resources"]["limits"] = json!({"cpu": "2", "memory": "1Mi"});
        after["serviceAccountName"] = json!("s");
        let env = json!([{"name": "A", "value": "9"}, {"name": "C", "value": "3", "valueFrom": null},
            {"name": "D", "value": "4"}, {"name": "B", "$patch": "delete"}]);
        let expected = json!({"serviceAccountName": "s", "containers": [
            {"name": "a", "env": env},
            {"name": "b", "resources": {"limits": {"cpu": "2", "memory": "1Mi"}}},
        ]});
        assert_eq!(patch(&before, &after), Some(expected));
    }
}
