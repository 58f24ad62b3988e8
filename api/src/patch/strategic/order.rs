//! The order of a list after a merge.

use serde_json::Value;

use super::{PATCH, PatchError, go_value};

/// Arranges a merged list. What is in `order` takes that order, the rest keeps the order it had `before`. Of the first of both, the
/// latter comes first only if it stood before the other already.
pub(super) fn arrange(
    merged: Vec<Value>,
    order: &[Value],
    before: &[Value],
    merge_key: Option<&str>,
) -> Vec<Value> {
    let place = |list: &[Value], element: &Value| {
        list.iter().position(|other| key(other, merge_key) == key(element, merge_key))
    };
    let (mut ordered, mut rest): (Vec<_>, Vec<_>) =
        merged.into_iter().partition(|element| place(order, element).is_some());
    ordered.sort_by_key(|element| place(order, element));
    rest.sort_by_key(|element| place(before, element));
    let mut arranged = Vec::with_capacity(ordered.len() + rest.len());
    let (mut ordered, mut rest) = (ordered.into_iter().peekable(), rest.into_iter().peekable());
    while let (Some(next), Some(other)) = (ordered.peek(), rest.peek()) {
        let other_was_first =
            place(before, other).zip(place(before, next)).is_some_and(|(other, next)| other < next);
        arranged.extend(if other_was_first { rest.next() } else { ordered.next() });
    }
    arranged.extend(ordered);
    arranged.extend(rest);
    arranged
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
