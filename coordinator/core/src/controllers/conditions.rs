//! Conditions of a status: set once per type, with the time at which their status last changed.

use dunlin_api::time::format_time;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::view::workload::Condition;

/// Sets a condition; one that says the same keeps its times.
pub(super) fn set(
    conditions: &mut Vec<Condition>,
    kind: &str,
    (status, reason, message): (&str, &str, &str),
    now: Timestamp,
) {
    let known = conditions.iter().position(|condition| condition.kind == kind);
    let old = known.map(|position| &conditions[position]);
    // As Kubernetes: a message alone, in which names and numbers change all the time, is no change.
    if old.is_some_and(|old| old.status == status && old.reason == reason) {
        return;
    }
    let since = old.filter(|old| old.status == status).and_then(|old| old.last_transition_time);
    let condition = Condition {
        kind: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: Some(since.unwrap_or(now)),
        last_update_time: Some(now),
    };
    match known {
        Some(position) => conditions[position] = condition,
        None => conditions.push(condition),
    }
}

/// The same for a condition whose message is what it is about, so that a new message alone is a change.
pub(super) fn say(
    conditions: &mut Vec<Condition>,
    kind: &str,
    (status, reason, message): (&str, &str, &str),
    now: Timestamp,
) {
    let position = conditions.iter().position(|known| known.kind == kind && known.status == status);
    match position.map(|position| &mut conditions[position]) {
        Some(known) if known.reason == reason && known.message == message => {}
        Some(known) => {
            reason.clone_into(&mut known.reason);
            message.clone_into(&mut known.message);
            known.last_update_time = Some(now);
        }
        None => set(conditions, kind, (status, reason, message), now),
    }
}

/// Takes a condition away.
pub(super) fn remove(conditions: &mut Vec<Condition>, kind: &str) {
    conditions.retain(|condition| condition.kind != kind);
}

/// A condition of this type.
pub(super) fn get<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.kind == kind)
}

/// A condition as it is written.
pub(super) fn written(condition: &Condition) -> Value {
    let Condition { kind, status, reason, message, last_transition_time, .. } = condition;
    let mut value =
        json!({ "type": kind, "status": status, "lastTransitionTime": time(*last_transition_time) });
    for (field, text) in [("reason", reason), ("message", message)] {
        if !text.is_empty() {
            value[field] = text.as_str().into();
        }
    }
    value
}

/// A time as it is written.
pub(super) fn time(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Null, |at| format_time(at).into())
}
