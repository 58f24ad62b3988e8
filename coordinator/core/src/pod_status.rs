//! Merges what a node reports of a pod into the pod's status, in the form that Kubernetes' clients expect of a kubelet.
//!
//! The node owns phase, reason, message, addresses, container statuses and its own condition types; whatever else is in the
//! status stays. A report that says nothing new changes nothing, so that nothing is written.

mod containers;
mod gates;

use std::borrow::Cow;

use dunlin_link::status::{ContainerStatus, PodCondition, PodConditionKind, PodPhase, PodStatusReport};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

pub use self::gates::settle as settle_gates;

use self::containers::{Clock, container_status};
use crate::node_status::seconds;

/// Merges a report into a pod. Its times are shifted by `clock_offset_ms` to the coordinator's clock. Says whether the pod
/// changed.
pub fn merge(pod: &mut Value, report: &PodStatusReport, clock_offset_ms: i64) -> bool {
    let stored = pod.get("status").and_then(Value::as_object).cloned().unwrap_or_default();
    if finished(&stored) && !matches!(report.phase, PodPhase::Succeeded | PodPhase::Failed) {
        return false;
    }
    let clock = Clock { offset_ms: clock_offset_ms };
    let mut status = stored.clone();
    set(&mut status, "observedGeneration", Some(json!(report.observed_generation)));
    set(&mut status, "phase", Some(json!(phase(report.phase))));
    set(&mut status, "reason", text(&report.reason));
    set(&mut status, "message", text(&report.message));
    set(&mut status, "conditions", Some(conditions(pod, stored.get("conditions"), report, clock)));
    set(&mut status, "hostIP", text(&report.host_ip));
    set(&mut status, "hostIPs", addresses(&report.host_ip));
    set(&mut status, "podIP", text(&report.pod_ip));
    set(&mut status, "podIPs", addresses(&report.pod_ip));
    if !status.contains_key("startTime") {
        set(&mut status, "startTime", report.start_time.map(|time| clock.time(time)));
    }
    let (containers, added) = apart(pod, &report.containers);
    let init = report.init_containers.iter().collect();
    for (field, containers) in
        [("initContainerStatuses", init), ("containerStatuses", containers), (ADDED, added)]
    {
        let known = stored.get(field).and_then(Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
        let mut list: Vec<Value> =
            containers.into_iter().map(|container| container_status(container, known, clock)).collect();
        if field == ADDED {
            // A kubelet does not say of them whether they started.
            list.iter_mut()
                .filter_map(Value::as_object_mut)
                .for_each(|status| drop(status.remove("started")));
        }
        set(&mut status, field, (!list.is_empty()).then_some(Value::Array(list)));
    }
    let merged = store(pod, stored, status);
    // In the order of the conditions that others set: after the node's own.
    merged | mark_disrupted(pod, report, clock)
}

/// Those of `spec.containers`, and those that were added to the pod, which nodes tell in one list.
fn apart<'a>(
    pod: &Value,
    told: &'a [ContainerStatus],
) -> (Vec<&'a ContainerStatus>, Vec<&'a ContainerStatus>) {
    let added = pod["spec"]["ephemeralContainers"].as_array();
    let is_added = |status: &&ContainerStatus| {
        added.into_iter().flatten().any(|container| container["name"] == status.name.as_str())
    };
    let (added, containers) = told.iter().partition(is_added);
    (containers, added)
}

/// A pod that its node ended before its time says so, for whoever counts failures.
fn mark_disrupted(pod: &mut Value, report: &PodStatusReport, clock: Clock) -> bool {
    let is_ended = report.phase == PodPhase::Failed && ENDED_BY_NODE.contains(&report.reason.as_str());
    let words = ("True", "TerminationByKubelet", report.message.as_str());
    is_ended && set_condition(pod, "DisruptionTarget", words, clock.latest(report))
}

/// Marks a pod Failed that its node refused to run. Says whether the pod changed.
pub fn refuse(pod: &mut Value, reason: &str, message: &str, now: Timestamp) -> bool {
    let stored = pod.get("status").and_then(Value::as_object).cloned().unwrap_or_default();
    if finished(&stored) {
        return false;
    }
    let mut status = stored.clone();
    set(&mut status, "phase", Some(json!("Failed")));
    set(&mut status, "reason", text(reason));
    set(&mut status, "message", text(message));
    if !status.contains_key("startTime") {
        set(&mut status, "startTime", Some(json!(seconds(now))));
    }
    store(pod, stored, status)
}

/// Sets a condition of the coordinator's own; the time of its last transition changes with its status only. Says whether the pod
/// changed.
pub fn set_condition(
    pod: &mut Value,
    kind: &str,
    (status, reason, message): (&str, &str, &str),
    now: Timestamp,
) -> bool {
    let stored = pod.get("status").and_then(Value::as_object).cloned().unwrap_or_default();
    let generation = pod["metadata"]["generation"].as_i64();
    let mut list = stored.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let known = list.iter().position(|condition| condition["type"] == kind);
    let transition = known
        .map(|index| &list[index])
        .filter(|known| known["status"] == status)
        .map_or_else(|| json!(seconds(now)), |known| known["lastTransitionTime"].clone());
    let mut condition = json!({
        "type": kind,
        "status": status,
        "lastProbeTime": null,
        "lastTransitionTime": transition,
    });
    for (field, value) in [
        ("reason", text(reason)),
        ("message", text(message)),
        ("observedGeneration", generation.map(Value::from)),
    ] {
        if let Some(value) = value {
            condition[field] = value;
        }
    }
    match known {
        Some(index) => list[index] = condition,
        None => list.push(condition),
    }
    let mut status = stored.clone();
    set(&mut status, "conditions", Some(Value::Array(list)));
    store(pod, stored, status)
}

/// Sets or removes `status.nominatedNodeName`. Says whether the pod changed.
pub fn set_nominated(pod: &mut Value, node: Option<&str>) -> bool {
    let stored = pod.get("status").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut status = stored.clone();
    set(&mut status, "nominatedNodeName", node.map(Value::from));
    store(pod, stored, status)
}

/// Sets `Ready` to false because the pod's node is not heard of, leaving its containers' own conditions. Says whether the pod
/// changed.
pub fn mark_node_lost(pod: &mut Value, now: Timestamp) -> bool {
    let ready = condition_status(pod, "Ready").is_some_and(|ready| ready == "True");
    ready && set_condition(pod, "Ready", ("False", REASON_NODE_LOST, ""), now)
}

/// What makes a pod Failed that nobody will report on any more, as a strategic merge patch, with a condition that says why if there is
/// something to say.
pub fn failure_patch(uid: &str, why: Option<(&str, &str)>, now: Timestamp) -> Value {
    let mut status = json!({ "phase": "Failed" });
    if let Some((reason, message)) = why {
        status["conditions"] = json!([{
            "type": "DisruptionTarget",
            "status": "True",
            "reason": reason,
            "message": message,
            "lastTransitionTime": seconds(now),
        }]);
    }
    json!({ "metadata": { "uid": uid }, "status": status })
}

/// Takes [`mark_node_lost`] back for a pod whose node is heard of again. Says whether the pod changed.
pub fn mark_node_found(pod: &mut Value, now: Timestamp) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    let lost = conditions.is_some_and(|conditions| {
        conditions
            .iter()
            .any(|condition| condition["type"] == "Ready" && condition["reason"] == REASON_NODE_LOST)
    });
    let well = condition_status(pod, "ContainersReady").is_some_and(|ready| ready == "True");
    if !(lost && well) {
        return false;
    }
    let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let (ready, reason, message) = gates::verdict(pod, &conditions);
    let status = if ready { "True" } else { "False" };
    set_condition(pod, "Ready", (status, &reason, &message), now)
}

fn condition_status<'a>(pod: &'a Value, kind: &str) -> Option<&'a str> {
    let conditions = pod["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind)?["status"].as_str()
}

fn finished(status: &Map<String, Value>) -> bool {
    matches!(status.get("phase").and_then(Value::as_str), Some("Succeeded" | "Failed"))
}

fn store(pod: &mut Value, stored: Map<String, Value>, status: Map<String, Value>) -> bool {
    let changed = stored != status;
    if changed {
        pod["status"] = Value::Object(status);
    }
    changed
}

fn set(status: &mut Map<String, Value>, field: &str, value: Option<Value>) {
    match value {
        Some(value) => {
            status.insert(field.to_owned(), value);
        }
        None => {
            status.remove(field);
        }
    }
}

fn text(text: &str) -> Option<Value> {
    (!text.is_empty()).then(|| json!(text))
}

fn addresses(address: &str) -> Option<Value> {
    (!address.is_empty()).then(|| json!([{ "ip": address }]))
}

fn phase(phase: PodPhase) -> &'static str {
    match phase {
        PodPhase::Pending => "Pending",
        PodPhase::Running => "Running",
        PodPhase::Succeeded => "Succeeded",
        PodPhase::Failed => "Failed",
    }
}

/// The node's conditions in kubelet's order, then all that are not the node's in their stored order.
fn conditions(pod: &Value, stored: Option<&Value>, report: &PodStatusReport, clock: Clock) -> Value {
    let stored = stored.and_then(Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
    let mut list = Vec::with_capacity(stored.len() + report.conditions.len());
    for (kind, name) in OWNED {
        if let Some(fresh) = report.conditions.iter().find(|condition| condition.kind == kind) {
            let known = stored.iter().find(|condition| condition["type"] == name);
            let fresh = gated(fresh, pod, stored);
            list.push(condition(&fresh, name, known, report.observed_generation, clock));
        }
    }
    let foreign = stored.iter().filter(|condition| OWNED.iter().all(|(_, name)| condition["type"] != *name));
    list.extend(foreign.cloned());
    Value::Array(list)
}

/// The condition as the node tells it; `Ready` waits for the pod's gates besides.
fn gated<'a>(fresh: &'a PodCondition, pod: &Value, stored: &[Value]) -> Cow<'a, PodCondition> {
    if fresh.kind != PodConditionKind::Ready || !fresh.status {
        return Cow::Borrowed(fresh);
    }
    match gates::verdict(pod, stored) {
        (true, ..) => Cow::Borrowed(fresh),
        (status, reason, message) => Cow::Owned(PodCondition { status, reason, message, ..fresh.clone() }),
    }
}

fn condition(
    fresh: &PodCondition,
    name: &str,
    known: Option<&Value>,
    observed_generation: i64,
    clock: Clock,
) -> Value {
    let status = if fresh.status { "True" } else { "False" };
    let transition = known
        .filter(|known| known["status"] == status)
        .map_or_else(|| clock.time(fresh.last_transition), |known| known["lastTransitionTime"].clone());
    let mut condition = json!({
        "type": name,
        "status": status,
        "lastProbeTime": null,
        "lastTransitionTime": transition,
        "observedGeneration": observed_generation,
    });
    for (field, value) in [("reason", &fresh.reason), ("message", &fresh.message)] {
        if let Some(value) = text(value) {
            condition[field] = value;
        }
    }
    condition
}

/// The condition types that a node owns, in kubelet's order.
const OWNED: [(PodConditionKind, &str); 5] = [
    (PodConditionKind::PodReadyToStartContainers, "PodReadyToStartContainers"),
    (PodConditionKind::Initialized, "Initialized"),
    (PodConditionKind::Ready, "Ready"),
    (PodConditionKind::ContainersReady, "ContainersReady"),
    (PodConditionKind::FieldsIgnored, "dunlin.dev/FieldsIgnored"),
];

/// Where the statuses of containers are that were added to a pod.
const ADDED: &str = "ephemeralContainerStatuses";

/// Reasons of pods that failed because their node ended them.
const ENDED_BY_NODE: [&str; 2] = ["Evicted", "Terminated"];

/// Reason of `Ready` on pods whose node is not heard of.
pub(crate) const REASON_NODE_LOST: &str = "NodeNotReady";

#[cfg(test)]
mod tests;
