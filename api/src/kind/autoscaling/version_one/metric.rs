//! Metrics as version 1 writes them in annotations.

use serde_json::{Map, Value, json};

use crate::value::{put, remove, set};

/// Names of the goal of each source: for a value, for an average value, for an average share.
const GOALS: [(&str, [&str; 3]); 5] = [
    ("object", ["targetValue", "averageValue", ""]),
    ("external", ["targetValue", "targetAverageValue", ""]),
    ("pods", ["", "targetAverageValue", ""]),
    ("resource", ["", "targetAverageValue", "targetAverageUtilization"]),
    ("containerResource", ["", "targetAverageValue", "targetAverageUtilization"]),
];

/// Names of what is measured.
const MEASURES: [(&str, [&str; 3]); 5] = [
    ("object", ["currentValue", "averageValue", ""]),
    ("external", ["currentValue", "currentAverageValue", ""]),
    ("pods", ["", "currentAverageValue", ""]),
    ("resource", ["", "currentAverageValue", "currentAverageUtilization"]),
    ("containerResource", ["", "currentAverageValue", "currentAverageUtilization"]),
];

/// The same in version 2.
const STORED: [&str; 3] = ["value", "averageValue", "averageUtilization"];

/// Makes a metric of version 1 one of version 2.
pub(super) fn spec_to_stored(metric: &mut Value) {
    convert(metric, &GOALS, |source, names, name| {
        let mut target = taken(source, names);
        let has = |key: &str| !target[key].is_null();
        let kind = match name {
            "resource" | "containerResource" if has("averageUtilization") => "Utilization",
            "object" if has("averageValue") => "AverageValue",
            "external" | "object" if has("value") => "Value",
            _ => "AverageValue",
        };
        set(&mut target, "type", kind);
        identify(source, name);
        set(source, "target", target);
    });
}

/// Makes a measurement of version 1 one of version 2.
pub(super) fn status_to_stored(metric: &mut Value) {
    convert(metric, &MEASURES, |source, names, name| {
        let current = taken(source, names);
        identify(source, name);
        set(source, "current", current);
    });
}

/// The metric of version 1 that stands for one of version 2.
pub(super) fn spec_from_stored(metric: &Value) -> Value {
    flattened(metric, "target", &GOALS)
}

/// The measurement of version 1 that stands for one of version 2.
pub(super) fn status_from_stored(metric: &Value) -> Value {
    flattened(metric, "current", &MEASURES)
}

/// The text of an annotation: fields in the order of their structs.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Array(elements) => format!("[{}]", elements.iter().map(text).collect::<Vec<_>>().join(",")),
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| ORDER.iter().position(|known| known == key));
            let fields = fields.into_iter().map(|(key, value)| {
                // Labels have no order but that of their names.
                let value = if key == "matchLabels" { value.to_string() } else { text(value) };
                format!("{}:{value}", json!(key))
            });
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        scalar => scalar.to_string(),
    }
}

fn convert(metric: &mut Value, all: &[(&str, [&str; 3])], change: fn(&mut Value, &[&str; 3], &str)) {
    for (name, names) in all {
        if metric[*name].is_object() {
            change(&mut metric[*name], names, name);
        }
    }
}

/// Takes the values that have these names out of a source.
fn taken(source: &mut Value, names: &[&str; 3]) -> Value {
    let mut values = Value::Object(Map::new());
    for (stored, name) in STORED.into_iter().zip(names).filter(|(_, name)| !name.is_empty()) {
        let value = remove(source, name).unwrap_or_default();
        put(&mut values, stored, value);
    }
    // Written because it cannot be left out, beside the average that is meant.
    if values["value"] == "0" && !values["averageValue"].is_null() {
        remove(&mut values, "value");
    }
    values
}

/// Gathers what names the metric of a source.
fn identify(source: &mut Value, name: &str) {
    if ["resource", "containerResource"].contains(&name) {
        return;
    }
    let mut metric = Value::Object(Map::new());
    put(&mut metric, "name", remove(source, "metricName").unwrap_or_default());
    let selector = if name == "external" { "metricSelector" } else { "selector" };
    put(&mut metric, "selector", remove(source, selector).unwrap_or_default());
    set(source, "metric", metric);
    if name == "object" {
        let described = remove(source, "target").unwrap_or_default();
        put(source, "describedObject", described);
    }
}

/// A metric of version 2 with what it names and aims at, or found, as fields of its source.
fn flattened(metric: &Value, values: &str, all: &[(&str, [&str; 3])]) -> Value {
    let mut metric = metric.clone();
    for (name, names) in all {
        let source = &mut metric[*name];
        if !source.is_object() {
            remove(&mut metric, name);
            continue;
        }
        let found = remove(source, values).unwrap_or_default();
        if let Some(identifier) = remove(source, "metric") {
            put(source, "metricName", identifier["name"].clone());
            let selector = if *name == "external" { "metricSelector" } else { "selector" };
            put(source, selector, identifier["selector"].clone());
        }
        if let Some(described) = remove(source, "describedObject") {
            set(source, "target", described);
        }
        for (stored, name) in STORED.into_iter().zip(names).filter(|(_, name)| !name.is_empty()) {
            put(source, name, found[stored].clone());
        }
        // Held by value there, and so never absent.
        for (owner, required) in REQUIRED {
            if owner == *name && names.contains(&required) && source[required].is_null() {
                set(source, required, "0");
            }
        }
    }
    metric
}

/// Amounts that version 1 always writes.
const REQUIRED: [(&str, &str); 7] = [
    ("object", "targetValue"),
    ("object", "currentValue"),
    ("external", "currentValue"),
    ("pods", "targetAverageValue"),
    ("pods", "currentAverageValue"),
    ("resource", "currentAverageValue"),
    ("containerResource", "currentAverageValue"),
];

/// Every field that an annotation may hold, in an order that suits all of their structs.
const ORDER: [&str; 30] = [
    "type",
    "status",
    "lastTransitionTime",
    "reason",
    "message",
    "object",
    "pods",
    "resource",
    "containerResource",
    "external",
    "target",
    "kind",
    "name",
    "apiVersion",
    "metricName",
    "metricSelector",
    "targetValue",
    "currentValue",
    "targetAverageUtilization",
    "currentAverageUtilization",
    "targetAverageValue",
    "currentAverageValue",
    "selector",
    "averageValue",
    "container",
    "matchLabels",
    "matchExpressions",
    "key",
    "operator",
    "values",
];
