//! What a delete does to an object: pure, from the current object to the decision.

use dunlin_api::{Status, time::format_time};
use dunlin_link::{NodeName, PodUid, UnixMillis, assignment::Tombstone};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{
    service::{
        ObjectRef,
        change::Decision,
        delete_options::{DeleteOptions, Propagation, Stop},
    },
    store::Write,
};

/// What a delete does to an object.
pub(super) fn decide(
    object: ObjectRef<'_>,
    current: &Value,
    options: &DeleteOptions,
    now: Timestamp,
) -> Result<Decision, Status> {
    check_preconditions(object, current, options)?;
    if is_kind(object, "Namespace") {
        return Ok(decide_namespace(current, options, now));
    }
    let mut marked = current.clone();
    let grace = match grace_of(object, current, options) {
        Grace::Pending => return Ok(Decision::Keep(marked)),
        Grace::Seconds(seconds) => {
            mark(&mut marked, seconds, now);
            seconds
        }
        Grace::None => 0,
    };
    set_finalizers(&mut marked, options.propagation);
    if has_finalizers(&marked) {
        if marked["metadata"]["deletionTimestamp"].is_null() || grace == 0 {
            mark(&mut marked, 0, now);
        }
        return Ok(Decision::Put(marked));
    }
    if grace > 0 { Ok(Decision::Put(marked)) } else { Ok(removal(object, marked, options.stop, now)) }
}

/// Removes an object whose deletion nothing holds up any more.
pub(in crate::service) fn removal(
    object: ObjectRef<'_>,
    last: Value,
    stop: Stop,
    now: Timestamp,
) -> Decision {
    let also = match stop {
        Stop::Ordered if is_kind(object, "Pod") => tombstone(&last, now).into_iter().collect(),
        _ => Vec::new(),
    };
    Decision::Remove { last, also }
}

/// Whether an object that was changed is to be removed instead: it is being deleted, and this took the last thing that held it.
pub(in crate::service) fn is_released(object: ObjectRef<'_>, new: &Value) -> bool {
    let metadata = &new["metadata"];
    let held_by_spec = is_kind(object, "Namespace") && has_any(&new["spec"]["finalizers"]);
    let grace_runs = metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or_default() > 0;
    !metadata["deletionTimestamp"].is_null() && !has_finalizers(new) && !held_by_spec && !grace_runs
}

enum Grace {
    /// It is being deleted already, and not later than asked.
    Pending,
    /// The kind ends gracefully, after so long.
    Seconds(i64),
    /// The kind knows no grace, or its grace is over.
    None,
}

fn grace_of(object: ObjectRef<'_>, current: &Value, options: &DeleteOptions) -> Grace {
    if !is_kind(object, "Pod") {
        return Grace::None;
    }
    let metadata = &current["metadata"];
    if !metadata["deletionTimestamp"].is_null() {
        let running = metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or_default();
        return match options.grace_seconds {
            _ if running == 0 => Grace::None,
            Some(asked) if asked < running => Grace::Seconds(asked),
            _ => Grace::Pending,
        };
    }
    let spec = &current["spec"];
    let assigned = spec["nodeName"].as_str().is_some_and(|node| !node.is_empty());
    let ended = matches!(current["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if !assigned || ended {
        return Grace::Seconds(0);
    }
    let seconds =
        options.grace_seconds.or_else(|| spec["terminationGracePeriodSeconds"].as_i64()).unwrap_or_default();
    Grace::Seconds(if seconds < 0 { 1 } else { seconds })
}

/// Marks an object as being deleted with this grace; a second time only shortens the first.
fn mark(object: &mut Value, grace_seconds: i64, now: Timestamp) {
    let metadata = &mut object["metadata"];
    let running = metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or_default();
    let earlier = metadata["deletionTimestamp"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let started = match earlier {
        Some(end) => end - SignedDuration::from_secs(running),
        None => {
            if let Some(generation) = metadata["generation"].as_i64() {
                metadata["generation"] = (generation + 1).into();
            }
            now
        }
    };
    let end = started.saturating_add(SignedDuration::from_secs(grace_seconds)).unwrap_or(Timestamp::MAX);
    metadata["deletionTimestamp"] = format_time(end).into();
    metadata["deletionGracePeriodSeconds"] = grace_seconds.into();
}

/// Kubernetes' finalizers that make the garbage collector look at dependents first.
fn set_finalizers(object: &mut Value, propagation: Propagation) {
    let wanted = match propagation {
        Propagation::Default => return,
        Propagation::Orphan => Some("orphan"),
        Propagation::Foreground => Some("foregroundDeletion"),
        Propagation::Background => None,
    };
    let metadata = &mut object["metadata"];
    let mut finalizers = metadata["finalizers"].as_array().cloned().unwrap_or_default();
    finalizers.retain(|finalizer| finalizer != "orphan" && finalizer != "foregroundDeletion");
    finalizers.extend(wanted.map(Value::from));
    if finalizers.is_empty() {
        metadata.as_object_mut().map(|fields| fields.remove("finalizers"));
    } else {
        metadata["finalizers"] = finalizers.into();
    }
}

fn decide_namespace(current: &Value, options: &DeleteOptions, now: Timestamp) -> Decision {
    let mut namespace = current.clone();
    if namespace["metadata"]["deletionTimestamp"].is_null() {
        namespace["metadata"]["deletionTimestamp"] = format_time(now).into();
        namespace["status"]["phase"] = "Terminating".into();
        set_finalizers(&mut namespace, options.propagation);
        return Decision::Put(namespace);
    }
    let held = has_any(&namespace["spec"]["finalizers"]) || has_finalizers(&namespace);
    if held { Decision::Keep(namespace) } else { Decision::Remove { last: namespace, also: Vec::new() } }
}

fn check_preconditions(
    object: ObjectRef<'_>,
    current: &Value,
    options: &DeleteOptions,
) -> Result<(), Status> {
    let metadata = &current["metadata"];
    let check = |what: &str, wanted: &Option<String>, field: &str, hint: &str| match wanted {
        Some(wanted) if metadata[field] != wanted.as_str() => {
            let recorded = metadata[field].as_str().unwrap_or_default();
            let detail = format!(
                "the {what} in the precondition ({wanted}) does not match the {what} in record ({recorded}). {hint}"
            );
            Err(conflict_of_kind(object, &detail))
        }
        _ => Ok(()),
    };
    check("UID", &options.uid, "uid", "The object might have been deleted and then recreated")?;
    check(
        "ResourceVersion",
        &options.resource_version,
        "resourceVersion",
        "The object might have been modified",
    )
}

/// A conflict that names the kind instead of the resource, as Kubernetes' preconditions do.
fn conflict_of_kind(object: ObjectRef<'_>, detail: &str) -> Status {
    let mut status = Status::conflict(object.kind, object.name, detail);
    let message =
        format!("Operation cannot be fulfilled on {} \"{}\": {detail}", object.kind.kind, object.name);
    status.0["message"] = message.into();
    status.0["details"]["kind"] = object.kind.kind.into();
    status
}

/// The order that outlives a pod: its node must stop it, whenever it hears of it.
fn tombstone(pod: &Value, now: Timestamp) -> Option<Write> {
    let node = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty())?;
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
    let grace = pod["metadata"]["deletionGracePeriodSeconds"].as_u64().unwrap_or_default();
    let tombstone = Tombstone {
        uid: PodUid::new(text("uid")),
        namespace: text("namespace"),
        name: text("name"),
        grace_seconds: u32::try_from(grace).unwrap_or(u32::MAX),
        requested_at: UnixMillis(now.as_millisecond()),
    };
    let key = tombstone_key(&NodeName::new(node), &tombstone.uid);
    let value = serde_json::to_vec(&tombstone).expect("strings and numbers are JSON");
    Some(Write::Put(key, value.into()))
}

/// Where the order to stop a removed pod is kept until its node confirms it; the value is a JSON [`Tombstone`].
pub fn tombstone_key(node: &NodeName, uid: &PodUid) -> String {
    format!("{TOMBSTONES_PREFIX}{node}/{uid}")
}

pub(super) fn is_kind(object: ObjectRef<'_>, kind: &str) -> bool {
    object.kind.group.is_empty() && object.kind.kind == kind
}

fn has_finalizers(object: &Value) -> bool {
    has_any(&object["metadata"]["finalizers"])
}

fn has_any(list: &Value) -> bool {
    list.as_array().is_some_and(|entries| !entries.is_empty())
}

/// Orders to stop pods that are gone from the API, by node and uid.
pub const TOMBSTONES_PREFIX: &str = "/dunlin/tombstones/";
