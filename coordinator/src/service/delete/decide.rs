//! Deletion as the core decides it, between the API's options and the store's writes.

use dunlin_api::Status;
use dunlin_coordinator_core::{
    deletion::{self, Manner, Mismatch, Verdict},
    dispatch::tombstone_key,
};
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    service::{ObjectRef, change::Decision, delete_options::DeleteOptions},
    store::Write,
};

/// What a delete does to an object.
pub(in crate::service) fn decide(
    object: ObjectRef<'_>,
    current: &Value,
    options: &DeleteOptions,
    now: Timestamp,
) -> Result<Decision, Status> {
    deletion::decide(Manner::of(object.kind), current, &options.wish, now)
        .map(decision)
        .map_err(|mismatch| conflict(object, &mismatch))
}

/// Writes a changed object, or removes it when the change took the last thing that held its deletion up.
pub(in crate::service) fn settle(object: ObjectRef<'_>, new: Value, now: Timestamp) -> Decision {
    decision(deletion::settle(Manner::of(object.kind), new, now))
}

fn decision(verdict: Verdict) -> Decision {
    match verdict {
        Verdict::Keep(object) => Decision::Keep(object),
        Verdict::Put(object) => Decision::Put(object),
        Verdict::Remove { last, order } => {
            let order = order.map(|(node, tombstone)| {
                let value = serde_json::to_vec(&tombstone).expect("strings and numbers are JSON");
                Write::Put(tombstone_key(&node, &tombstone.uid), value.into())
            });
            Decision::Remove { last, also: order.into_iter().collect() }
        }
    }
}

/// A conflict that names the kind instead of the resource, as Kubernetes' preconditions do.
fn conflict(object: ObjectRef<'_>, mismatch: &Mismatch) -> Status {
    let detail = mismatch.to_string();
    let mut status = Status::conflict(object.kind, object.name, &detail);
    let message =
        format!("Operation cannot be fulfilled on {} \"{}\": {detail}", object.kind.kind, object.name);
    status.0["message"] = message.into();
    status.0["details"]["kind"] = object.kind.kind.into();
    status
}
