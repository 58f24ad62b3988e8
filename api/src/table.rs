//! `meta.k8s.io/v1` tables: what `get` shows.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{kind::Kind, value::text};

/// `includeObject` of a table request: what each row carries beside its cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// The object's metadata.
    #[default]
    Metadata,
    /// The whole object.
    Object,
}

/// The table of `objects`, all of `kind`, as of `now`. The caller sets `metadata` of a list on it where there is one.
pub fn render<'a>(
    kind: &Kind,
    objects: impl IntoIterator<Item = &'a Value>,
    include: IncludeObject,
    now: Timestamp,
) -> Value {
    let mut table = json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": column_definitions(kind),
    });
    // Put in and not written out in the macro, which would copy them once more.
    table["rows"] = objects.into_iter().map(|object| row(kind, object, include, now)).collect();
    table
}

/// The `columnDefinitions` of the kind's tables.
fn column_definitions(kind: &Kind) -> Vec<Value> {
    let columns = kind.columns.iter();
    let definition = |column: &crate::kind::Column| {
        json!({
            "name": column.name,
            "type": column.cells,
            "format": column.format,
            "description": column.description,
            "priority": column.priority,
        })
    };
    columns.map(definition).collect()
}

/// An object's metadata, as a `PartialObjectMetadata`.
pub fn partial_metadata(object: &Value) -> Value {
    let mut partial = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"});
    partial["metadata"] = object["metadata"].clone();
    partial
}

/// The row of an object, as of `now`.
pub fn row(kind: &Kind, object: &Value, include: IncludeObject, now: Timestamp) -> Value {
    let mut row = Value::from(Map::from_iter([("cells".to_owned(), (kind.row)(object, now).into())]));
    match include {
        IncludeObject::None => {}
        IncludeObject::Metadata => row["object"] = partial_metadata(object),
        IncludeObject::Object => row["object"] = object.clone(),
    }
    if kind.kind == "Pod" {
        let (reason, message) = match text(&object["status"], "phase") {
            "Succeeded" => ("Succeeded", "The pod has completed successfully."),
            "Failed" => ("Failed", "The pod failed."),
            _ => return row,
        };
        row["conditions"] =
            json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]);
    }
    row
}
