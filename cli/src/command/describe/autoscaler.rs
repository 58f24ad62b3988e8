//! HorizontalPodAutoscalers.

use serde_json::Value;

use super::{Sheet, time};
use crate::document::{items, plain, text};

pub(super) fn describe(sheet: &mut Sheet, object: &Value) {
    sheet.head(object);
    sheet.field(0, "CreationTimestamp", time(object, &["metadata", "creationTimestamp"]));
    let spec = &object["spec"];
    let target = &spec["scaleTargetRef"];
    sheet.field(0, "Reference", format!("{}/{}", text(target, &["kind"]), text(target, &["name"])));
    sheet.field(0, "Metrics", "( current / target )");
    for metric in items(spec, &["metrics"]) {
        let current =
            items(object, &["status", "currentMetrics"]).iter().find(|current| is_of(current, metric));
        let (what, values) = line(metric, current.unwrap_or(&Value::Null));
        sheet.field(1, &what, values);
    }
    let minimum =
        if spec["minReplicas"].is_null() { "<unset>".to_owned() } else { plain(&spec["minReplicas"]) };
    sheet.field(0, "Min replicas", minimum);
    sheet.field(0, "Max replicas", plain(&spec["maxReplicas"]));
    if spec["behavior"].is_object() {
        sheet.line(0, "Behavior:");
        rules(sheet, "Scale Up", &spec["behavior"]["scaleUp"]);
        rules(sheet, "Scale Down", &spec["behavior"]["scaleDown"]);
    }
    let count = |field: &str| object["status"][field].as_i64().unwrap_or(0);
    sheet.field(
        0,
        &format!("{} pods", text(target, &["kind"])),
        format!("{} current / {} desired", count("currentReplicas"), count("desiredReplicas")),
    );
    conditions(sheet, object);
}

/// The field of a metric that holds what it is, for instance `resource`.
fn source(metric: &Value) -> &'static str {
    match text(metric, &["type"]) {
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        "Pods" => "pods",
        "Object" => "object",
        "External" => "external",
        _ => "",
    }
}

/// Whether a current value is of this metric.
fn is_of(current: &Value, metric: &Value) -> bool {
    let source = source(metric);
    let (one, other) = (&current[source], &metric[source]);
    current["type"] == metric["type"]
        && one["name"] == other["name"]
        && one["container"] == other["container"]
        && one["metric"]["name"] == other["metric"]["name"]
        && one["describedObject"]["name"] == other["describedObject"]["name"]
}

/// What a metric is, and its current value with the one it is to have.
fn line(metric: &Value, current: &Value) -> (String, String) {
    let source = source(metric);
    let (of, is) = (&metric[source], &current[source]["current"]);
    let target = &of["target"];
    let known = |field: &str| if is[field].is_null() { UNKNOWN.to_owned() } else { plain(&is[field]) };
    let name = text(of, &["name"]);
    let resource = match source {
        "containerResource" => format!("resource {name} of container {:?} on pods", text(of, &["container"])),
        _ => format!("resource {name} on pods"),
    };
    let metric_name = text(of, &["metric", "name"]);
    let by_pods = target["averageValue"].is_string();
    let value = if by_pods { "averageValue" } else { "value" };
    let kind = if by_pods { "target average value" } else { "target value" };
    match source {
        "resource" | "containerResource" if by_pods => {
            (resource, format!("{} / {}", known("averageValue"), plain(&target["averageValue"])))
        }
        "resource" | "containerResource" => {
            let now = match is["averageUtilization"].as_i64() {
                Some(percent) => format!("{percent}% ({})", plain(&is["averageValue"])),
                None => UNKNOWN.to_owned(),
            };
            let aim = target["averageUtilization"]
                .as_i64()
                .map_or_else(|| "<auto>".to_owned(), |percent| format!("{percent}%"));
            (format!("{resource}  (as a percentage of request)"), format!("{now} / {aim}"))
        }
        "pods" => (
            format!("{metric_name:?} on pods"),
            format!("{} / {}", known("averageValue"), plain(&target["averageValue"])),
        ),
        "object" => {
            let object = &of["describedObject"];
            let on = format!("{}/{}", text(object, &["kind"]), text(object, &["name"]));
            (
                format!("{metric_name:?} on {on} ({kind})"),
                format!("{} / {}", known(value), plain(&target[value])),
            )
        }
        "external" => {
            (format!("{metric_name:?} ({kind})"), format!("{} / {}", known(value), plain(&target[value])))
        }
        _ => (format!("<unknown metric type {:?}>", text(metric, &["type"])), String::new()),
    }
}

fn rules(sheet: &mut Sheet, title: &str, rules: &Value) {
    if !rules.is_object() {
        return;
    }
    sheet.line(1, format!("{title}:"));
    if let Some(seconds) = rules["stabilizationWindowSeconds"].as_i64() {
        sheet.line(2, format!("Stabilization Window: {seconds} seconds"));
    }
    let policies = items(rules, &["policies"]);
    if policies.is_empty() {
        return;
    }
    let chosen = text(rules, &["selectPolicy"]);
    sheet.line(2, format!("Select Policy: {}", if chosen.is_empty() { "Max" } else { chosen }));
    sheet.line(2, "Policies:");
    for policy in policies {
        sheet.line(
            3,
            format!(
                "- Type: {}\tValue: {}\tPeriod: {} seconds",
                text(policy, &["type"]),
                plain(&policy["value"]),
                plain(&policy["periodSeconds"])
            ),
        );
    }
}

fn conditions(sheet: &mut Sheet, object: &Value) {
    let conditions = items(object, &["status", "conditions"]);
    if conditions.is_empty() {
        return;
    }
    sheet.line(0, "Conditions:");
    sheet.line(1, "Type\tStatus\tReason\tMessage");
    sheet.line(1, "----\t------\t------\t-------");
    for condition in conditions {
        let word = |field: &str| text(condition, &[field]);
        let message = word("message").replace(['\n', '\t'], " ");
        sheet.line(1, format!("{}\t{}\t{}\t{message}", word("type"), word("status"), word("reason")));
    }
}

const UNKNOWN: &str = "<unknown>";
