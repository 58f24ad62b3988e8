//! Taking fields out of an object, and keeping nothing but some fields of it.

use serde_json::{Map, Value};

use super::{
    element::Element,
    node_type::NodeType,
    set::{FieldSet, Node},
};

/// `value` without the fields in `set`. What has nothing left in it becomes null.
pub(super) fn remove(ty: NodeType, value: &Value, set: &FieldSet) -> Value {
    match (ty, value) {
        (NodeType::Struct(_) | NodeType::Map(_), Value::Object(entries)) => {
            let left = entries.iter().filter_map(|(key, value)| {
                let element = Element::Field(key.clone());
                part(ty, Some(&element), value, set).map(|value| (key.clone(), value))
            });
            or_null(left.collect::<Map<_, _>>(), Map::is_empty)
        }
        (NodeType::Set | NodeType::Keyed(_), Value::Array(elements)) => {
            let left =
                elements.iter().filter_map(|value| part(ty, ty.element_of(value).ok().as_ref(), value, set));
            or_null(left.collect::<Vec<_>>(), Vec::is_empty)
        }
        _ => value.clone(),
    }
}

/// The part of a value that one step leads to, without what `set` has of it; `None` when it has it itself.
fn part(ty: NodeType, element: Option<&Element>, value: &Value, set: &FieldSet) -> Option<Value> {
    let Some(node) = element.and_then(|element| set.node(element)) else { return Some(value.clone()) };
    if node.is_member {
        return None;
    }
    let ty = element.and_then(|element| ty.at(element)).unwrap_or(NodeType::Leaf);
    Some(remove(ty, value, &node.below))
}

/// What of `value` is in `set`, with the keys of list elements on the way. Of a field that is in the set without what is below it
/// nothing is kept that could have another owner.
pub(super) fn extract(ty: NodeType, value: &Value, set: &FieldSet) -> Value {
    match (ty, value) {
        (NodeType::Struct(_) | NodeType::Map(_), Value::Object(entries)) => {
            let kept = entries.iter().filter_map(|(key, value)| {
                let element = Element::Field(key.clone());
                Some((key.clone(), extract_part(ty.at(&element)?, value, set.node(&element)?)))
            });
            kept.collect::<Map<_, _>>().into()
        }
        (NodeType::Set | NodeType::Keyed(_), Value::Array(elements)) => {
            let kept = elements.iter().filter_map(|value| {
                let element = ty.element_of(value).ok()?;
                let mut kept = extract_part(ty.at(&element)?, value, set.node(&element)?);
                if let (Element::Key(keys), Value::Object(kept)) = (element, &mut kept) {
                    kept.extend(keys.into_iter().map(|(name, value)| (name, value.0)));
                }
                Some(kept)
            });
            kept.collect::<Vec<_>>().into()
        }
        _ => value.clone(),
    }
}

fn extract_part(ty: NodeType, value: &Value, node: &Node) -> Value {
    match ty {
        NodeType::Leaf => value.clone(),
        _ if value.is_null() => Value::Null,
        _ => extract(ty, value, &node.below),
    }
}

fn or_null<T: Into<Value>>(left: T, is_empty: impl Fn(&T) -> bool) -> Value {
    if is_empty(&left) { Value::Null } else { left.into() }
}
