//! `FieldsV1`: a set of fields as JSON. A field is a key, what is below it its value; a field that is in the set along with some
//! below it has the key `.` among them, one that is in the set alone has an empty object.
//!
//! What most writes ask of a stored set is answered from the JSON as it lies there: see [`touches`] and [`covers`].

use serde_json::{Map, Value};

use super::{
    element::Element,
    set::{FieldSet, Node},
};

/// JSON that is no set of fields.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed set of fields: {0}")]
pub struct MalformedSet(String);

impl FieldSet {
    /// Reads `FieldsV1`. Kinds of steps that only a newer server knows are left out.
    ///
    /// # Errors
    ///
    /// When a key is malformed or a value is no object.
    pub fn from_fields_v1(fields: &Value) -> Result<Self, MalformedSet> {
        read(fields).map(|node| node.below)
    }

    /// The set as `FieldsV1`.
    pub fn to_fields_v1(&self) -> Value {
        Value::Object(write(self))
    }
}

fn read(fields: &Value) -> Result<Node, MalformedSet> {
    let fields = fields.as_object().ok_or_else(|| MalformedSet(format!("`{fields}` is no object")))?;
    let mut node = Node::default();
    for (key, value) in fields {
        if key == SELF {
            node.is_member = true;
        } else if let Some(element) = Element::parse(key).map_err(|error| MalformedSet(error.to_string()))? {
            node.below.attach(element, read(value)?);
        }
    }
    // A field with nothing below it is there for itself.
    node.is_member |= node.below.is_empty();
    Ok(node)
}

fn write(set: &FieldSet) -> Map<String, Value> {
    let entries = set.nodes().map(|(element, node)| {
        let mut below = write(&node.below);
        if node.is_member && !below.is_empty() {
            below.insert(SELF.to_owned(), Value::Object(Map::new()));
        }
        (element.to_key(), Value::Object(below))
    });
    entries.collect()
}

/// Whether the set that `fields` encodes may share a field with `set`. Says yes also where one of them names only what is below a
/// field that the other names.
pub(super) fn touches(fields: &Value, set: &FieldSet) -> bool {
    set.nodes().any(|(element, node)| {
        fields.get(element.to_key()).is_some_and(|fields| node.is_member || touches(fields, &node.below))
    })
}

/// Whether the set that `fields` encodes has every field of `set`.
pub(super) fn covers(fields: &Value, set: &FieldSet) -> bool {
    set.nodes().all(|(element, node)| {
        fields.get(element.to_key()).and_then(Value::as_object).is_some_and(|below| {
            (!node.is_member || below.is_empty() || below.contains_key(SELF))
                && (node.below.is_empty() || covers(&fields[element.to_key()], &node.below))
        })
    })
}

/// The key that stands for the field itself.
const SELF: &str = ".";
