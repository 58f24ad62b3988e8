//! `kubectl.kubernetes.io/last-applied-configuration`: what kubectl applied before servers did it.
//!
//! kubectl alone, by its name, moves over without conflicts: what the annotation says and the object still is was its own. From then
//! on the annotation follows what it applies, so that going back works too.

use serde_json::Value;

use super::{
    check::check, compare::Comparison, element::Literal, members::members, node_type::NodeType, set::FieldSet,
};
use crate::{
    kind::Kind,
    meta::ANNOTATIONS_LIMIT_BYTES,
    value::{entries, object_mut, put, remove, set, text},
};

/// Fields of a live object that its annotation says and that nobody changed since; `None` when there is no annotation of this version.
pub(super) fn allowed(kind: &'static Kind, live: &Value) -> Option<FieldSet> {
    let annotation = text(&live["metadata"]["annotations"], ANNOTATION);
    let config: Value = serde_json::from_str(annotation).ok()?;
    if text(&config, "apiVersion") != kind.api_version() || check(kind.definition(), &config).is_err() {
        return None;
    }
    let ty = NodeType::of_definition(kind.definition());
    let comparison = Comparison::of(ty, &config, live, &FieldSet::default());
    Some(members(ty, &config).difference(&comparison.changed()).difference(&comparison.removed))
}

/// Makes the annotation of an object, if it has one, say what was applied.
pub(super) fn refresh(object: &mut Value, config: &Value) {
    if text(&object["metadata"]["annotations"], ANNOTATION).is_empty() {
        return;
    }
    let mut config = config.clone();
    if !config["metadata"]["annotations"].is_null() {
        let metadata = object_mut(&mut config, "metadata");
        remove(object_mut(metadata, "annotations"), ANNOTATION);
        if entries(metadata, "annotations").next().is_none() {
            put(metadata, "annotations", Value::Null);
        }
    }
    let annotations = object_mut(object_mut(object, "metadata"), "annotations");
    set(annotations, ANNOTATION, format!("{}\n", Literal(config)));
    let size = annotations.as_object().into_iter().flatten();
    let size: usize = size.map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if size > ANNOTATIONS_LIMIT_BYTES {
        remove(annotations, ANNOTATION);
    }
}

/// Who moves over by the annotation.
pub(super) const MANAGER: &str = "kubectl";

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
