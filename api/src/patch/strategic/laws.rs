//! What a strategic merge patch promises of any two states of a Deployment: the patch of their difference makes one of the other,
//! whatever else lies beside, and does nothing the second time.

use proptest::{
    collection::vec,
    option,
    prelude::{BoxedStrategy, Strategy, prop_assert_eq, proptest},
    sample::{select, subsequence},
};
use serde_json::{Map, Value, json};

use super::*;
use crate::kind;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Some of the names in any order.
fn names() -> BoxedStrategy<Vec<&'static str>> {
    subsequence(NAMES.to_vec(), 0..=NAMES.len()).prop_shuffle().boxed()
}

/// A list of objects that have a name each, and more.
fn list(more: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Value> {
    let more = more.boxed();
    let with_more = move |names: Vec<&'static str>| {
        vec(more.clone(), names.len()).prop_map(move |more| {
            let named = names.iter().zip(more).map(|(name, mut more)| {
                more["name"] = (*name).into();
                more
            });
            named.collect::<Value>()
        })
    };
    names().prop_flat_map(with_more).boxed()
}

fn map() -> BoxedStrategy<Value> {
    names()
        .prop_flat_map(|names| {
            vec(select(vec!["x", "y"]), names.len())
                .prop_map(move |values| names.iter().copied().zip(values).collect::<Value>())
        })
        .boxed()
}

fn deployment() -> impl Strategy<Value = Value> {
    let env = list(select(vec!["x", "y"]).prop_map(|value| json!({"value": value})));
    let args = vec(select(vec!["-v", "-q"]), 0..3);
    let container =
        (option::of(env), option::of(args), select(vec!["one", "two"])).prop_map(|(env, args, image)| {
            let mut container = json!({"image": image});
            set(&mut container, "env", env);
            set(&mut container, "args", args.map(Value::from));
            container
        });
    let finalizers = names().prop_map(|names| json!(names));
    (option::of(map()), option::of(finalizers), option::of(list(container)), option::of(0..3_i64)).prop_map(
        |(labels, finalizers, containers, replicas)| {
            let mut object = json!({"metadata": {"name": "d"}, "spec": {"template": {"spec": {}}}});
            set(&mut object["metadata"], "labels", labels);
            set(&mut object["metadata"], "finalizers", finalizers);
            set(&mut object["spec"], "replicas", replicas.map(Value::from));
            set(&mut object["spec"]["template"]["spec"], "containers", containers);
            object
        },
    )
}

fn set(object: &mut Value, field: &str, value: Option<Value>) {
    if let Some(value) = value {
        object[field] = value;
    }
}

/// How a field of the objects here merges.
fn list_of(field: &str) -> Option<Option<&'static str>> {
    match field {
        "containers" | "env" => Some(Some("name")),
        "finalizers" => Some(None),
        _ => None,
    }
}

/// The patch that kubectl would send: what changed, what is gone, and the order of lists.
fn difference(old: &Value, new: &Value) -> Value {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return new.clone() };
    let mut patch = Map::new();
    for field in old.keys().filter(|field| !new.contains_key(*field)) {
        patch.insert(field.clone(), Value::Null);
    }
    for (field, value) in new.iter().filter(|(field, value)| old.get(*field) != Some(value)) {
        match (old.get(field), list_of(field)) {
            (Some(Value::Array(before)), Some(key)) => lists(&mut patch, field, key, before, value),
            (before, _) => {
                patch.insert(field.clone(), difference(before.unwrap_or(&Value::Null), value));
            }
        }
    }
    patch.into()
}

fn lists(patch: &mut Map<String, Value>, field: &str, key: Option<&str>, before: &[Value], after: &Value) {
    let after = after.as_array().map_or(&[][..], Vec::as_slice);
    let same = |one: &Value, other: &Value| key.map_or(one == other, |key| one[key] == other[key]);
    let gone = before.iter().filter(|old| !after.iter().any(|new| same(old, new)));
    let mut changed = Vec::new();
    for new in after {
        match before.iter().find(|old| same(old, new)) {
            Some(old) if old == new => {}
            Some(old) => {
                let mut part = difference(old, new);
                part["name"] = new["name"].clone();
                changed.push(part);
            }
            None => changed.push(new.clone()),
        }
    }
    let order: Vec<Value> = match key {
        Some(key) => after.iter().map(|new| json!({key: new[key].clone()})).collect(),
        None => after.to_vec(),
    };
    match key {
        Some(key) => {
            changed.extend(gone.map(|old| json!({"$patch": "delete", key: old[key].clone()})));
        }
        None => {
            let gone: Vec<Value> = gone.cloned().collect();
            if !gone.is_empty() {
                patch.insert(format!("$deleteFromPrimitiveList/{field}"), gone.into());
            }
        }
    }
    if !changed.is_empty() {
        patch.insert(field.to_owned(), changed.into());
    }
    patch.insert(format!("$setElementOrder/{field}"), order.into());
}

fn patched(object: &Value, patch: &Value) -> Value {
    let definition = kind::by_kind("apps/v1", "Deployment").unwrap().definition();
    let mut object = object.clone();
    apply(definition, &mut object, patch.clone()).unwrap();
    object
}

fn containers(object: &Value) -> &[Value] {
    object["spec"]["template"]["spec"]["containers"].as_array().map_or(&[], Vec::as_slice)
}

proptest! {
    #[test]
    fn the_patch_of_a_difference_makes_the_other(old in deployment(), new in deployment()) {
        let patch = difference(&old, &new);
        let found = patched(&old, &patch);
        prop_assert_eq!(&found, &new, "{}", patch);
        prop_assert_eq!(patched(&found, &patch), new, "a second time");
    }

    /// What somebody else put beside stays as it is, and what the patch is about comes out as without it.
    #[test]
    fn what_others_added_stays(old in deployment(), new in deployment(), first in proptest::bool::ANY) {
        let patch = difference(&old, &new);
        let mut live = old.clone();
        let others = json!({"name": "sidecar", "image": "theirs", "env": [{"name": "z", "value": "z"}]});
        live["metadata"]["annotations"] = json!({"theirs": "kept"});
        let list = &mut live["spec"]["template"]["spec"]["containers"];
        let had_list = list.is_array();
        match list.as_array_mut() {
            Some(list) if first => list.insert(0, others.clone()),
            Some(list) => list.push(others.clone()),
            None => {}
        }
        let found = patched(&live, &patch);
        prop_assert_eq!(&found["metadata"]["annotations"], &json!({"theirs": "kept"}));
        let is_theirs = |container: &&Value| container["name"] == "sidecar";
        let kept: Vec<&Value> = containers(&found).iter().filter(is_theirs).collect();
        // A list that is taken away goes with all that is in it.
        let stays = had_list && new["spec"]["template"]["spec"].get("containers").is_some();
        prop_assert_eq!(kept, if stays { vec![&others] } else { vec![] });
        let ours: Vec<&Value> = containers(&found).iter().filter(|one| !is_theirs(one)).collect();
        prop_assert_eq!(ours, containers(&new).iter().collect::<Vec<_>>(), "{}", patch);
    }

    /// A part that says so replaces what is there.
    #[test]
    fn a_replacing_part_is_all_there_is(old in deployment(), new in deployment()) {
        let mut patch = new.clone();
        patch["$patch"] = "replace".into();
        prop_assert_eq!(patched(&old, &patch), new);
    }

    /// Lists without a strategy and scalars are taken as they come, and nothing else changes.
    #[test]
    fn a_part_changes_only_what_it_names(old in deployment(), replicas in 0..9_i64, labels in map()) {
        let patch = json!({"metadata": {"labels": labels}, "spec": {"replicas": replicas}});
        let found = patched(&old, &patch);
        let mut expected = old;
        for (name, value) in labels.as_object().unwrap() {
            expected["metadata"]["labels"][name] = value.clone();
        }
        if expected["metadata"]["labels"].is_null() {
            expected["metadata"]["labels"] = json!({});
        }
        expected["spec"]["replicas"] = replicas.into();
        prop_assert_eq!(found, expected);
    }

    /// Only what a part retains is left of an object.
    #[test]
    fn what_is_not_retained_goes(old in map(), new in map()) {
        let strategy = |fields: &Value| json!({"spec": {"strategy": fields}});
        let mut patch = new.clone();
        patch["$retainKeys"] = new.as_object().unwrap().keys().cloned().collect();
        prop_assert_eq!(patched(&strategy(&old), &strategy(&patch)), strategy(&new));
    }
}
