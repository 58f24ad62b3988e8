//! Documents against what a Kubernetes API server said, as far as the kinds exist here. The facts live beside the repository; where
//! they are absent this says so and checks nothing.

use std::{collections::BTreeSet, env, fs, path::PathBuf};

use serde_json::{Map, Value};

use super::{
    super::{component::component, dialect::Dialect},
    Topic, kinds, v3,
};
use crate::schema;

/// Names another folder for the facts.
const FOLDER_VARIABLE: &str = "DUNLIN_KUBERNETES_FACTS";
/// Relative to this crate.
const FOLDER: &str = "../../shared/data/k8s-1.36";

fn facts(file: &str) -> Option<Value> {
    let folder = env::var_os(FOLDER_VARIABLE)
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(FOLDER), PathBuf::from);
    let Ok(text) = fs::read_to_string(folder.join(file)) else {
        eprintln!("skipped: there is no {file} in {}", folder.display());
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

#[test]
fn operations_are_those_of_kubernetes() {
    let Some(facts) = facts("paths.json") else { return };
    let mut compared = 0;
    for topic in Topic::all(&kinds()) {
        let document = v3(&topic);
        for (path, item) in document["paths"].as_object().unwrap() {
            let Some(fact) = facts.get(path) else {
                assert!(path.contains("/metrics.k8s.io"), "{path} is no path of Kubernetes");
                continue;
            };
            for (method, operation) in
                item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters")
            {
                let found = summary(operation, &item["parameters"]);
                assert_eq!(found, fact[method], "{method} {path}");
                compared += 1;
            }
        }
        // What Kubernetes has of the resources that are served here must be there, too.
        for kind in kinds().iter().filter(|kind| topic == Topic::GroupVersion(kind.group, kind.version)) {
            for (path, fact) in
                facts.as_object().unwrap().iter().filter(|(path, _)| is_about(path, &topic, kind.plural))
            {
                let subresource = subresource(path);
                if subresource.is_some_and(|name| !kind.has_subresource(name)) {
                    continue;
                }
                for method in fact.as_object().unwrap().keys() {
                    assert!(document["paths"][path].get(method).is_some(), "{method} {path} is missing");
                }
            }
        }
    }
    assert!(compared > 80, "{compared}");
}

fn is_about(path: &str, topic: &Topic, plural: &str) -> bool {
    let rest = path.strip_prefix('/').and_then(|path| path.strip_prefix(&topic.path())?.strip_prefix('/'));
    rest.is_some_and(|rest| {
        let rest = rest.strip_prefix("watch/").unwrap_or(rest);
        let rest = rest.strip_prefix("namespaces/{namespace}/").unwrap_or(rest);
        rest.split('/').next() == Some(plural)
    })
}

fn subresource(path: &str) -> Option<&str> {
    let (_, rest) = path.split_once("/{name}/")?;
    rest.split('/').next()
}

/// An operation in the form of the facts.
fn summary(operation: &Value, common: &Value) -> Value {
    let lists = [&operation["parameters"], common].into_iter().filter_map(Value::as_array).flatten();
    let query: BTreeSet<&str> =
        lists.filter(|parameter| parameter["in"] == "query").map(|p| p["name"].as_str().unwrap()).collect();
    let keys = |value: &Value| -> BTreeSet<String> {
        value.as_object().into_iter().flat_map(Map::keys).cloned().collect()
    };
    let produces: BTreeSet<String> = operation["responses"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|answer| keys(&answer["content"]))
        .collect();
    let own = &operation["x-kubernetes-group-version-kind"];
    let own = if own.is_null() {
        Value::Null
    } else {
        serde_json::json!([own["group"], own["version"], own["kind"]])
    };
    serde_json::json!({
        "action": operation["x-kubernetes-action"],
        "kind": own,
        "query": query,
        "consumes": keys(&operation["requestBody"]["content"]),
        "produces": produces,
        "codes": keys(&operation["responses"]),
    })
}

#[test]
fn components_are_those_of_kubernetes() {
    let Some(facts) = facts("schema.json") else { return };
    let facts = facts["definitions"].as_object().unwrap();
    for (name, fact) in facts {
        let definition = schema::definition(name).unwrap();
        assert_eq!(reduced(&component(definition, Dialect::V3, None)), expected(fact), "{name}");
    }
    assert!(facts.len() > 500, "{}", facts.len());
}

/// A component in the form of the facts: references by name, no prefix before extensions, elements without defaults.
fn reduced(schema: &Value) -> Value {
    let mut fact = Map::new();
    for (key, value) in schema.as_object().unwrap() {
        match key.as_str() {
            "$ref" => drop(fact.insert("ref".to_owned(), short(value))),
            "allOf" => drop(fact.insert("ref".to_owned(), short(&value[0]["$ref"]))),
            "properties" => {
                let fields =
                    value.as_object().unwrap().iter().map(|(name, field)| (name.clone(), reduced(field)));
                fact.insert(key.clone(), Value::Object(fields.collect()));
            }
            "items" | "additionalProperties" => {
                let mut element = reduced(value);
                element.as_object_mut().unwrap().remove("default");
                fact.insert(key.clone(), element);
            }
            "x-kubernetes-group-version-kind" => {
                let kinds = value.as_array().unwrap().iter();
                let kinds = kinds.map(|own| serde_json::json!([own["group"], own["version"], own["kind"]]));
                fact.insert("gvk".to_owned(), kinds.collect());
            }
            _ => {
                let key = key.strip_prefix("x-kubernetes-").unwrap_or(key);
                fact.insert(key.to_owned(), sorted(key, value));
            }
        }
    }
    fact.into()
}

/// A fact without what OpenAPI does not hold.
fn expected(fact: &Value) -> Value {
    let mut kept = Map::new();
    for (key, value) in fact.as_object().unwrap().iter().filter(|(key, _)| !key.starts_with("pb")) {
        let value = match key.as_str() {
            "properties" => value
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, field)| (name.clone(), expected(field)))
                .collect::<Map<_, _>>()
                .into(),
            "items" | "additionalProperties" => expected(value),
            _ => sorted(key, value),
        };
        kept.insert(key.clone(), value);
    }
    kept.into()
}

/// Lists whose order says nothing.
fn sorted(key: &str, value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(list) = value.as_array_mut().filter(|_| matches!(key, "required" | "enum")) {
        list.sort_by_key(|item| item.as_str().unwrap_or_default().to_owned());
    }
    value
}

fn short(reference: &Value) -> Value {
    reference.as_str().unwrap().rsplit('/').next().unwrap().into()
}
