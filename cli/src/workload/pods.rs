//! Why pods are not ready, in a few words for a person who waits for them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::document::{items, text};

/// Why a pod is not ready; `None` when it is, or has ended well.
pub(crate) fn trouble(pod: &Value) -> Option<String> {
    if pod["metadata"]["deletionTimestamp"].is_string() {
        return Some("Terminating".to_owned());
    }
    let condition = |name: &str| {
        items(pod, &["status", "conditions"]).iter().find(|condition| text(condition, &["type"]) == name)
    };
    let ready = condition("Ready").is_some_and(|ready| text(ready, &["status"]) == "True");
    if ready || text(pod, &["status", "phase"]) == "Succeeded" {
        return None;
    }
    let unscheduled = condition("PodScheduled").filter(|scheduled| text(scheduled, &["status"]) == "False");
    if let Some(scheduled) = unscheduled {
        return Some(reason_and_message(scheduled, "Unschedulable"));
    }
    let statuses = ["initContainerStatuses", "containerStatuses"];
    let mut statuses = statuses.iter().flat_map(|field| items(pod, &["status", field]));
    if let Some(found) = statuses.find_map(container_trouble) {
        return Some(found);
    }
    if !text(pod, &["status", "reason"]).is_empty() {
        return Some(reason_and_message(&pod["status"], ""));
    }
    Some(match text(pod, &["status", "phase"]) {
        "Pending" | "" if text(pod, &["spec", "nodeName"]).is_empty() => "waits for the scheduler".to_owned(),
        "Pending" | "" => format!("waits for node {}", text(pod, &["spec", "nodeName"])),
        phase => phase.to_owned(),
    })
}

/// What keeps pods from being ready, pods with the same trouble in one line: `web-1, web-2: Unschedulable: ..`. At most
/// [`LINES_MAX`] lines; the last says how many pods are left out.
pub(crate) fn troubles(pods: &[Value]) -> Vec<String> {
    let mut by_trouble: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for pod in pods {
        if let Some(trouble) = trouble(pod) {
            by_trouble.entry(trouble).or_default().push(text(pod, &["metadata", "name"]));
        }
    }
    // What many share is told first.
    let mut groups: Vec<(String, Vec<&str>)> = by_trouble.into_iter().collect();
    groups.sort_by_key(|(_, names)| std::cmp::Reverse(names.len()));
    let hidden: usize = groups.iter().skip(LINES_MAX).map(|(_, names)| names.len()).sum();
    let mut lines: Vec<String> = groups
        .iter()
        .take(LINES_MAX)
        .map(|(trouble, names)| format!("{}: {trouble}", some_of(names)))
        .collect();
    if hidden > 0 {
        lines.push(format!("and {hidden} more"));
    }
    lines
}

/// The same of one container, by its status.
pub(crate) fn container_trouble(status: &Value) -> Option<String> {
    let name = text(status, &["name"]);
    let (waiting, terminated) = (&status["state"]["waiting"], &status["state"]["terminated"]);
    if waiting.is_object() {
        let reason = text(waiting, &["reason"]);
        // Ordinary steps of a start; another container may tell more.
        return match reason {
            "" | "PodInitializing" => None,
            _ => Some(format!("{name}: {}", reason_and_message(waiting, "Waiting"))),
        };
    }
    if terminated.is_object() {
        let code = terminated["exitCode"].as_i64().unwrap_or_default();
        return (code != 0).then(|| format!("{name}: ended with exit code {code}"));
    }
    let started = status["started"] != false;
    match (status["state"]["running"].is_object(), status["ready"] == true, started) {
        (true, false, true) => Some(format!("{name}: runs, and is not ready")),
        (true, false, false) => Some(format!("{name}: runs, and has not started up")),
        _ => None,
    }
}

fn reason_and_message(of: &Value, fallback: &str) -> String {
    let reason = match text(of, &["reason"]) {
        "" => fallback,
        reason => reason,
    };
    match text(of, &["message"]).trim() {
        "" => reason.to_owned(),
        message => {
            let line = message.lines().next().unwrap_or_default();
            let short: String = line.chars().take(MESSAGE_CHARACTERS_MAX).collect();
            let dots = if short.len() < line.len() { ".." } else { "" };
            format!("{reason}: {short}{dots}")
        }
    }
}

fn some_of(names: &[&str]) -> String {
    let shown = names.iter().take(NAMES_MAX).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// What a person reads while waiting.
const LINES_MAX: usize = 4;

/// Enough to find them all by.
const NAMES_MAX: usize = 2;

/// A message longer than this is for `describe`.
const MESSAGE_CHARACTERS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{trouble, troubles};

    fn pod(name: &str, status: &Value) -> Value {
        json!({"metadata": {"name": name}, "spec": {"nodeName": "n1"}, "status": status})
    }

    fn waiting(reason: &str) -> Value {
        json!({"phase": "Pending", "containerStatuses": [
            {"name": "c", "state": {"waiting": {"reason": reason, "message": "no such module\nsecond line"}}},
        ]})
    }

    #[test]
    fn each_trouble_has_words() {
        let check = |status: Value, expected: Option<&str>| {
            assert_eq!(trouble(&pod("p", &status)).as_deref(), expected, "{status}");
        };
        check(json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}), None);
        check(json!({"phase": "Succeeded"}), None);
        check(waiting("ErrImagePull"), Some("c: ErrImagePull: no such module"));
        check(waiting("PodInitializing"), Some("waits for node n1"));
        check(
            json!({"phase": "Pending", "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes are available"},
            ]}),
            Some("Unschedulable: 0/2 nodes are available"),
        );
        check(
            json!({"phase": "Running", "containerStatuses": [{"name": "c", "ready": false, "state": {"running": {}}}]}),
            Some("c: runs, and is not ready"),
        );
        check(
            json!({"phase": "Failed", "containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 3}}}]}),
            Some("c: ended with exit code 3"),
        );
        check(json!({"phase": "Failed", "reason": "Evicted"}), Some("Evicted"));
        check(json!({}), Some("waits for node n1"));
    }

    #[test]
    fn pods_with_one_trouble_share_a_line() {
        let mut pods: Vec<Value> =
            (1..=3).map(|n| pod(&format!("w-{n}"), &waiting("ErrImagePull"))).collect();
        pods.push(pod("x", &json!({"phase": "Failed", "reason": "Evicted"})));
        let expected = ["w-1, w-2 and 1 more: c: ErrImagePull: no such module", "x: Evicted"];
        assert_eq!(troubles(&pods), expected);
        let many: Vec<Value> = (0..9)
            .map(|n| pod(&format!("p{n}"), &json!({"phase": "Failed", "reason": format!("R{n}")})))
            .collect();
        let lines = troubles(&many);
        assert_eq!((lines.len(), lines[4].as_str()), (5, "and 5 more"));
    }
}
