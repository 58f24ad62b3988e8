//! Whether a node runs Linux containers, as its object says it: a label, a condition, and what Kubernetes has of runtimes.

use dunlin_link::{container_support::ContainerSupport, status::NodeFacts};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::seconds;

/// Label of a node that says whether it runs Linux containers: `true` or `false`.
const CONTAINERS_LABEL: &str = "dunlin.dev/containers";

/// The label's key and value.
pub(super) fn label(support: &ContainerSupport) -> (&'static str, &'static str) {
    let runs = matches!(support, ContainerSupport::Runs { .. });
    (CONTAINERS_LABEL, if runs { "true" } else { "false" })
}

/// `containerRuntimeVersion`: the runtime of modules, and that of containers in brackets.
pub(super) fn runtime_version(facts: &NodeFacts) -> String {
    match facts.containers.as_deref() {
        Some(ContainerSupport::Runs { runtime, version, .. }) => {
            format!("{} ({runtime} {version})", facts.runtime_version)
        }
        _ => facts.runtime_version.clone(),
    }
}

/// `status.runtimeHandlers`: the usual one, which has no name, and the same by its name.
pub(super) fn runtime_handlers(support: Option<&ContainerSupport>) -> Value {
    let Some(ContainerSupport::Runs { runtime, recursive_read_only, .. }) = support else {
        return Value::Null;
    };
    let handler = |name: &str| json!({ "name": name, "features": { "recursiveReadOnlyMounts": recursive_read_only, "userNamespaces": false } });
    json!([handler(""), handler(runtime)])
}

/// `status.features`.
pub(super) fn features(support: Option<&ContainerSupport>) -> Value {
    match support {
        Some(ContainerSupport::Runs { .. }) => json!({ "supplementalGroupsPolicy": true }),
        _ => Value::Null,
    }
}

/// Sets the condition among others, or takes it away where the node says nothing of it.
pub(super) fn merge_condition(
    mut conditions: Value,
    support: Option<&ContainerSupport>,
    now: Timestamp,
) -> Value {
    let told = support.map(|support| match support {
        ContainerSupport::Runs { runtime, .. } => {
            ("False", "RuntimeReady", format!("Linux containers are run by {runtime}"))
        }
        ContainerSupport::Lacks { reason, message } => ("True", reason.as_str(), message.clone()),
    });
    if let Some(list) = conditions.as_array_mut() {
        set_condition(list, CONTAINERS_UNAVAILABLE, told, now);
    }
    conditions
}

/// Sets one that [`super::WELL`] does not have among others, or takes it away where nothing is told of it.
pub(super) fn set_condition(
    list: &mut Vec<Value>,
    kind: &str,
    told: Option<(&str, &str, String)>,
    now: Timestamp,
) {
    let place = list.iter().position(|condition| condition["type"] == kind);
    let stored = place.map(|place| list.remove(place));
    let Some((status, reason, message)) = told else { return };
    let is_same = |known: &&Value| {
        known["status"] == status && known["reason"] == reason && known["message"] == *message
    };
    let condition = stored.as_ref().filter(is_same).cloned().unwrap_or_else(|| {
        let time = json!(seconds(now));
        let kept = stored.as_ref().filter(|known| known["status"] == status);
        let transition = kept.map_or(&time, |known| &known["lastTransitionTime"]);
        json!({
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastHeartbeatTime": time,
            "lastTransitionTime": transition,
        })
    });
    list.insert(place.unwrap_or(list.len()), condition);
}

/// Type of the condition: as problem detectors have it, `True` is bad.
pub(crate) const CONTAINERS_UNAVAILABLE: &str = "ContainersUnavailable";
