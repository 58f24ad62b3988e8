//! ComponentStatus: whether the parts of the control plane are well. It is made up when somebody asks, and deprecated.

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    kind::{Column, Kind, Storage},
    value::{list, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    kind: "ComponentStatus",
    plural: "componentstatuses",
    singular: "componentstatus",
    short_names: &["cs"],
    namespaced: false,
    schema: "io.k8s.api.core.v1.ComponentStatus",
    storage: Storage::None,
    verbs: &["get", "list"],
    columns: &[
        Column::NAME,
        Column::shown("Status", "Whether it is well."),
        Column::shown("Message", "What it says."),
        Column::shown("Error", "Why it is not."),
    ],
    deprecation: Some("v1 ComponentStatus is deprecated in v1.19+"),
    row,
    ..Kind::BASE
};

fn row(object: &Value, _now: Timestamp) -> Vec<Value> {
    let healthy = list(object, "conditions").iter().find(|condition| condition["type"] == "Healthy");
    let status = match healthy.map(|condition| text(condition, "status")) {
        Some("True") => "Healthy",
        Some(_) => "Unhealthy",
        None => "Unknown",
    };
    let told = |field: &str| healthy.map_or("", |condition| text(condition, field)).into();
    vec![text(&object["metadata"], "name").into(), status.into(), told("message"), told("error")]
}
