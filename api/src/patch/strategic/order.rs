//! The order of a list after a merge.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{PATCH, PatchError, go_value};

/// Where elements are in a list, by what tells them apart. Lists come from clients and may be long: nothing here looks through one
/// for each element of another.
pub(super) struct Places<'k> {
    places: BTreeMap<String, usize>,
    merge_key: Option<&'k str>,
}

impl<'k> Places<'k> {
    /// The places of a list's elements; of equal ones, the first.
    pub(super) fn of(list: &[Value], merge_key: Option<&'k str>) -> Self {
        let mut places = BTreeMap::new();
        for (position, element) in list.iter().enumerate() {
            places.entry(key(element, merge_key).to_string()).or_insert(position);
        }
        Self { places, merge_key }
    }

    /// Where an element that equals this one is.
    pub(super) fn find(&self, element: &Value) -> Option<usize> {
        self.places.get(&key(element, self.merge_key).to_string()).copied()
    }

    /// Notes that an element is at a position, unless an equal one is at another already.
    pub(super) fn insert(&mut self, element: &Value, position: usize) {
        self.places.entry(key(element, self.merge_key).to_string()).or_insert(position);
    }
}

/// Arranges a merged list. What is in `order` takes that order, the rest keeps the order it had `before`. Of the first of both, the
/// latter comes first only if it stood before the other already.
pub(super) fn arrange(
    merged: Vec<Value>,
    order: &[Value],
    before: &[Value],
    merge_key: Option<&str>,
) -> Vec<Value> {
    let (order, before) = (Places::of(order, merge_key), Places::of(before, merge_key));
    let placed = merged.into_iter().map(|element| (order.find(&element), before.find(&element), element));
    let (mut ordered, mut rest): (Vec<_>, Vec<_>) = placed.partition(|(place, ..)| place.is_some());
    ordered.sort_by_key(|(place, ..)| *place);
    rest.sort_by_key(|(_, before, _)| *before);
    let mut arranged = Vec::with_capacity(ordered.len() + rest.len());
    let (mut ordered, mut rest) = (ordered.into_iter().peekable(), rest.into_iter().peekable());
    while let (Some((_, next, _)), Some((_, other, _))) = (ordered.peek(), rest.peek()) {
        let other_was_first = other.zip(*next).is_some_and(|(other, next)| other < next);
        arranged.extend(if other_was_first { rest.next() } else { ordered.next() });
    }
    arranged.extend(ordered);
    arranged.extend(rest);
    arranged.into_iter().map(|(.., element)| element).collect()
}

/// What a patch sets must be in the order it gives, in that order.
pub(super) fn check(patch: &[Value], order: &[Value], merge_key: Option<&str>) -> Result<(), PatchError> {
    let mut places = order.iter().map(|element| key(element, merge_key));
    let mut kept = patch.iter().filter(|element| merge_key.is_none() || element[PATCH] != "delete");
    if kept.all(|element| places.any(|place| place == key(element, merge_key))) {
        return Ok(());
    }
    let shown = |list: &[Value]| go_value(&Value::Array(list.to_vec()));
    Err(PatchError::Failed(format!(
        "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
        shown(patch),
        shown(order)
    )))
}

/// What tells elements apart.
fn key<'v>(element: &'v Value, merge_key: Option<&str>) -> &'v Value {
    merge_key.map_or(element, |key| &element[key])
}
