//! The fields that an object or an applied configuration names.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    element::Element,
    node_type::NodeType,
    set::{FieldSet, Node},
};

/// Every value and every element of a list that `value` names; of structs and maps only what is in them, unless that is nothing.
pub(super) fn members(ty: NodeType, value: &Value) -> FieldSet {
    node(ty, value).below
}

/// The set with the structs on the way to its fields, where a schema names them. `spec.replicas` then implies `spec`, but no entry of
/// a map implies the map's.
pub(super) fn with_named_fields(set: &FieldSet, ty: NodeType) -> FieldSet {
    let mut named = FieldSet::default();
    for (element, node) in set.nodes() {
        let below = ty.at(element);
        let is_named = matches!(ty, NodeType::Struct(_)) && below.is_some() && !node.below.is_empty();
        let node = Node {
            is_member: node.is_member || is_named,
            below: below.map_or_else(|| node.below.clone(), |ty| with_named_fields(&node.below, ty)),
        };
        named.attach(element.clone(), node);
    }
    named
}

/// What a field with this value and its parts contribute.
fn node(ty: NodeType, value: &Value) -> Node {
    match (ty, value) {
        (NodeType::Struct(_) | NodeType::Map(_), Value::Object(entries)) => {
            Node { is_member: false, below: of_map(ty, entries) }
        }
        (NodeType::Set | NodeType::Keyed(_), Value::Array(elements)) => {
            Node { is_member: false, below: of_list(ty, elements) }
        }
        // Null in place of a list, map or struct says nothing about parts.
        (NodeType::Struct(_) | NodeType::Map(_) | NodeType::Set | NodeType::Keyed(_), _) => Node::default(),
        (NodeType::Leaf, _) => Node::leaf(),
    }
}

fn of_map(ty: NodeType, entries: &Map<String, Value>) -> FieldSet {
    let mut set = FieldSet::default();
    for (key, value) in entries {
        let element = Element::Field(key.clone());
        let Some(below) = ty.at(&element) else { continue };
        let mut node = node(below, value);
        let is_nothing = value.is_null() || value.as_object().is_some_and(Map::is_empty);
        // Entries of maps are there for themselves; fields of structs only when there is nothing in them.
        node.is_member |= is_nothing || matches!(ty, NodeType::Map(_));
        set.attach(element, node);
    }
    set
}

fn of_list(ty: NodeType, values: &[Value]) -> FieldSet {
    let mut elements: BTreeMap<Element, Vec<&Value>> = BTreeMap::new();
    for value in values {
        if let Ok(element) = ty.element_of(value) {
            elements.entry(element).or_default().push(value);
        }
    }
    let mut set = FieldSet::default();
    for (element, values) in elements {
        let node = match (values.as_slice(), ty.at(&element)) {
            ([value], Some(below)) => Node { is_member: true, ..node(below, value) },
            // Elements of one key are one thing.
            _ => Node::leaf(),
        };
        set.attach(element, node);
    }
    set
}
