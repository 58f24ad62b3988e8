//! `cargo xtask schema`: makes the compact schema table that `api/` embeds from the facts about Kubernetes' own types.
//!
//! The table is text, one line per field, so that a change in it reads as a diff. `api/src/schema.rs` reads it; the format is
//! described there. The types of `metrics.k8s.io` are in `schema/metrics.json`. Facts that OpenAPI leaves out (which empty values Kubernetes drops when it encodes) are in `schema/held.txt`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value};

use held::Held;

mod held;

/// Where the facts are, relative to the repository's root.
pub(crate) const SOURCE: &str = "../shared/data/k8s-1.36/schema.json";

/// The committed table, relative to the repository's root.
pub(crate) const TABLE: &str = "api/src/schema/table.txt";

/// Writes the table made from `source` to `out`.
pub(crate) fn run(source: &Path, out: &Path) -> Result<()> {
    let text = fs::read_to_string(source).with_context(|| format!("failed to read {}", source.display()))?;
    let facts: Value =
        serde_json::from_str(&text).with_context(|| format!("failed to parse {}", source.display()))?;
    fs::write(out, render(&facts)?).with_context(|| format!("failed to write {}", out.display()))
}

/// The table's text. The same facts always give the same text.
fn render(facts: &Value) -> Result<String> {
    let mut definitions = object(facts, "definitions")?.clone();
    // What metrics-server serves is no part of Kubernetes' API server, and so not among its facts.
    let metrics: Map<String, Value> = serde_json::from_str(METRICS).context("metrics.json")?;
    definitions.extend(metrics);
    let definitions = &definitions;
    let messages = object(facts, "protobufOnly")?;
    let held = Held::read();
    held.check(definitions)?;
    let mut names: BTreeSet<&str> = definitions.keys().map(String::as_str).chain(ANSWERS).collect();
    let mut queue: Vec<&str> = names.iter().copied().collect();
    while let Some(name) = queue.pop() {
        for target in protobuf_targets(definitions.get(name).or_else(|| messages.get(name))) {
            if (definitions.contains_key(target) || messages.contains_key(target)) && names.insert(target) {
                queue.push(target);
            }
        }
    }
    let index: BTreeMap<&str, usize> = names.iter().enumerate().map(|(i, name)| (*name, i)).collect();
    let mut out = String::new();
    for name in &names {
        match definitions.get(*name) {
            Some(definition) => render_definition(&mut out, name, definition, (&index, &held))?,
            None => render_message(&mut out, name, &messages[*name], &index)?,
        }
    }
    Ok(out)
}

/// Names that a definition's or message's protobuf fields refer to.
fn protobuf_targets(definition: Option<&Value>) -> Vec<&str> {
    let Some(definition) = definition else { return Vec::new() };
    let plain = ["pbFieldsNotInJson", "fields"].into_iter().filter_map(|key| definition[key].as_object());
    let own = plain.flat_map(Map::values);
    let of_properties =
        definition["properties"].as_object().into_iter().flat_map(Map::values).map(|p| &p["pb"]);
    own.chain(of_properties).filter_map(|pb| pb[2].as_str()).collect()
}

fn render_definition(
    out: &mut String,
    name: &str,
    definition: &Value,
    (index, held): (&BTreeMap<&str, usize>, &Held),
) -> Result<()> {
    write!(out, "@{name} {}", definition_shape(name, definition))?;
    if definition["map-type"] == "atomic" {
        out.push_str(" ma");
    }
    if let Some(message) = definition["pbMessage"].as_str()
        && message != derived_message(name)
    {
        write!(out, " m={message}")?;
    }
    for gvk in definition["gvk"].as_array().into_iter().flatten() {
        write!(out, " g={}/{}/{}", text(&gvk[0])?, text(&gvk[1])?, text(&gvk[2])?)?;
    }
    if let Some(unions) = definition.get("unions") {
        write!(out, " u={unions}")?;
    }
    out.push('\n');
    let required: BTreeSet<&str> =
        definition["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (field, property) in definition["properties"].as_object().into_iter().flatten() {
        let presence =
            if required.contains(field.as_str()) { Presence::Required } else { Presence::Optional };
        let property = renamed(definition, field, property);
        render_field(out, name, (field, &property, presence), (index, held))
            .with_context(|| format!("in {name}.{field}"))?;
    }
    let properties = definition["properties"].as_object();
    let is_inlined =
        |field: &&String| properties.into_iter().flatten().all(|(name, _)| camel_case(name) != **field);
    for (field, pb) in definition["pbFieldsNotInJson"].as_object().into_iter().flatten() {
        if is_inlined(&field) {
            writeln!(out, "~{field} {} {}", pb[0], protobuf_type(pb, index)?)?;
        }
    }
    Ok(())
}

/// The property with its protobuf field where that has another name: `$ref` is `ref`, `x-kubernetes-map-type` is
/// `xKubernetesMapType`.
fn renamed(definition: &Value, field: &str, property: &Value) -> Value {
    let mut property = property.clone();
    let name = camel_case(field);
    if let Some(pb) = definition["pbFieldsNotInJson"].get(&name)
        && property.get("pb").is_none()
    {
        property["pb"] = serde_json::json!([pb[0], pb[1], pb[2], name]);
    }
    property
}

fn camel_case(name: &str) -> String {
    let mut parts = name.trim_start_matches('$').split('-');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |mut name, part| {
        let mut letters = part.chars();
        name.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        name.push_str(letters.as_str());
        name
    })
}

fn render_message(
    out: &mut String,
    name: &str,
    message: &Value,
    index: &BTreeMap<&str, usize>,
) -> Result<()> {
    write!(out, "@{name} p")?;
    if let Some(full) = message["pbMessage"].as_str()
        && full != derived_message(name)
    {
        write!(out, " m={full}")?;
    }
    out.push('\n');
    for (field, pb) in object(message, "fields")? {
        writeln!(out, "~{field} {} {}", pb[0], protobuf_type(pb, index)?)?;
    }
    Ok(())
}

/// Whether the schema names a field as required.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Required,
    Optional,
}

fn render_field(
    out: &mut String,
    definition: &str,
    (field, property, presence): (&str, &Value, Presence),
    (index, held): (&BTreeMap<&str, usize>, &Held),
) -> Result<()> {
    let shape = json_type(property, index)?;
    let number = property["pb"][0].as_u64().unwrap_or(0);
    write!(out, "{field} {number} {shape}")?;
    if presence == Presence::Required {
        out.push_str(" !");
    }
    if held.drops_zero(definition, field, property, presence) {
        out.push_str(" z");
    }
    if property.get("default").is_some() && held.is_pointer(definition, field) {
        out.push_str(" *");
    }
    if let Some(list) = property["list-type"].as_str() {
        write!(out, " l{}", &list[..1])?;
    }
    if let Some(map) = property["map-type"].as_str() {
        write!(out, " m{}", &map[..1])?;
    }
    if let Some(keys) = property["list-map-keys"].as_array() {
        let keys: Vec<&str> = keys.iter().filter_map(Value::as_str).collect();
        write!(out, " k={}", keys.join(","))?;
    }
    for (tag, key) in [("ps", "patch-strategy"), ("pk", "patch-merge-key")] {
        if let Some(value) = property[key].as_str() {
            write!(out, " {tag}={value}")?;
        }
    }
    if let Some(pb) = property.get("pb") {
        let wire = protobuf_type(pb, index)?;
        if wire != shape {
            write!(out, " p={wire}")?;
        }
        if let Some(name) = pb[3].as_str() {
            write!(out, " n={name}")?;
        }
    }
    if let Some(unset) = held.unset(definition, field, property) {
        write!(out, " 0={unset}")?;
    }
    let holders = [property, &property["items"], &property["additionalProperties"]];
    if let Some(values) = holders.into_iter().find_map(|holder| holder["enum"].as_array()) {
        let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
        write!(out, " e={}", values.join(","))?;
    }
    if let Some(default) = property.get("default") {
        write!(out, " d={default}")?;
    }
    out.push('\n');
    Ok(())
}

/// The letter of a definition: a struct, or one of the types with an encoding of its own.
fn definition_shape(name: &str, definition: &Value) -> &'static str {
    match name.rsplit('.').next().unwrap_or(name) {
        "Quantity" => "q",
        "Time" => "t",
        "MicroTime" => "u",
        "IntOrString" => "x",
        _ if definition.get("properties").is_some() => "o",
        "CustomResourceSubresourceStatus" => "o",
        _ => "a",
    }
}

fn derived_message(name: &str) -> String {
    name.replacen("io.k8s.", "k8s.io.", 1)
}

/// A type token: `[` list of, `{` map to, `#N` the N-th definition, or a scalar's letter.
fn json_type(property: &Value, index: &BTreeMap<&str, usize>) -> Result<String> {
    if let Some(name) = property["ref"].as_str() {
        let position = index.get(name).with_context(|| format!("unknown reference {name}"))?;
        return Ok(format!("#{position}"));
    }
    let token = match (property["type"].as_str(), property["format"].as_str()) {
        (Some("string"), Some("byte")) => "y",
        (Some("string"), _) => "s",
        (Some("boolean"), _) => "b",
        (Some("integer"), Some("int32")) => "i",
        (Some("integer"), _) => "l",
        (Some("number"), _) => "f",
        (Some("array"), _) => return Ok(format!("[{}", json_type(&property["items"], index)?)),
        (Some("object"), _) if property["additionalProperties"].is_object() => {
            return Ok(format!("{{{}", json_type(&property["additionalProperties"], index)?));
        }
        (Some("object") | None, _) => "a",
        (Some(other), _) => bail!("unknown type {other}"),
    };
    Ok(token.to_owned())
}

fn protobuf_type(pb: &Value, index: &BTreeMap<&str, usize>) -> Result<String> {
    let prefix = match text(&pb[1])? {
        "repeated" => "[",
        label if label.starts_with("map<") => "{",
        _ => "",
    };
    let token = match text(&pb[2])? {
        "string" => "s".to_owned(),
        "bool" => "b".to_owned(),
        "int32" => "i".to_owned(),
        "int64" => "l".to_owned(),
        "double" => "f".to_owned(),
        "bytes" => "y".to_owned(),
        name => match index.get(name) {
            Some(position) => format!("#{position}"),
            None => bail!("unknown protobuf type {name}"),
        },
    };
    Ok(format!("{prefix}{token}"))
}

fn object<'a>(value: &'a Value, key: &str) -> Result<&'a Map<String, Value>> {
    value[key].as_object().with_context(|| format!("`{key}` is not an object"))
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("{value} is not a string"))
}

/// The types of `metrics.k8s.io`, in the format of the facts; without protobuf.
const METRICS: &str = include_str!("schema/metrics.json");

/// Messages that answers are made of and that no definition refers to.
const ANSWERS: [&str; 3] = [
    "io.k8s.apimachinery.pkg.apis.meta.v1.PartialObjectMetadata",
    "io.k8s.apimachinery.pkg.apis.meta.v1.PartialObjectMetadataList",
    "io.k8s.apimachinery.pkg.apis.meta.v1beta1.PartialObjectMetadataList",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_table_is_what_the_facts_give() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let Ok(facts) = fs::read_to_string(root.join(SOURCE)) else {
            return; // The facts live beside the repository and are not part of it.
        };
        let facts = serde_json::from_str(&facts).unwrap();
        let table = fs::read_to_string(root.join(TABLE)).unwrap();
        assert!(render(&facts).unwrap() == table, "run `cargo xtask schema`");
    }
}
