//! `cargo xtask policy`: makes the table of a new cluster's roles, bindings, priority classes and flow control that
//! `coordinator/core` embeds, from the facts about what a fresh Kubernetes cluster has.
//!
//! The table is one JSON object a line, so that a change in it reads as a diff. What all of them have in common (group, version, label
//! and annotation of bootstrap policy, status) and what follows from others (rules that are aggregated) is left out; the reader puts it back.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

/// Where the facts are, relative to the repository's root.
pub(crate) const SOURCE: &str = "../shared/data/k8s-1.36/bootstrap.json";

/// The committed table, relative to the repository's root.
pub(crate) const TABLE: &str = "coordinator/core/src/authorizer/policy.jsonl";

/// Writes the table made from `source` to `out`.
pub(crate) fn run(source: &Path, out: &Path) -> Result<()> {
    let text = fs::read_to_string(source).with_context(|| format!("failed to read {}", source.display()))?;
    let facts: Value =
        serde_json::from_str(&text).with_context(|| format!("failed to parse {}", source.display()))?;
    fs::write(out, render(&facts)).with_context(|| format!("failed to write {}", out.display()))
}

/// The table's text. The same facts always give the same text.
fn render(facts: &Value) -> String {
    let mut out = String::new();
    for resource in RESOURCES {
        for object in facts[resource].as_array().into_iter().flatten() {
            if !VENDOR.contains(&object["metadata"]["name"].as_str().unwrap_or_default()) {
                out.push_str(&shortened(object).to_string());
                out.push('\n');
            }
        }
    }
    out
}

fn shortened(object: &Value) -> Value {
    let fields: Map<String, Value> = object.as_object().cloned().unwrap_or_default();
    let mut metadata = Map::new();
    for (name, value) in object["metadata"].as_object().into_iter().flatten() {
        match (name.as_str(), value) {
            ("annotations", _) => {}
            ("labels", Value::Object(labels)) => {
                let own: Map<String, Value> = labels
                    .clone()
                    .into_iter()
                    .filter(|(label, _)| label != "kubernetes.io/bootstrapping")
                    .collect();
                if !own.is_empty() {
                    metadata.insert(name.clone(), own.into());
                }
            }
            _ => drop(metadata.insert(name.clone(), value.clone())),
        }
    }
    let aggregated = fields.contains_key("aggregationRule");
    let is_told_otherwise = |name: &str| match name {
        "apiVersion" | "metadata" | "status" => true,
        "rules" => aggregated,
        _ => false,
    };
    let mut short = json!({ "metadata": metadata });
    for (name, value) in fields.into_iter().filter(|(name, _)| !is_told_otherwise(name)) {
        short[name] = value;
    }
    short
}

/// What becomes part of the table, in this order.
const RESOURCES: [&str; 7] = [
    "rbac.authorization.k8s.io/v1/clusterroles",
    "rbac.authorization.k8s.io/v1/clusterrolebindings",
    "rbac.authorization.k8s.io/v1/roles",
    "rbac.authorization.k8s.io/v1/rolebindings",
    "scheduling.k8s.io/v1/priorityclasses",
    "flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations",
    "flowcontrol.apiserver.k8s.io/v1/flowschemas",
];

/// What the server that the facts come from has beyond Kubernetes.
const VENDOR: [&str; 1] = ["system:controller:service-ca-cert-publisher"];
