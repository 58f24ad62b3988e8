//! What a change does to the fields of an object: which it adds, changes and removes.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    element::Element,
    node_type::NodeType,
    set::{FieldSet, Node},
};

/// What differs between two states of an object. No field is in two of the sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    /// Fields that only the new state has.
    pub(super) added: FieldSet,
    /// Fields that both have, with different values.
    pub(super) modified: FieldSet,
    /// Fields that only the old state has.
    pub(super) removed: FieldSet,
}

impl Comparison {
    /// Compares two states of an object, leaving out the fields in `ignored` and what is below them.
    pub(super) fn of(ty: NodeType, old: &Value, new: &Value, ignored: &FieldSet) -> Self {
        let difference = compare(ty, Some(old), Some(new), Some(ignored));
        Self {
            added: difference.added.below,
            modified: difference.modified.below,
            removed: difference.removed.below,
        }
    }

    /// Everything that the new state says differently from the old one.
    pub(super) fn changed(&self) -> FieldSet {
        self.added.union(&self.modified)
    }
}

/// What differs at one field and below it.
#[derive(Default)]
struct Difference {
    added: Node,
    modified: Node,
    removed: Node,
}

impl Difference {
    /// Takes over what differs at a part of this field.
    fn attach(&mut self, element: &Element, part: Self) {
        let sides = [
            (&mut self.added, part.added),
            (&mut self.modified, part.modified),
            (&mut self.removed, part.removed),
        ];
        for (own, part) in sides {
            if !part.is_nothing() {
                own.below.attach(element.clone(), part);
            }
        }
    }
}

/// Compares two values, at most one of which is not there. Null is a value.
fn compare(ty: NodeType, old: Option<&Value>, new: Option<&Value>, ignored: Option<&FieldSet>) -> Difference {
    let mut difference = Difference::default();
    // Most of an object does not change, and two equal parts differ in no field.
    if old == new {
        return difference;
    }
    match ty {
        NodeType::Leaf => {}
        NodeType::Struct(_) | NodeType::Map(_) => {
            compare_maps(
                ty,
                old.and_then(Value::as_object),
                new.and_then(Value::as_object),
                ignored,
                &mut difference,
            );
        }
        NodeType::Set | NodeType::Keyed(_) => {
            compare_lists(ty, elements(old), elements(new), &mut difference);
        }
    }
    difference.added.is_member = old.is_none();
    difference.removed.is_member = new.is_none();
    difference.modified.is_member = old.is_some() && new.is_some() && (is_whole(ty, old, new));
    difference
}

/// Whether two values are compared as a whole: also lists and maps without anything in them, so that null and empty differ.
fn is_whole(ty: NodeType, old: Option<&Value>, new: Option<&Value>) -> bool {
    let is_empty = |value: Option<&Value>| match value {
        Some(Value::Object(entries)) => entries.is_empty(),
        Some(Value::Array(elements)) => elements.is_empty(),
        _ => true,
    };
    matches!(ty, NodeType::Leaf) || (is_empty(old) && is_empty(new))
}

fn compare_maps(
    ty: NodeType,
    old: Option<&Map<String, Value>>,
    new: Option<&Map<String, Value>>,
    ignored: Option<&FieldSet>,
    difference: &mut Difference,
) {
    let empty = Map::new();
    let (old, new) = (old.unwrap_or(&empty), new.unwrap_or(&empty));
    let only_new = new.keys().filter(|key| !old.contains_key(*key));
    for key in old.keys().chain(only_new) {
        let (old, new) = (old.get(key), new.get(key));
        if old == new {
            continue;
        }
        let element = Element::Field(key.clone());
        let ignored = ignored.and_then(|ignored| ignored.node(&element));
        // What the schema does not know is nobody's.
        let Some(ty) = ty.at(&element).filter(|_| !ignored.is_some_and(|node| node.is_member)) else {
            continue;
        };
        difference.attach(&element, compare(ty, old, new, ignored.map(|node| &node.below)));
    }
}

fn compare_lists(ty: NodeType, old: &[Value], new: &[Value], difference: &mut Difference) {
    let mut found: BTreeMap<Element, [Vec<&Value>; 2]> = BTreeMap::new();
    for (side, values) in [old, new].into_iter().enumerate() {
        for value in values {
            // Elements that cannot be told apart are nobody's; validation has its say about them.
            if let Ok(element) = ty.element_of(value) {
                found.entry(element).or_default()[side].push(value);
            }
        }
    }
    for (element, [old, new]) in &found {
        let Some(ty) = ty.at(element) else { continue };
        difference.attach(element, compare_elements(ty, old, new));
    }
}

/// Compares the elements that have one key. Where there are several they are one thing, which is owned by the key alone.
fn compare_elements(ty: NodeType, old: &[&Value], new: &[&Value]) -> Difference {
    match (old, new) {
        ([] | [_], [] | [_]) => compare(ty, old.first().copied(), new.first().copied(), None),
        ([_, _, ..], [_, _, ..]) if old == new => Difference::default(),
        ([_, _, ..], [_, _, ..]) => Difference { modified: Node::leaf(), ..Difference::default() },
        ([_, _, ..], _) => {
            let alone = new.first().map(|value| compare(ty, None, Some(*value), None)).unwrap_or_default();
            Difference { removed: Node::leaf(), ..alone }
        }
        (_, _) => {
            let alone = old.first().map(|value| compare(ty, Some(*value), None, None)).unwrap_or_default();
            Difference { added: Node::leaf(), ..alone }
        }
    }
}

fn elements(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
