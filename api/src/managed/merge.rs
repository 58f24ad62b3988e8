//! Merging an applied configuration into an object: what the configuration says wins, what it does not say stays.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{element::Element, node_type::NodeType};

/// `live` with everything that `applied` says. Both fit the type, and no list of `applied` has two elements of one key.
pub(super) fn merge(ty: NodeType, live: &Value, applied: &Value) -> Value {
    merge_values(ty, Some(live), Some(applied)).unwrap_or(Value::Null)
}

/// Merges two values, at most one of which is not there. `None` when nothing is left to say.
fn merge_values(ty: NodeType, live: Option<&Value>, applied: Option<&Value>) -> Option<Value> {
    match ty {
        NodeType::Struct(_) | NodeType::Map(_) => {
            let (live_map, applied_map) =
                (live.and_then(Value::as_object), applied.and_then(Value::as_object));
            if !live_map.is_none_or(Map::is_empty) || !applied_map.is_none_or(Map::is_empty) {
                return merge_maps(ty, live_map, applied_map);
            }
        }
        NodeType::Set | NodeType::Keyed(_) => {
            let (live_list, applied_list) = (elements(live), elements(applied));
            if !live_list.is_empty() || !applied_list.is_empty() {
                return merge_lists(ty, live_list, applied_list);
            }
        }
        NodeType::Leaf => {}
    }
    applied.or(live).cloned()
}

fn merge_maps(
    ty: NodeType,
    live: Option<&Map<String, Value>>,
    applied: Option<&Map<String, Value>>,
) -> Option<Value> {
    let empty = Map::new();
    let (live, applied) = (live.unwrap_or(&empty), applied.unwrap_or(&empty));
    let only_applied = applied.keys().filter(|key| !live.contains_key(*key));
    let merged = live.keys().chain(only_applied).filter_map(|key| {
        let ty = ty.at(&Element::Field(key.clone())).unwrap_or(NodeType::Leaf);
        Some((key.clone(), merge_values(ty, live.get(key), applied.get(key))?))
    });
    let merged: Map<String, Value> = merged.collect();
    (!merged.is_empty()).then(|| merged.into())
}

fn merge_lists(ty: NodeType, live: &[Value], applied: &[Value]) -> Option<Value> {
    let lists = Lists { ty, live: Indexed::new(ty, live), applied: Indexed::new(ty, applied) };
    let merged = lists.merge();
    (!merged.is_empty()).then(|| merged.into())
}

/// The elements of a list with the step that leads to each, in the list's order. An element that cannot be told apart has none.
struct Indexed<'v> {
    elements: Vec<(Option<Element>, &'v Value)>,
    /// Where the elements of each key are.
    positions: BTreeMap<Element, Vec<usize>>,
}

impl<'v> Indexed<'v> {
    fn new(ty: NodeType, values: &'v [Value]) -> Self {
        let elements: Vec<_> = values.iter().map(|value| (ty.element_of(value).ok(), value)).collect();
        let mut positions: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (position, (element, _)) in elements.iter().enumerate() {
            if let Some(element) = element {
                positions.entry(element.clone()).or_default().push(position);
            }
        }
        Self { elements, positions }
    }

    fn has(&self, element: &Element) -> bool {
        self.positions.contains_key(element)
    }

    /// The one element of this key; `None` when there is none, or there are several, which do not merge.
    fn only(&self, element: &Element) -> Option<&'v Value> {
        match self.positions.get(element)?.as_slice() {
            [position] => Some(self.elements[*position].1),
            _ => None,
        }
    }
}

struct Lists<'v> {
    ty: NodeType,
    live: Indexed<'v>,
    applied: Indexed<'v>,
}

impl Lists<'_> {
    /// Elements of both lists in the order of the applied one, each of the live list alone before the shared one that it came
    /// before.
    fn merge(&self) -> Vec<Value> {
        let (live, applied) = (&self.live.elements, &self.applied.elements);
        let shared = applied.iter().filter_map(|(element, _)| element.as_ref());
        let mut shared = shared.filter(|element| self.live.has(element)).peekable();
        let mut merged = Vec::with_capacity(live.len().max(applied.len()));
        let (mut of_live, mut of_applied) = (0, 0);
        // Applied elements that are in the merged list by now.
        let mut placed = BTreeSet::new();
        while of_live < live.len() || of_applied < applied.len() {
            if let Some((element, value)) = live.get(of_live) {
                let Some(element) = element.as_ref().filter(|element| self.applied.has(element)) else {
                    merged.extend(self.part(element.as_ref(), Some(value), None));
                    of_live += 1;
                    continue;
                };
                let is_next = applied.get(of_applied).is_some_and(|(next, _)| next.as_ref() == Some(element));
                let is_awaited = shared.peek().is_none_or(|awaited| *awaited == element);
                if placed.contains(element) || (!is_next && !is_awaited) {
                    // It is or will be merged where the applied list has it.
                    of_live += 1;
                    continue;
                }
            }
            let Some((element, value)) = applied.get(of_applied) else { break };
            of_applied += 1;
            let element = element.as_ref();
            merged.extend(self.part(
                element,
                element.and_then(|element| self.live.only(element)),
                Some(value),
            ));
            placed.extend(element);
            if element.is_some() && shared.peek().copied() == element {
                shared.next();
            }
        }
        merged
    }

    fn part(
        &self,
        element: Option<&Element>,
        live: Option<&Value>,
        applied: Option<&Value>,
    ) -> Option<Value> {
        let ty = element.and_then(|element| self.ty.at(element)).unwrap_or(NodeType::Leaf);
        merge_values(ty, live, applied)
    }
}

fn elements(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
