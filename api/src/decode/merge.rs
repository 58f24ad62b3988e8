//! YAML's merge key: `<<: *defaults` stands for the entries of another map, or of several.

use serde_json::{Map, Value};

/// Merges maps into the one whose value they are. As in Kubernetes, the order of the text counts: what comes later wins, be it merged
/// or not; only in a list of maps the earlier wins.
///
/// # Errors
///
/// When these are no maps.
pub(super) fn into(object: &mut Map<String, Value>, merged: Value) -> Result<(), NoMaps> {
    match merged {
        Value::Object(entries) => object.extend(entries),
        Value::Array(maps) => {
            for map in maps.into_iter().rev() {
                let Value::Object(entries) = map else { return Err(NoMaps) };
                object.extend(entries);
            }
        }
        _ => return Err(NoMaps),
    }
    Ok(())
}

/// Something else is to be merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("map merge requires map or sequence of maps as the value")]
pub(super) struct NoMaps;
