//! Workloads: Deployments, ReplicaSets, ReplicationControllers, StatefulSets and DaemonSets.

use serde_json::Value;

use super::{Facts, Sheet, pairs, template, time};
use crate::{
    document::{entries, items, plain, text},
    resource::Kind,
    workload::{
        self, is_controlled_by, pod_selector, pods,
        revisions::without_hash,
        rollout::{self, Step},
    },
};

pub(super) fn deployment(sheet: &mut Sheet, object: &Value, facts: &Facts) {
    identity(sheet, object);
    sheet.field(0, "CreationTimestamp", time(object, &["metadata", "creationTimestamp"]));
    sheet.labels(object);
    sheet.field(0, "Selector", selector(object));
    let wanted = object["spec"]["replicas"].as_i64().unwrap_or_default();
    let count = |field: &str| count(object, field);
    sheet.field(
        0,
        "Replicas",
        format!(
            "{wanted} desired | {} updated | {} total | {} available | {} unavailable",
            count("updatedReplicas"),
            count("replicas"),
            count("availableReplicas"),
            count("unavailableReplicas")
        ),
    );
    sheet.field(0, "StrategyType", text(object, &["spec", "strategy", "type"]));
    sheet.field(0, "MinReadySeconds", object["spec"]["minReadySeconds"].as_i64().unwrap_or(0).to_string());
    let rolling = &object["spec"]["strategy"]["rollingUpdate"];
    if rolling.is_object() {
        let (unavailable, surge) = (plain(&rolling["maxUnavailable"]), plain(&rolling["maxSurge"]));
        sheet.field(0, "RollingUpdateStrategy", format!("{unavailable} max unavailable, {surge} max surge"));
    }
    template::describe(sheet, &object["spec"]["template"]);
    conditions(sheet, object);
    let (new, old) = replica_sets(object, &facts.related);
    sheet.field(0, "OldReplicaSets", progress_of(&old));
    sheet.field(0, "NewReplicaSet", progress_of(&new));
}

pub(super) fn replica_set(sheet: &mut Sheet, object: &Value, facts: &Facts) {
    identity(sheet, object);
    sheet.field(0, "Selector", selector(object));
    sheet.labels(object);
    controlled_by(sheet, object);
    let wanted = object["spec"]["replicas"].as_i64().unwrap_or_default();
    sheet.field(0, "Replicas", format!("{} current / {wanted} desired", count(object, "replicas")));
    phases(sheet, object, facts);
    template::describe(sheet, &object["spec"]["template"]);
    conditions(sheet, object);
}

pub(super) fn stateful_set(sheet: &mut Sheet, object: &Value, facts: &Facts) {
    identity(sheet, object);
    sheet.field(0, "CreationTimestamp", time(object, &["metadata", "creationTimestamp"]));
    sheet.field(0, "Selector", selector(object));
    sheet.labels(object);
    let wanted = object["spec"]["replicas"].as_i64().unwrap_or_default();
    sheet.field(0, "Replicas", format!("{wanted} desired | {} total", count(object, "replicas")));
    let strategy = &object["spec"]["updateStrategy"];
    sheet.field(0, "Update Strategy", text(strategy, &["type"]));
    for (title, field) in [("Partition", "partition"), ("MaxUnavailable", "maxUnavailable")] {
        sheet.field_if_any(1, title, &plain(&strategy["rollingUpdate"][field]));
    }
    phases(sheet, object, facts);
    template::describe(sheet, &object["spec"]["template"]);
    claims(sheet, object);
}

pub(super) fn daemon_set(sheet: &mut Sheet, object: &Value, facts: &Facts) {
    identity(sheet, object);
    sheet.field(0, "Selector", selector(object));
    let node_selector = pairs(object, &["spec", "template", "spec", "nodeSelector"], "=").join(",");
    sheet.field(0, "Node-Selector", if node_selector.is_empty() { "<none>" } else { &node_selector });
    sheet.labels(object);
    for (title, field) in [
        ("Desired Number of Nodes Scheduled", "desiredNumberScheduled"),
        ("Current Number of Nodes Scheduled", "currentNumberScheduled"),
        ("Number of Nodes Scheduled with Up-to-date Pods", "updatedNumberScheduled"),
        ("Number of Nodes Scheduled with Available Pods", "numberAvailable"),
        ("Number of Nodes Misscheduled", "numberMisscheduled"),
    ] {
        sheet.line(0, format!("{title}: {}", count(object, field)));
    }
    phases(sheet, object, facts);
    template::describe(sheet, &object["spec"]["template"]);
}

/// What a rollout that goes on waits for; nothing of one that is over. kubectl leaves this to `rollout status`.
pub(super) fn rollout(sheet: &mut Sheet, kind: &Kind, object: &Value, facts: &Facts) {
    let words = match rollout::step(kind, object, None) {
        Ok(Step::Done(_)) => return,
        Ok(Step::Waiting(words)) => words,
        Err(error) if text(object, &["spec", "updateStrategy", "type"]) != "OnDelete" => error.to_string(),
        Err(_) => return,
    };
    let mut lines = vec![words];
    lines.extend(rollout::remarks(object));
    lines.extend(pods::troubles(&facts.pods));
    sheet.list(0, "Rollout", &lines);
}

/// The controller of an object, if it has one.
pub(super) fn controlled_by(sheet: &mut Sheet, object: &Value) {
    if let Some(owner) = workload::controller(object) {
        sheet.field(0, "Controlled By", format!("{}/{}", text(owner, &["kind"]), text(owner, &["name"])));
    }
}

/// Name and namespace.
pub(super) fn identity(sheet: &mut Sheet, object: &Value) {
    sheet.field(0, "Name", text(object, &["metadata", "name"]));
    sheet.field(0, "Namespace", text(object, &["metadata", "namespace"]));
}

/// The selector of an object's pods in words.
pub(super) fn selector(object: &Value) -> String {
    match pod_selector(object) {
        selector if selector.is_empty() => "<none>".to_owned(),
        selector => selector,
    }
}

fn count(object: &Value, field: &str) -> i64 {
    object["status"][field].as_i64().unwrap_or(0)
}

/// How many of its pods are in which phase.
fn phases(sheet: &mut Sheet, object: &Value, facts: &Facts) {
    let own: Vec<&Value> = facts.pods.iter().filter(|pod| is_controlled_by(pod, object)).collect();
    let count = |phase: &str| own.iter().filter(|pod| text(pod, &["status", "phase"]) == phase).count();
    sheet.field(
        0,
        "Pods Status",
        format!(
            "{} Running / {} Waiting / {} Succeeded / {} Failed",
            count("Running"),
            count("Pending"),
            count("Succeeded"),
            count("Failed")
        ),
    );
}

fn conditions(sheet: &mut Sheet, object: &Value) {
    let conditions = items(object, &["status", "conditions"]);
    if conditions.is_empty() {
        return;
    }
    sheet.line(0, "Conditions:");
    sheet.line(1, "Type\tStatus\tReason");
    sheet.line(1, "----\t------\t------");
    for condition in conditions {
        let word = |field: &str| text(condition, &[field]);
        sheet.line(1, format!("{} \t{}\t{}", word("type"), word("status"), word("reason")));
    }
}

/// The ReplicaSet of a Deployment's template, and all others of the Deployment, the oldest first.
fn replica_sets<'a>(deployment: &Value, sets: &'a [Value]) -> (Vec<&'a Value>, Vec<&'a Value>) {
    let wanted = without_hash(&deployment["spec"]["template"]);
    let mut own: Vec<&Value> = sets.iter().filter(|set| is_controlled_by(set, deployment)).collect();
    own.sort_by_key(|set| text(set, &["metadata", "creationTimestamp"]));
    let newest = own.iter().position(|set| without_hash(&set["spec"]["template"]) == wanted);
    let new = newest.map(|index| own.remove(index));
    (new.into_iter().collect(), own)
}

fn progress_of(sets: &[&Value]) -> String {
    let one = |set: &&Value| {
        let wanted = set["spec"]["replicas"].as_i64().unwrap_or_default();
        format!("{} ({}/{wanted} replicas created)", text(set, &["metadata", "name"]), count(set, "replicas"))
    };
    match sets {
        [] => "<none>".to_owned(),
        sets => sets.iter().map(one).collect::<Vec<_>>().join(", "),
    }
}

fn claims(sheet: &mut Sheet, object: &Value) {
    let claims = items(object, &["spec", "volumeClaimTemplates"]);
    if claims.is_empty() {
        sheet.field(0, "Volume Claims", "<none>");
        return;
    }
    sheet.line(0, "Volume Claims:");
    for claim in claims {
        sheet.field(1, "Name", text(claim, &["metadata", "name"]));
        sheet.field(1, "StorageClass", text(claim, &["spec", "storageClassName"]));
        sheet.list(1, "Labels", &pairs(claim, &["metadata", "labels"], "="));
        sheet.list(1, "Annotations", &pairs(claim, &["metadata", "annotations"], ": "));
        let capacity =
            entries(claim, &["spec", "resources", "requests"]).find(|(name, _)| *name == "storage");
        let capacity = capacity.map_or_else(|| "<default>".to_owned(), |(_, amount)| plain(amount));
        sheet.field(1, "Capacity", capacity);
        let modes: Vec<String> = items(claim, &["spec", "accessModes"]).iter().map(plain).collect();
        sheet.field(1, "Access Modes", format!("[{}]", modes.join(" ")));
    }
}
