//! A pod.

use serde_json::Value;

use super::{
    Facts, Scheduling, Sheet,
    container::{self, Containers, Place},
    pairs, time, volume,
};
use crate::{
    age,
    command::explain_schedule,
    document::{at, items, text},
};

pub(super) fn describe(sheet: &mut Sheet, pod: &Value, facts: &Facts) {
    identity(sheet, pod, facts);
    addresses(sheet, pod, facts);
    for owner in items(pod, &["metadata", "ownerReferences"]) {
        if owner["controller"] == true {
            sheet.field(0, "Controlled By", format!("{}/{}", text(owner, &["kind"]), text(owner, &["name"])));
        }
    }
    sheet.field_if_any(0, "NominatedNodeName", text(pod, &["status", "nominatedNodeName"]));
    container::describe(sheet, pod, Containers::Init, Place::Pod);
    container::describe(sheet, pod, Containers::Main, Place::Pod);
    container::describe(sheet, pod, Containers::Ephemeral, Place::Pod);
    conditions(sheet, pod);
    volume::describe(sheet, pod, Place::Pod);
    sheet.field_if_any(0, "QoS Class", text(pod, &["status", "qosClass"]));
    sheet.list(0, "Node-Selectors", &pairs(pod, &["spec", "nodeSelector"], "="));
    let tolerations: Vec<String> = items(pod, &["spec", "tolerations"]).iter().map(toleration).collect();
    sheet.list(0, "Tolerations", &tolerations);
    if let Scheduling::Waits(decision) = &facts.scheduling {
        scheduling(sheet, pod, decision.as_ref());
    }
}

/// Whether a pod waits for the scheduler.
pub(super) fn waits_for_node(pod: &Value) -> bool {
    text(pod, &["spec", "nodeName"]).is_empty()
        && matches!(text(pod, &["status", "phase"]), "" | "Pending")
        && !pod["metadata"]["deletionTimestamp"].is_string()
}

/// Which filters refuse how many nodes now, which events tell only as long as they are kept.
fn scheduling(sheet: &mut Sheet, pod: &Value, decision: Option<&Value>) {
    let gates = items(pod, &["spec", "schedulingGates"]).iter();
    let gates: Vec<&str> = gates.map(|gate| text(gate, &["name"])).collect();
    let mut lines = Vec::new();
    if !gates.is_empty() {
        lines.push(format!("waits until its scheduling gates are removed: {}", gates.join(", ")));
    }
    lines.extend(decision.map(explain_schedule::summary));
    if lines.is_empty() {
        let scheduled = items(pod, &["status", "conditions"]).iter();
        let mut scheduled = scheduled.filter(|condition| text(condition, &["type"]) == "PodScheduled");
        let message = scheduled.next().map(|scheduled| text(scheduled, &["message"])).unwrap_or_default();
        lines.push(if message.is_empty() { "waits for the scheduler" } else { message }.to_owned());
    }
    let (name, namespace) = (text(pod, &["metadata", "name"]), text(pod, &["metadata", "namespace"]));
    lines.push(format!("node by node: dunlin explain-schedule {name} -n {namespace}"));
    sheet.list(0, "Scheduling", &lines);
}

fn identity(sheet: &mut Sheet, pod: &Value, facts: &Facts) {
    sheet.field(0, "Name", text(pod, &["metadata", "name"]));
    sheet.field(0, "Namespace", text(pod, &["metadata", "namespace"]));
    if let Some(priority) = at(pod, &["spec", "priority"]).as_i64() {
        sheet.field(0, "Priority", priority.to_string());
    }
    sheet.field_if_any(0, "Priority Class Name", text(pod, &["spec", "priorityClassName"]));
    sheet.field_if_any(0, "Runtime Class Name", text(pod, &["spec", "runtimeClassName"]));
    sheet.field(0, "Service Account", text(pod, &["spec", "serviceAccountName"]));
    sheet.field(
        0,
        "Node",
        match text(pod, &["spec", "nodeName"]) {
            "" => "<none>".to_owned(),
            node => format!("{node}/{}", text(pod, &["status", "hostIP"])),
        },
    );
    sheet.field_if_any(0, "Start Time", &time(pod, &["status", "startTime"]));
    sheet.labels(pod);
    match at(pod, &["metadata", "deletionTimestamp"]).as_str() {
        Some(deadline) => {
            sheet.field(
                0,
                "Status",
                format!("Terminating (lasts {})", age::since(Some(deadline), facts.now)),
            );
            let grace = at(pod, &["metadata", "deletionGracePeriodSeconds"]).as_i64().unwrap_or_default();
            sheet.field(0, "Termination Grace Period", format!("{grace}s"));
        }
        None => sheet.field(0, "Status", text(pod, &["status", "phase"])),
    }
    sheet.field_if_any(0, "Reason", text(pod, &["status", "reason"]));
    sheet.field_if_any(0, "Message", text(pod, &["status", "message"]));
}

fn addresses(sheet: &mut Sheet, pod: &Value, facts: &Facts) {
    sheet.field(0, "IP", text(pod, &["status", "podIP"]));
    let addresses = items(pod, &["status", "podIPs"]);
    if addresses.is_empty() {
        sheet.field(0, "IPs", "<none>");
    } else {
        sheet.line(0, "IPs:");
        addresses.iter().for_each(|address| sheet.field(1, "IP", text(address, &["ip"])));
    }
    if !facts.endpoints.is_empty() {
        sheet.line(0, "Local Endpoints:");
        for endpoint in &facts.endpoints {
            let port = at(endpoint, &["containerPort"]);
            sheet.field(1, &format!("{port}/TCP"), text(endpoint, &["address"]));
        }
    }
}

/// Type and status; the message too where a condition fails and says why.
fn conditions(sheet: &mut Sheet, pod: &Value) {
    let conditions = items(pod, &["status", "conditions"]);
    if conditions.is_empty() {
        return;
    }
    let failing = |condition: &Value| {
        text(condition, &["status"]) != "True" && !text(condition, &["message"]).is_empty()
    };
    let explained = conditions.iter().any(failing);
    sheet.line(0, "Conditions:");
    sheet.line(1, if explained { "Type\tStatus\tMessage" } else { "Type\tStatus" });
    for condition in conditions {
        let (kind, status) = (text(condition, &["type"]), text(condition, &["status"]));
        let message = if failing(condition) { text(condition, &["message"]) } else { "" };
        sheet.line(
            1,
            if explained { format!("{kind} \t{status} \t{message}") } else { format!("{kind} \t{status} ") },
        );
    }
}

pub(super) fn toleration(toleration: &Value) -> String {
    let mut shown = text(toleration, &["key"]).to_owned();
    let value = text(toleration, &["value"]);
    if !value.is_empty() {
        shown.push_str(&format!("={value}"));
    }
    let effect = text(toleration, &["effect"]);
    if !effect.is_empty() {
        shown.push_str(&format!(":{effect}"));
    }
    if text(toleration, &["operator"]) == "Exists" && value.is_empty() {
        shown.push_str(if shown.is_empty() { "op=Exists" } else { " op=Exists" });
    }
    if let Some(seconds) = at(toleration, &["tolerationSeconds"]).as_i64() {
        shown.push_str(&format!(" for {seconds}s"));
    }
    shown
}
