//! `scale`: the number of replicas of an object, read and written as a Scale of `autoscaling/v1`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Column, Kind, age_cell, workload::name_cell};
use crate::{
    selector::LabelSelector,
    value::{entries, object_mut, set},
};

/// How an object's replicas are found: how many there should be is `spec.replicas`, how many there are `status.replicas`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// `spec.selector` is a label selector.
    LabelSelector,
    /// `spec.selector` is a map of labels.
    LabelMap,
}

/// The kind of Scales. They are parts of objects and not served by themselves.
pub static SCALE: Kind = Kind {
    group: "autoscaling",
    kind: "Scale",
    plural: "scales",
    singular: "scale",
    schema: "io.k8s.api.autoscaling.v1.Scale",
    verbs: &[],
    columns: &[
        Column::NAME,
        Column::integer("Desired", "How many there should be."),
        Column::integer("Available", "How many there are."),
        Column::AGE,
    ],
    row,
    ..Kind::BASE
};

impl Kind {
    /// The Scale of an object; `None` for kinds without replicas.
    pub fn scale_of(&self, object: &Value) -> Option<Value> {
        let selector = match self.scale? {
            Scale::LabelSelector => {
                LabelSelector::from_object(&object["spec"]["selector"]).unwrap_or_default().to_string()
            }
            Scale::LabelMap => label_map(&object["spec"]),
        };
        let mut metadata = json!({});
        for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
            set(&mut metadata, key, object["metadata"][key].clone());
        }
        let mut scale = json!({
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": metadata,
            "spec": {},
            "status": { "replicas": object["status"]["replicas"].as_i64().unwrap_or_default() },
        });
        let wanted = object["spec"]["replicas"].as_i64().unwrap_or_default();
        if wanted != 0 {
            set(&mut scale["spec"], "replicas", wanted);
        }
        if !selector.is_empty() {
            set(&mut scale["status"], "selector", selector);
        }
        Some(scale)
    }

    /// Sets how many replicas there should be.
    pub fn set_replicas(&self, object: &mut Value, replicas: i64) {
        set(object_mut(object, "spec"), "replicas", replicas);
    }
}

fn row(scale: &Value, now: Timestamp) -> Vec<Value> {
    let count = |part: &str| Value::from(scale[part]["replicas"].as_i64().unwrap_or_default());
    vec![name_cell(scale), count("spec"), count("status"), age_cell(scale, now)]
}

fn label_map(spec: &Value) -> String {
    let labels = entries(spec, "selector");
    let labels = labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
    labels.collect::<Vec<_>>().join(",")
}
