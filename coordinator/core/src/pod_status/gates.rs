//! Readiness gates: conditions of others that a pod's `Ready` waits for.
//!
//! Nodes know no gates: they tell of containers alone. Whether the pod is ready follows here, whenever either side changes.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::node_status::seconds;

/// Status, reason and message of `Ready`, where the node says that it is true, of a pod with these conditions.
pub(super) fn verdict(pod: &Value, conditions: &[Value]) -> (bool, String, String) {
    let gates = pod["spec"]["readinessGates"].as_array().map_or(&[] as &[Value], Vec::as_slice);
    let held_back: Vec<String> = gates
        .iter()
        .filter_map(|gate| {
            let kind = gate["conditionType"].as_str().unwrap_or_default();
            let found = conditions.iter().find(|condition| condition["type"] == kind);
            match found.map(|condition| condition["status"].as_str().unwrap_or_default()) {
                Some("True") => None,
                Some(other) => {
                    Some(format!("the status of pod readiness gate \"{kind}\" is not \"True\", but {other}"))
                }
                None => {
                    Some(format!("corresponding condition of pod readiness gate \"{kind}\" does not exist."))
                }
            }
        })
        .collect();
    if held_back.is_empty() {
        (true, String::new(), String::new())
    } else {
        (false, REASON.to_owned(), held_back.join(", "))
    }
}

/// Brings `Ready` into step with the gates after somebody else changed conditions. What the node or its silence made false stays so.
pub fn settle(pod: &mut Value, now: Timestamp) {
    let has_gates = pod["spec"]["readinessGates"].as_array().is_some_and(|gates| !gates.is_empty());
    let Some(conditions) = pod["status"]["conditions"].as_array().filter(|_| has_gates) else { return };
    let find = |kind: &str| conditions.iter().find(|condition| condition["type"] == kind);
    let Some(ready) = find("Ready") else { return };
    let is_ours = ready["status"] == "True" || ready["reason"] == REASON;
    if !is_ours || find("ContainersReady").is_none_or(|containers| containers["status"] != "True") {
        return;
    }
    let (status, reason, message) = verdict(pod, conditions);
    let status = if status { "True" } else { "False" };
    let text = |field: &str| ready[field].as_str().unwrap_or_default();
    if (text("status"), text("reason"), text("message")) == (status, &*reason, &*message) {
        return;
    }
    let mut changed = ready.clone();
    if changed["status"] != status {
        changed["lastTransitionTime"] = json!(seconds(now));
    }
    changed["status"] = json!(status);
    for (field, value) in [("reason", reason), ("message", message)] {
        match (changed.as_object_mut(), value.is_empty()) {
            (Some(fields), true) => drop(fields.remove(field)),
            _ => changed[field] = json!(value),
        }
    }
    let all = pod["status"]["conditions"].as_array_mut().into_iter().flatten();
    if let Some(known) = all.into_iter().find(|condition| condition["type"] == "Ready") {
        *known = changed;
    }
}

/// Why a pod is not ready whose containers are.
const REASON: &str = "ReadinessGatesNotReady";

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(conditions: Value) -> Value {
        let gates = json!([{"conditionType": "a.example/x"}, {"conditionType": "y"}]);
        json!({"spec": {"readinessGates": gates}, "status": {"conditions": conditions}})
    }

    fn ready(pod: &Value) -> Value {
        pod["status"]["conditions"].as_array().unwrap()[0].clone()
    }

    #[test]
    fn a_pod_is_ready_when_its_gates_are() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let old = "2026-01-01T00:00:00Z";
        let held = json!({"type": "Ready", "status": "True", "lastTransitionTime": old});
        let containers = json!({"type": "ContainersReady", "status": "True"});
        let mut pod = pod(json!([held, containers, {"type": "y", "status": "Unknown"}]));
        settle(&mut pod, now);
        let expected = json!({
            "type": "Ready", "status": "False", "lastTransitionTime": "2026-01-02T03:04:05Z",
            "reason": "ReadinessGatesNotReady",
            "message": "corresponding condition of pod readiness gate \"a.example/x\" does not exist., \
                        the status of pod readiness gate \"y\" is not \"True\", but Unknown",
        });
        assert_eq!(ready(&pod), expected);
        let conditions = pod["status"]["conditions"].as_array_mut().unwrap();
        conditions[2]["status"] = json!("True");
        conditions.push(json!({"type": "a.example/x", "status": "True"}));
        settle(&mut pod, now);
        let expected =
            json!({"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z"});
        assert_eq!(ready(&pod), expected);
    }

    #[test]
    fn what_others_made_false_stays_so() {
        let now = Timestamp::UNIX_EPOCH;
        let check = |ready_reason: &str, containers: &str| {
            let held = json!({"type": "Ready", "status": "False", "reason": ready_reason});
            let met = json!({"type": "a.example/x", "status": "True"});
            let also = json!({"type": "y", "status": "True"});
            let mut pod = pod(json!([held, {"type": "ContainersReady", "status": containers}, met, also]));
            let before = pod.clone();
            settle(&mut pod, now);
            assert_eq!(pod, before);
        };
        check("NodeStatusUnknown", "True");
        check("ContainersNotReady", "False");
        check("ReadinessGatesNotReady", "False");
    }
}
