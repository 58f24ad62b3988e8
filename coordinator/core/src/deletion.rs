//! What a delete does to an object, from the current object to the verdict.
//!
//! A pod that a node holds is marked first and removed when its node has stopped it; one that is removed before that leaves a
//! tombstone for its node. A mirror, which only shows what a node runs by itself, goes at once and stops nothing. A namespace ends with its contents, and everything else as its finalizers allow.

use dunlin_api::{Kind, kind::pod::mirror_of, time::format_time};
use dunlin_link::{NodeName, PodUid, UnixMillis, assignment::Tombstone};
use jiff::Timestamp;
use serde_json::Value;

use crate::times;

/// How objects of a kind end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// After a grace, on their node.
    Pod,
    /// With all that is in them.
    Namespace,
    /// At once.
    Plain,
    /// At once, leaving its dependents behind unless it is told otherwise.
    Leaving,
}

/// How to delete.
#[derive(Clone, Debug)]
pub struct Wish {
    /// `gracePeriodSeconds`; `None` leaves it to the object.
    pub grace_seconds: Option<i64>,
    /// `preconditions.uid`.
    pub uid: Option<String>,
    /// `preconditions.resourceVersion`.
    pub resource_version: Option<String>,
    /// What becomes of dependents.
    pub propagation: Propagation,
    /// Whether a pod that is removed leaves an order to its node.
    pub stop: Stop,
}

/// What becomes of objects that name the deleted one as their owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// As the object's finalizers say, else in the background.
    Default,
    /// They lose their owner first.
    Orphan,
    /// They are deleted first.
    Foreground,
    /// They are deleted later.
    Background,
}

/// Whether the node of a removed pod still has to stop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Yes: the order stays when the pod goes.
    Ordered,
    /// No: the node confirmed that it did.
    Confirmed,
}

/// What is to happen to the object.
#[derive(Debug)]
pub enum Verdict {
    /// Nothing; the answer is this object.
    Keep(Value),
    /// It becomes this.
    Put(Value),
    /// It is removed.
    Remove {
        /// Its last state, for the answer.
        last: Value,
        /// To be stored in the same transaction for its node, until that confirms.
        order: Option<(NodeName, Tombstone)>,
    },
}

/// A precondition names something else than what is there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {what} in the precondition ({wanted}) does not match the {what} in record ({recorded}). {hint}")]
pub struct Mismatch {
    what: &'static str,
    wanted: String,
    recorded: String,
    hint: &'static str,
}

impl Manner {
    /// How objects of `kind` end.
    pub fn of(kind: &Kind) -> Self {
        match (kind.group, kind.kind) {
            ("", "Pod") => Self::Pod,
            ("", "Namespace") => Self::Namespace,
            ("", "ReplicationController") | ("batch", "Job") => Self::Leaving,
            _ => Self::Plain,
        }
    }
}

/// What a delete does to an object.
///
/// # Errors
/// When another object was meant.
pub fn decide(manner: Manner, current: &Value, wish: &Wish, now: Timestamp) -> Result<Verdict, Mismatch> {
    check_preconditions(current, wish)?;
    if manner == Manner::Namespace {
        return Ok(decide_namespace(current, wish, now));
    }
    let mut marked = current.clone();
    let grace = match grace_of(manner, current, wish) {
        Grace::Pending => return Ok(Verdict::Keep(marked)),
        Grace::Seconds(seconds) => {
            mark(&mut marked, seconds, now);
            seconds
        }
        Grace::None => 0,
    };
    set_finalizers(&mut marked, propagation_of(manner, current, wish));
    if has_finalizers(&marked) {
        if marked["metadata"]["deletionTimestamp"].is_null() || grace == 0 {
            mark(&mut marked, 0, now);
        }
        return Ok(Verdict::Put(marked));
    }
    Ok(if grace > 0 { Verdict::Put(marked) } else { removal(manner, marked, wish.stop, now) })
}

/// What a change of an object comes to: it is removed when it is being deleted and this took the last thing that held it.
pub fn settle(manner: Manner, new: Value, now: Timestamp) -> Verdict {
    let metadata = &new["metadata"];
    let held_by_spec = manner == Manner::Namespace && has_any(&new["spec"]["finalizers"]);
    let grace_runs = metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or_default() > 0;
    let held = metadata["deletionTimestamp"].is_null() || has_finalizers(&new) || held_by_spec || grace_runs;
    if held { Verdict::Put(new) } else { removal(manner, new, Stop::Ordered, now) }
}

/// Removes an object whose deletion nothing holds up any more.
fn removal(manner: Manner, last: Value, stop: Stop, now: Timestamp) -> Verdict {
    let order = match stop {
        Stop::Ordered if manner == Manner::Pod && mirror_of(&last).is_none() => tombstone(&last, now),
        _ => None,
    };
    Verdict::Remove { last, order }
}

enum Grace {
    /// It is being deleted already, and not later than asked.
    Pending,
    /// The kind ends gracefully, after so long.
    Seconds(i64),
    /// The kind knows no grace, or its grace is over.
    None,
}

fn grace_of(manner: Manner, current: &Value, wish: &Wish) -> Grace {
    if manner != Manner::Pod {
        return Grace::None;
    }
    let metadata = &current["metadata"];
    if !metadata["deletionTimestamp"].is_null() {
        let running = metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or_default();
        return match wish.grace_seconds {
            _ if running == 0 => Grace::None,
            Some(asked) if asked < running => Grace::Seconds(asked),
            _ => Grace::Pending,
        };
    }
    let spec = &current["spec"];
    // No node stops anything for a mirror.
    let assigned =
        spec["nodeName"].as_str().is_some_and(|node| !node.is_empty()) && mirror_of(current).is_none();
    let ended = matches!(current["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if !assigned || ended {
        return Grace::Seconds(0);
    }
    let seconds =
        wish.grace_seconds.or_else(|| spec["terminationGracePeriodSeconds"].as_i64()).unwrap_or_default();
    Grace::Seconds(if seconds < 0 { 1 } else { seconds })
}

/// Marks an object as being deleted with this grace; a second time only shortens the first.
fn mark(object: &mut Value, grace_seconds: i64, now: Timestamp) {
    let metadata = &mut object["metadata"];
    let running = metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or_default();
    let earlier = metadata["deletionTimestamp"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let started = match earlier {
        Some(end) => started(metadata, end, running).unwrap_or(now),
        None => {
            if let Some(generation) = metadata["generation"].as_i64() {
                metadata["generation"] = (generation + 1).into();
            }
            now
        }
    };
    let end = times::after(started, times::seconds(grace_seconds));
    metadata["deletionTimestamp"] = format_time(end).into();
    metadata["deletionGracePeriodSeconds"] = grace_seconds.into();
}

/// When a deletion began that ends so. `None` where the end is not the sum of the two: no time is as late as that would be.
fn started(metadata: &Value, end: Timestamp, running: i64) -> Option<Timestamp> {
    let created = metadata["creationTimestamp"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let started = times::before(end, times::seconds(running));
    (created.unwrap_or(Timestamp::UNIX_EPOCH) <= started).then_some(started)
}

fn propagation_of(manner: Manner, current: &Value, wish: &Wish) -> Propagation {
    let finalizers = current["metadata"]["finalizers"].as_array();
    let is_decided = finalizers.is_some_and(|finalizers| finalizers.iter().any(decides_for_dependents));
    match wish.propagation {
        Propagation::Default if manner == Manner::Leaving && !is_decided => Propagation::Orphan,
        asked => asked,
    }
}

/// What becomes of the dependents of an object that goes because its owner does: what it says itself, else what is asked.
pub fn inherited(object: &Value, asked: Propagation) -> Propagation {
    let finalizers = object["metadata"]["finalizers"].as_array();
    let has = |wanted: &str| finalizers.is_some_and(|all| all.iter().any(|finalizer| finalizer == wanted));
    if has("orphan") {
        Propagation::Orphan
    } else if has("foregroundDeletion") {
        Propagation::Foreground
    } else {
        asked
    }
}

fn decides_for_dependents(finalizer: &Value) -> bool {
    finalizer == "orphan" || finalizer == "foregroundDeletion"
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
    finalizers.retain(|finalizer| !decides_for_dependents(finalizer));
    finalizers.extend(wanted.map(Value::from));
    if finalizers.is_empty() {
        metadata.as_object_mut().map(|fields| fields.remove("finalizers"));
    } else {
        metadata["finalizers"] = finalizers.into();
    }
}

fn decide_namespace(current: &Value, wish: &Wish, now: Timestamp) -> Verdict {
    let mut namespace = current.clone();
    if namespace["metadata"]["deletionTimestamp"].is_null() {
        namespace["metadata"]["deletionTimestamp"] = format_time(now).into();
        namespace["status"]["phase"] = "Terminating".into();
        set_finalizers(&mut namespace, wish.propagation);
        return Verdict::Put(namespace);
    }
    let held = has_any(&namespace["spec"]["finalizers"]) || has_finalizers(&namespace);
    if held { Verdict::Keep(namespace) } else { Verdict::Remove { last: namespace, order: None } }
}

fn check_preconditions(current: &Value, wish: &Wish) -> Result<(), Mismatch> {
    let metadata = &current["metadata"];
    let check = |what, wanted: &Option<String>, field: &str, hint| match wanted {
        Some(wanted) if metadata[field] != wanted.as_str() => {
            let recorded = metadata[field].as_str().unwrap_or_default().to_owned();
            Err(Mismatch { what, wanted: wanted.clone(), recorded, hint })
        }
        _ => Ok(()),
    };
    check("UID", &wish.uid, "uid", "The object might have been deleted and then recreated")?;
    check("ResourceVersion", &wish.resource_version, "resourceVersion", "The object might have been modified")
}

/// The order that outlives a pod: its node must stop it, whenever it hears of it.
fn tombstone(pod: &Value, now: Timestamp) -> Option<(NodeName, Tombstone)> {
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
    Some((NodeName::new(node), tombstone))
}

fn has_finalizers(object: &Value) -> bool {
    has_any(&object["metadata"]["finalizers"])
}

fn has_any(list: &Value) -> bool {
    list.as_array().is_some_and(|entries| !entries.is_empty())
}

#[cfg(test)]
mod tests {
    use dunlin_api::kind::pod::MIRROR;
    use serde_json::json;

    use super::*;

    fn wish(propagation: Propagation) -> Wish {
        Wish { grace_seconds: None, uid: None, resource_version: None, propagation, stop: Stop::Ordered }
    }

    #[test]
    fn a_mirror_goes_at_once_and_orders_nothing() {
        let check = |annotations: Value, finalizers: Value, expected: &str| {
            let pod = json!({
                "metadata": {
                    "name": "p", "namespace": "d", "uid": "u", "annotations": annotations, "finalizers": finalizers,
                },
                "spec": { "nodeName": "n", "terminationGracePeriodSeconds": 30 },
                "status": { "phase": "Running" },
            });
            let found = match decide(Manner::Pod, &pod, &wish(Propagation::Background), Timestamp::UNIX_EPOCH)
            {
                Ok(Verdict::Put(pod)) => {
                    let grace = &pod["metadata"]["deletionGracePeriodSeconds"];
                    format!("marked with {grace}")
                }
                Ok(Verdict::Remove { order: None, .. }) => "removed".to_owned(),
                other => format!("{other:?}"),
            };
            assert_eq!(found, expected);
        };
        check(json!({}), json!([]), "marked with 30");
        check(json!({ MIRROR: "x" }), json!([]), "removed");
        check(json!({ MIRROR: "x" }), json!(["example.com/wait"]), "marked with 0");
    }

    #[test]
    fn a_grace_longer_than_any_time_can_be_shortened() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        for grace in [i64::MAX, 250_000_000_000, 30] {
            let pod = json!({
                "metadata": { "name": "p", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z" },
                "spec": { "nodeName": "n", "terminationGracePeriodSeconds": grace },
            });
            let Ok(Verdict::Put(marked)) = decide(Manner::Pod, &pod, &wish(Propagation::Background), now)
            else {
                panic!("{pod} is not marked");
            };
            assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], grace);
            let sooner = Wish { grace_seconds: Some(5), ..wish(Propagation::Background) };
            let Ok(Verdict::Put(again)) = decide(Manner::Pod, &marked, &sooner, now) else {
                panic!("{marked} is not marked again");
            };
            assert_eq!(again["metadata"]["deletionTimestamp"], "2026-01-02T03:04:10Z", "{grace}");
            let at_once = Wish { grace_seconds: Some(0), ..wish(Propagation::Background) };
            assert!(matches!(decide(Manner::Pod, &marked, &at_once, now), Ok(Verdict::Remove { .. })));
        }
    }

    #[test]
    fn some_kinds_leave_their_dependents_behind_unless_told_otherwise() {
        let check = |manner, finalizers: Value, propagation, expected: Value| {
            let current = json!({"metadata": {"uid": "u", "generation": 1, "finalizers": finalizers}});
            let left = match decide(manner, &current, &wish(propagation), Timestamp::UNIX_EPOCH) {
                Ok(Verdict::Put(marked)) => marked["metadata"]["finalizers"].clone(),
                Ok(Verdict::Remove { .. }) => json!([]),
                other => panic!("{other:?}"),
            };
            assert_eq!(left, expected);
        };
        check(Manner::Leaving, json!([]), Propagation::Default, json!(["orphan"]));
        check(Manner::Plain, json!([]), Propagation::Default, json!([]));
        check(Manner::Leaving, json!([]), Propagation::Background, json!([]));
        check(
            Manner::Leaving,
            json!(["foregroundDeletion"]),
            Propagation::Default,
            json!(["foregroundDeletion"]),
        );
    }
    #[test]
    fn what_goes_with_its_owner_takes_its_own_along_unless_it_says_otherwise() {
        let check = |finalizers: Value, asked, expected| {
            let object = json!({ "metadata": { "finalizers": finalizers } });
            assert_eq!(inherited(&object, asked), expected, "{object}");
        };
        check(Value::Null, Propagation::Background, Propagation::Background);
        check(json!(["example.com/x"]), Propagation::Foreground, Propagation::Foreground);
        check(json!(["foregroundDeletion"]), Propagation::Background, Propagation::Foreground);
        check(json!(["orphan"]), Propagation::Foreground, Propagation::Orphan);
    }
}
