//! What a node tells of itself, as the Node object that Kubernetes' clients expect of a kubelet.
//!
//! Nothing here is a heartbeat: an object that already says all this stays as it is.

mod containers;
mod network;

use dunlin_api::{Quantity, time::format_time};
use dunlin_link::{
    Bytes, NodeName,
    node_state::{NodeImage, NodeState},
    status::{NodeFacts, NodeResources},
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::view::Effect;

pub use network::{forget_network, merge_network};

pub(crate) use containers::CONTAINERS_UNAVAILABLE;
pub(crate) use network::{NETWORK_UNAVAILABLE, POD_NETWORK_NOT_READY};

/// The Node object of a node that registers, ready, with labels and taints of its own configuration.
pub fn new_node(name: &NodeName, facts: &NodeFacts, now: Timestamp) -> Value {
    let mut node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": name.as_str(), "labels": Value::Object(labels(name, facts)) },
        "spec": {},
        "status": {},
    });
    if !facts.taints.is_empty() {
        let taints = facts.taints.iter().map(|(key, value, effect)| {
            let mut taint = json!({ "key": key, "effect": effect });
            if !value.is_empty() {
                taint["value"] = json!(value);
            }
            taint
        });
        node["spec"]["taints"] = taints.collect();
    }
    merge_status(&mut node, facts, now);
    node
}

/// Sets the labels that a node owns, leaving all others; taints are the operator's once the node exists. Says whether anything
/// changed.
pub fn merge_labels(node: &mut Value, name: &NodeName, facts: &NodeFacts) -> bool {
    let mut changed = false;
    let Some(stored) = object_at(&mut node["metadata"], "labels") else { return false };
    for (key, value) in labels(name, facts) {
        if stored.get(&key) != Some(&value) {
            stored.insert(key, value);
            changed = true;
        }
    }
    changed
}

/// Sets the status that a node owns, with all conditions well. Says whether anything changed.
pub fn merge_status(node: &mut Value, facts: &NodeFacts, now: Timestamp) -> bool {
    let Some(status) = object_at(node, "status") else { return false };
    let support = facts.containers.as_deref();
    let conditions = merged_conditions(status.get("conditions"), now);
    let fresh = [
        ("capacity", resources(&facts.capacity, &facts.huge_pages)),
        ("allocatable", resources(&facts.allocatable, &facts.huge_pages)),
        ("nodeInfo", node_info(facts)),
        ("addresses", addresses(facts)),
        ("conditions", containers::merge_condition(conditions, support, now)),
        ("runtimeHandlers", containers::runtime_handlers(support)),
        ("features", containers::features(support)),
    ];
    set(status, fresh)
}

/// Sets what a node tells of its state as a whole: pressures, whether it goes down, and its images. Says whether anything changed.
pub fn merge_state(node: &mut Value, state: &NodeState, now: Timestamp) -> bool {
    let Some(status) = object_at(node, "status") else { return false };
    let short = [state.memory_pressure, state.disk_pressure, state.pid_pressure];
    let mut wanted = WELL;
    for ((well, short), is_short) in wanted.iter_mut().zip(SHORT).zip(short) {
        if is_short {
            *well = short;
        }
    }
    if state.shutting_down {
        wanted[READY] = SHUTTING_DOWN;
    }
    let fresh = [
        ("conditions", conditions_of(status.get("conditions"), &wanted, now)),
        ("images", images(&state.images)),
    ];
    set(status, fresh)
}

/// Sets fields, or removes those that are null. Says whether anything changed.
fn set<const N: usize>(status: &mut Map<String, Value>, fresh: [(&str, Value); N]) -> bool {
    let mut changed = false;
    for (field, value) in fresh {
        if status.get(field).unwrap_or(&Value::Null) != &value {
            match value {
                Value::Null => status.remove(field),
                value => status.insert(field.to_owned(), value),
            };
            changed = true;
        }
    }
    changed
}

/// Makes every condition that a node owns unknown, because nothing is heard of it. Says whether anything changed.
pub fn mark_unknown(node: &mut Value, now: Timestamp) -> bool {
    let mut changed = false;
    for condition in node["status"]["conditions"].as_array_mut().into_iter().flatten() {
        let known = WELL.iter().any(|well| condition["type"] == well.kind);
        if known && condition["status"] != "Unknown" {
            condition["status"] = json!("Unknown");
            condition["reason"] = json!("NodeStatusUnknown");
            condition["message"] = json!("Kubelet stopped posting node status.");
            condition["lastTransitionTime"] = json!(format_time(now));
            changed = true;
        }
    }
    changed
}

/// Makes the conditions well that [`mark_unknown`] made unknown, as the node says when its session opens. Says whether anything
/// changed.
pub fn mark_known(node: &mut Value, now: Timestamp) -> bool {
    let Some(status) = object_at(node, "status") else { return false };
    let conditions = merged_conditions(status.get("conditions"), now);
    let changed = status.get("conditions") != Some(&conditions);
    status.insert("conditions".to_owned(), conditions);
    changed
}

/// Adds and removes taints, by key and effect. Says whether anything changed.
pub fn change_taints(
    node: &mut Value,
    add: &[(&str, Effect)],
    remove: &[(&str, Effect)],
    now: Timestamp,
) -> bool {
    let is = |taint: &Value, (key, effect): &(&str, Effect)| {
        taint["key"] == *key && taint["effect"] == effect.as_str()
    };
    let mut taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
    let before = taints.clone();
    taints.retain(|taint| !remove.iter().any(|removed| is(taint, removed)));
    for added in add {
        if !taints.iter().any(|taint| is(taint, added)) {
            taints.push(json!({ "key": added.0, "effect": added.1.as_str(), "timeAdded": format_time(now) }));
        }
    }
    if taints == before {
        return false;
    }
    if let Some(spec) = node["spec"].as_object_mut() {
        if taints.is_empty() {
            spec.remove("taints");
        } else {
            spec.insert("taints".to_owned(), Value::Array(taints));
        }
    }
    true
}

fn labels(name: &NodeName, facts: &NodeFacts) -> Map<String, Value> {
    let runtime = facts.runtime_version.split("://").next().unwrap_or_default();
    let own = [
        ("beta.kubernetes.io/arch", facts.architecture.as_str()),
        ("beta.kubernetes.io/os", &facts.operating_system),
        ("kubernetes.io/arch", &facts.architecture),
        ("kubernetes.io/hostname", name.as_str()),
        ("kubernetes.io/os", &facts.operating_system),
        ("dunlin.dev/runtime", runtime),
    ];
    let support = facts.containers.as_deref().map(containers::label);
    let configured = facts.labels.iter().map(|(key, value)| (key.clone(), json!(value)));
    // What the machine is cannot be configured away.
    let own = own.into_iter().chain(support);
    configured.chain(own.map(|(key, value)| (key.to_owned(), json!(value)))).collect()
}

/// Large pages are all for pods: what is reserved for the machine is memory of the usual kind.
fn resources(amounts: &NodeResources, huge_pages: &[(Bytes, Bytes)]) -> Value {
    let bytes = |bytes: u64| Quantity::from_bytes(i64::try_from(bytes).unwrap_or(i64::MAX)).to_string();
    let mut resources = json!({
        "cpu": Quantity::from_milli(i64::try_from(amounts.cpu.0).unwrap_or(i64::MAX)).to_string(),
        "memory": bytes(amounts.memory.0),
        "ephemeral-storage": bytes(amounts.ephemeral_storage.0),
        "pods": amounts.pods.to_string(),
    });
    for (page, all) in huge_pages {
        resources[format!("hugepages-{}", bytes(page.0))] = json!(bytes(all.0));
    }
    resources
}

fn node_info(facts: &NodeFacts) -> Value {
    json!({
        "machineID": facts.machine_id,
        "systemUUID": facts.machine_id,
        "bootID": facts.boot_id,
        "kernelVersion": facts.kernel_version,
        "osImage": facts.os_image,
        "containerRuntimeVersion": containers::runtime_version(facts),
        "kubeletVersion": kubelet_version(&facts.version),
        "kubeProxyVersion": "",
        "operatingSystem": facts.operating_system,
        "architecture": facts.architecture,
    })
}

/// Kubernetes' version, whose node clients take it for, with the node's own behind it.
fn kubelet_version(release: &str) -> String {
    format!("{KUBERNETES}+dunlin-{}", release.strip_prefix('v').unwrap_or(release))
}

fn images(images: &[NodeImage]) -> Value {
    let images = images.iter().map(|image| json!({ "names": image.names, "sizeBytes": image.size.0 }));
    let images: Vec<Value> = images.collect();
    if images.is_empty() { Value::Null } else { images.into() }
}

fn addresses(facts: &NodeFacts) -> Value {
    let addresses = facts.addresses.iter().map(|address| json!({ "type": "InternalIP", "address": address }));
    addresses.chain([json!({ "type": "Hostname", "address": facts.hostname })]).collect()
}

/// The conditions of a node whose session is open. What it runs short of, it tells apart: a shortage that was told stands until then.
fn merged_conditions(stored: Option<&Value>, now: Timestamp) -> Value {
    let mut wanted = WELL;
    let known = stored.and_then(Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
    for (well, short) in wanted.iter_mut().zip(SHORT) {
        if known.iter().any(|condition| condition["type"] == short.kind && condition["status"] == "True") {
            *well = short;
        }
    }
    conditions_of(stored, &wanted, now)
}

fn conditions_of(stored: Option<&Value>, wanted: &[Condition; 4], now: Timestamp) -> Value {
    let stored = stored.and_then(Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
    let find = |kind: &str| stored.iter().find(|condition| condition["type"] == kind);
    let own = wanted.iter().map(|Condition { kind, status, reason, message }| {
        let known = find(kind);
        if let Some(same) = known.filter(|known| {
            known["status"] == *status && known["reason"] == *reason && known["message"] == *message
        }) {
            return same.clone();
        }
        let time = json!(seconds(now));
        let transition =
            known.filter(|known| known["status"] == *status).map(|known| &known["lastTransitionTime"]);
        json!({
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastHeartbeatTime": time,
            "lastTransitionTime": transition.unwrap_or(&time),
        })
    });
    let foreign = stored.iter().filter(|condition| WELL.iter().all(|well| condition["type"] != well.kind));
    own.chain(foreign.cloned()).collect()
}

/// The object at `field`, made if there is none; `None` when the parent is no object.
fn object_at<'a>(parent: &'a mut Value, field: &str) -> Option<&'a mut Map<String, Value>> {
    let slot = parent.as_object_mut()?.entry(field).or_insert_with(|| json!({}));
    if !slot.is_object() {
        *slot = json!({});
    }
    slot.as_object_mut()
}

/// RFC 3339 in whole seconds, as Kubernetes writes times.
pub(crate) fn seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

/// A condition as a node has it.
#[derive(Clone, Copy)]
struct Condition {
    kind: &'static str,
    status: &'static str,
    reason: &'static str,
    message: &'static str,
}

impl Condition {
    const fn new(kind: &'static str, [status, reason, message]: [&'static str; 3]) -> Self {
        Self { kind, status, reason, message }
    }
}

/// Every condition of a node that is well, in kubelet's order and words.
const WELL: [Condition; 4] = [
    Condition::new(
        "MemoryPressure",
        ["False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"],
    ),
    Condition::new("DiskPressure", ["False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"]),
    Condition::new(
        "PIDPressure",
        ["False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"],
    ),
    Condition::new("Ready", ["True", "KubeletReady", "kubelet is posting ready status"]),
];

/// The same of one that runs short of something.
const SHORT: [Condition; 3] = [
    Condition::new(
        "MemoryPressure",
        ["True", "KubeletHasInsufficientMemory", "kubelet has insufficient memory available"],
    ),
    Condition::new("DiskPressure", ["True", "KubeletHasDiskPressure", "kubelet has disk pressure"]),
    Condition::new(
        "PIDPressure",
        ["True", "KubeletHasInsufficientPID", "kubelet has insufficient PID available"],
    ),
];

/// `Ready` of one that goes down.
const SHUTTING_DOWN: Condition =
    Condition::new("Ready", ["False", "KubeletNotReady", "node is shutting down"]);

/// The version of Kubernetes that nodes behave as.
const KUBERNETES: &str = "v1.36.2";

/// The place of `Ready` among the conditions.
const READY: usize = 3;

#[cfg(test)]
mod tests;
