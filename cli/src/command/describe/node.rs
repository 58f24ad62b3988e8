//! A node: its conditions, what it has, and what its pods take of that.

use dunlin_api::quantity::Quantity;
use serde_json::Value;

use super::{Facts, Sheet, pairs, time};
use crate::{
    age,
    document::{at, entries, items, plain, text},
    links,
};

pub(super) fn describe(sheet: &mut Sheet, node: &Value, facts: &Facts) {
    sheet.field(0, "Name", text(node, &["metadata", "name"]));
    sheet.field(0, "Roles", roles(node));
    sheet.list(0, "Labels", &pairs(node, &["metadata", "labels"], "="));
    sheet.annotations(node);
    sheet.field(0, "CreationTimestamp", time(node, &["metadata", "creationTimestamp"]));
    let taints: Vec<String> = items(node, &["spec", "taints"]).iter().map(taint).collect();
    sheet.list(0, "Taints", &taints);
    let unschedulable = at(node, &["spec", "unschedulable"]).as_bool().unwrap_or(false);
    sheet.field(0, "Unschedulable", unschedulable.to_string());
    conditions(sheet, node);
    link(sheet, facts);
    sheet.line(0, "Addresses:");
    for address in items(node, &["status", "addresses"]) {
        sheet.field(1, text(address, &["type"]), text(address, &["address"]));
    }
    for (title, field) in [("Capacity", "capacity"), ("Allocatable", "allocatable")] {
        sheet.line(0, format!("{title}:"));
        entries(node, &["status", field]).for_each(|(name, amount)| sheet.field(1, name, plain(amount)));
    }
    system(sheet, node);
    pods(sheet, node, facts);
    allocated(sheet, node, &facts.pods);
}

fn roles(node: &Value) -> String {
    const PREFIX: &str = "node-role.kubernetes.io/";
    let roles: Vec<&str> =
        entries(node, &["metadata", "labels"]).filter_map(|(key, _)| key.strip_prefix(PREFIX)).collect();
    if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") }
}

fn taint(taint: &Value) -> String {
    let (key, value, effect) = (text(taint, &["key"]), text(taint, &["value"]), text(taint, &["effect"]));
    if value.is_empty() { format!("{key}:{effect}") } else { format!("{key}={value}:{effect}") }
}

fn conditions(sheet: &mut Sheet, node: &Value) {
    sheet.line(0, "Conditions:");
    sheet.line(1, "Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage");
    sheet.line(1, "----\t------\t-----------------\t------------------\t------\t-------");
    for condition in items(node, &["status", "conditions"]) {
        sheet.line(
            1,
            format!(
                "{} \t{} \t{} \t{} \t{} \t{} ",
                text(condition, &["type"]),
                text(condition, &["status"]),
                time(condition, &["lastHeartbeatTime"]),
                time(condition, &["lastTransitionTime"]),
                text(condition, &["reason"]),
                text(condition, &["message"]),
            ),
        );
    }
}

fn link(sheet: &mut Sheet, facts: &Facts) {
    let Some(link) = &facts.link else {
        sheet.field(0, "Link", "not seen since the coordinator started");
        return;
    };
    sheet.line(0, "Link:");
    links::described(link, facts.now).iter().for_each(|(name, value)| sheet.field(1, name, value));
}

fn system(sheet: &mut Sheet, node: &Value) {
    sheet.line(0, "System Info:");
    let info = |field: &str| text(node, &["status", "nodeInfo", field]);
    for (title, field) in [
        ("Machine ID", "machineID"),
        ("System UUID", "systemUUID"),
        ("Boot ID", "bootID"),
        ("Kernel Version", "kernelVersion"),
        ("OS Image", "osImage"),
        ("Operating System", "operatingSystem"),
        ("Architecture", "architecture"),
        ("Container Runtime Version", "containerRuntimeVersion"),
        ("Kubelet Version", "kubeletVersion"),
    ] {
        sheet.field(1, title, info(field));
    }
    sheet.field_if_any(0, "PodCIDR", text(node, &["spec", "podCIDR"]));
}

fn pods(sheet: &mut Sheet, node: &Value, facts: &Facts) {
    sheet.field(0, "Non-terminated Pods", format!("({} in total)", facts.pods.len()));
    if facts.pods.is_empty() {
        return;
    }
    sheet.line(1, "Namespace\tName\t\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge");
    sheet.line(1, "---------\t----\t\t------------\t----------\t---------------\t-------------\t---");
    for pod in &facts.pods {
        let amount =
            |of: &str, resource: &str| share(&total(std::slice::from_ref(pod), of, resource), node, resource);
        sheet.line(
            1,
            format!(
                "{}\t{}\t\t{}\t{}\t{}\t{}\t{}",
                text(pod, &["metadata", "namespace"]),
                text(pod, &["metadata", "name"]),
                amount("requests", "cpu"),
                amount("limits", "cpu"),
                amount("requests", "memory"),
                amount("limits", "memory"),
                age::since(at(pod, &["metadata", "creationTimestamp"]).as_str(), facts.now),
            ),
        );
    }
}

fn allocated(sheet: &mut Sheet, node: &Value, pods: &[Value]) {
    sheet.line(0, "Allocated resources:");
    sheet.line(1, "(Total limits may be over 100 percent, i.e., overcommitted.)");
    sheet.line(1, "Resource\tRequests\tLimits");
    sheet.line(1, "--------\t--------\t------");
    for resource in ["cpu", "memory", "ephemeral-storage"] {
        let amount = |of: &str| share(&total(pods, of, resource), node, resource);
        sheet.line(1, format!("{resource}\t{}\t{}", amount("requests"), amount("limits")));
    }
}

/// An amount, exact for cpu and in bytes for all else.
#[derive(Clone, Copy, Debug, Default)]
struct Amount {
    milli: i64,
    value: i64,
}

/// What pods ask for: the sum over their containers, or their largest init container if that is more.
fn total(pods: &[Value], of: &str, resource: &str) -> Amount {
    let amount = |container: &Value| quantity(&container["resources"][of][resource]);
    let one = |pod: &Value| {
        let sum =
            items(pod, &["spec", "containers"]).iter().map(amount).fold(Amount::default(), Amount::plus);
        items(pod, &["spec", "initContainers"]).iter().map(amount).fold(sum, Amount::max)
    };
    pods.iter().map(one).fold(Amount::default(), Amount::plus)
}

fn quantity(value: &Value) -> Amount {
    match plain(value).parse::<Quantity>() {
        Ok(quantity) => Amount { milli: quantity.milli(), value: quantity.value() },
        Err(_) => Amount::default(),
    }
}

/// `100m (2%)` of what the node has to give.
fn share(amount: &Amount, node: &Value, resource: &str) -> String {
    let allocatable = quantity(&node["status"]["allocatable"][resource]);
    let (part, whole, shown) = match resource {
        "cpu" => (amount.milli, allocatable.milli, Quantity::from_milli(amount.milli)),
        _ => (amount.value, allocatable.value, Quantity::from_bytes(amount.value)),
    };
    let percent = if whole > 0 { part.saturating_mul(100) / whole } else { 0 };
    format!("{shown} ({percent}%)")
}

impl Amount {
    const fn plus(self, other: Self) -> Self {
        Self { milli: self.milli.saturating_add(other.milli), value: self.value.saturating_add(other.value) }
    }

    fn max(self, other: Self) -> Self {
        Self { milli: self.milli.max(other.milli), value: self.value.max(other.value) }
    }
}
