//! A pod's row in tables, and the one word that says how it is doing.

use jiff::Timestamp;
use serde_json::Value;

use super::is_sidecar;
use crate::{
    kind::age_cell,
    time,
    value::{has, is_true, list, text},
};

/// How a pod is doing, as `get` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Summary {
    status: String,
    ready: usize,
    total: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

pub(super) fn row(pod: &Value, now: Timestamp) -> Vec<Value> {
    let summary = summarize(pod);
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let restarts = match (summary.restarts, summary.last_restart) {
        (restarts @ 1.., Some(last)) => {
            format!("{restarts} ({} ago)", time::human_duration(now.duration_since(last)))
        }
        (restarts, _) => restarts.to_string(),
    };
    let or_none = |text: &str| Value::from(if text.is_empty() { "<none>" } else { text });
    let address =
        list(status, "podIPs").first().map_or_else(|| text(status, "podIP"), |address| text(address, "ip"));
    vec![
        text(&pod["metadata"], "name").into(),
        format!("{}/{}", summary.ready, summary.total).into(),
        summary.status.into(),
        restarts.into(),
        age_cell(pod, now),
        or_none(address),
        or_none(text(spec, "nodeName")),
        or_none(text(status, "nominatedNodeName")),
        readiness_gates(pod).into(),
    ]
}

fn summarize(pod: &Value) -> Summary {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let sidecars = list(spec, "initContainers").iter().filter(|container| is_sidecar(container)).count();
    let gated = condition(status, "PodScheduled").is_some_and(|it| text(it, "reason") == "SchedulingGated");
    let reason = match (gated, text(status, "reason"), text(status, "phase")) {
        (true, _, _) => "SchedulingGated",
        (_, "", phase) => phase,
        (_, reason, _) => reason,
    };
    let mut summary = Summary {
        status: reason.to_owned(),
        ready: 0,
        total: list(spec, "containers").len() + sidecars,
        restarts: 0,
        last_restart: None,
    };
    let sidecar_restarts = init_containers(pod, &mut summary);
    let initialized = condition(status, "Initialized").is_some_and(|it| text(it, "status") == "True");
    if sidecar_restarts.initialized || initialized {
        summary.restarts = sidecar_restarts.restarts;
        summary.last_restart = sidecar_restarts.last;
        main_containers(status, &mut summary);
    }
    let deleting = has(&pod["metadata"], "deletionTimestamp");
    if deleting && text(status, "reason") == "NodeLost" {
        "Unknown".clone_into(&mut summary.status);
    } else if deleting && !["Succeeded", "Failed"].contains(&text(status, "phase")) {
        "Terminating".clone_into(&mut summary.status);
    }
    summary
}

/// What init containers leave for the main ones to start from.
#[derive(Debug, Default)]
struct Initialization {
    initialized: bool,
    restarts: i64,
    last: Option<Timestamp>,
}

fn init_containers(pod: &Value, summary: &mut Summary) -> Initialization {
    let specs = list(&pod["spec"], "initContainers");
    let mut sidecars = Initialization { initialized: true, ..Initialization::default() };
    for (position, container) in list(&pod["status"], "initContainerStatuses").iter().enumerate() {
        let spec = specs.iter().find(|spec| text(spec, "name") == text(container, "name"));
        let sidecar = spec.is_some_and(is_sidecar);
        let restarts = container["restartCount"].as_i64().unwrap_or(0);
        summary.restarts += restarts;
        summary.last_restart = summary.last_restart.max(last_end(container));
        if sidecar {
            sidecars.restarts += restarts;
            sidecars.last = sidecars.last.max(last_end(container));
        }
        let state = &container["state"];
        let (terminated, waiting) = (&state["terminated"], text(&state["waiting"], "reason"));
        let failed = !terminated.is_null() && terminated["exitCode"].as_i64().unwrap_or(0) != 0;
        if !terminated.is_null() && !failed {
            continue;
        }
        if sidecar && is_true(container, "started") {
            summary.ready += usize::from(is_true(container, "ready"));
            continue;
        }
        summary.status = if failed {
            format!("Init:{}", end_reason(terminated))
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{position}/{}", specs.len())
        };
        sidecars.initialized = false;
        break;
    }
    sidecars
}

fn main_containers(status: &Value, summary: &mut Summary) {
    let mut running = false;
    for container in list(status, "containerStatuses").iter().rev() {
        summary.restarts += container["restartCount"].as_i64().unwrap_or(0);
        summary.last_restart = summary.last_restart.max(last_end(container));
        let state = &container["state"];
        let waiting = text(&state["waiting"], "reason");
        if !waiting.is_empty() {
            waiting.clone_into(&mut summary.status);
        } else if has(state, "terminated") {
            summary.status = end_reason(&state["terminated"]);
        } else if is_true(container, "ready") && has(state, "running") {
            running = true;
            summary.ready += 1;
        }
    }
    if summary.status == "Completed" && running {
        let ready = condition(status, "Ready").is_some_and(|it| text(it, "status") == "True");
        if ready { "Running" } else { "NotReady" }.clone_into(&mut summary.status);
    }
}

/// Why a container ended, in one word.
fn end_reason(terminated: &Value) -> String {
    match (text(terminated, "reason"), terminated["signal"].as_i64().unwrap_or(0)) {
        ("", 0) => format!("ExitCode:{}", terminated["exitCode"].as_i64().unwrap_or(0)),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn last_end(container: &Value) -> Option<Timestamp> {
    time::parse_time(&container["lastState"]["terminated"]["finishedAt"])
}

fn condition<'v>(status: &'v Value, kind: &str) -> Option<&'v Value> {
    list(status, "conditions").iter().find(|condition| text(condition, "type") == kind)
}

fn readiness_gates(pod: &Value) -> String {
    let gates = list(&pod["spec"], "readinessGates");
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let holds = |gate: &&Value| {
        condition(&pod["status"], text(gate, "conditionType")).is_some_and(|it| text(it, "status") == "True")
    };
    format!("{}/{}", gates.iter().filter(holds).count(), gates.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(pod: Value, expected: [&str; 3]) {
        let now = "2026-01-01T00:10:00Z".parse().unwrap();
        let cells = row(&pod, now);
        assert_eq!(cells[1..4], expected.map(Value::from), "{pod}");
    }

    fn running(restarts: i64) -> Value {
        json!({"name": "c", "ready": true, "restartCount": restarts, "state": {"running": {}},
            "lastState": if restarts > 0 { json!({"terminated": {"finishedAt": "2026-01-01T00:05:00Z"}}) } else { json!({}) }})
    }

    fn pod(status: Value) -> Value {
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}],
            "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}]}, "status": status})
    }

    #[test]
    fn status_words() {
        check(pod(json!({"phase": "Pending"})), ["0/2", "Pending", "0"]);
        check(
            pod(
                json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}),
            ),
            ["0/2", "SchedulingGated", "0"],
        );
        check(
            pod(
                json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]}),
            ),
            ["0/2", "Init:0/2", "0"],
        );
        check(
            pod(json!({"phase": "Pending", "initContainerStatuses": [
                {"name": "i", "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                 "lastState": {"terminated": {"finishedAt": "2026-01-01T00:05:00Z"}}}]})),
            ["0/2", "Init:CrashLoopBackOff", "2 (5m ago)"],
        );
        check(
            pod(json!({"phase": "Pending", "initContainerStatuses": [
                {"name": "i", "state": {"terminated": {"exitCode": 3}}}]})),
            ["0/2", "Init:ExitCode:3", "0"],
        );
        let done = json!([{"name": "i", "restartCount": 4, "state": {"terminated": {"exitCode": 0}}},
            {"name": "s", "started": true, "ready": true, "restartCount": 1, "state": {"running": {}}}]);
        check(
            pod(
                json!({"phase": "Running", "initContainerStatuses": done, "containerStatuses": [running(2)]}),
            ),
            ["2/2", "Running", "3 (5m ago)"],
        );
        check(
            pod(json!({"phase": "Running", "initContainerStatuses": done, "containerStatuses": [
                {"name": "c", "restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]})),
            ["1/2", "CrashLoopBackOff", "2"],
        );
        check(
            pod(json!({"phase": "Succeeded", "containerStatuses": [
                {"name": "c", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}]})),
            ["0/2", "Completed", "0"],
        );
        check(
            pod(
                json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}], "containerStatuses": [
                {"name": "c", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}, running(0)]}),
            ),
            ["1/2", "NotReady", "0"],
        );
        check(
            pod(json!({"phase": "Failed", "containerStatuses": [
                {"name": "c", "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]})),
            ["0/2", "OOMKilled", "0"],
        );
        check(pod(json!({"phase": "Failed", "reason": "Evicted"})), ["0/2", "Evicted", "0"]);
        let mut deleted = pod(json!({"phase": "Running", "containerStatuses": [running(0)]}));
        deleted["metadata"]["deletionTimestamp"] = "2026-01-01T00:09:00Z".into();
        check(deleted.clone(), ["1/2", "Terminating", "0"]);
        deleted["status"]["reason"] = "NodeLost".into();
        check(deleted, ["1/2", "Unknown", "0"]);
    }
}
