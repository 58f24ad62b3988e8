//! Workloads as commands tell of them: how far a rollout is, why pods are not ready, which revisions there are. Values in, words
//! out; whoever asks reads the objects.

use serde_json::Value;

use crate::document::{entries, items, plain, text};

pub(crate) mod pods;
pub(crate) mod revisions;
pub(crate) mod rollout;

/// A label selector in the syntax of `-l`: `app=web,tier in (a,b),!legacy`. Empty for one that selects everything or is not there.
pub(crate) fn selector_text(selector: &Value) -> String {
    let labels = entries(selector, &["matchLabels"]).map(|(key, value)| format!("{key}={}", plain(value)));
    let expressions = items(selector, &["matchExpressions"]).iter().map(expression);
    labels.chain(expressions).collect::<Vec<_>>().join(",")
}

/// The selector of a workload's pods: a map of labels in the kinds of the core group, a label selector in all others.
pub(crate) fn pod_selector(workload: &Value) -> String {
    let selector = &workload["spec"]["selector"];
    if selector["matchLabels"].is_object() || selector["matchExpressions"].is_array() {
        return selector_text(selector);
    }
    let labels = entries(selector, &[]).map(|(key, value)| format!("{key}={}", plain(value)));
    labels.collect::<Vec<_>>().join(",")
}

/// The spec of the pods that an object makes, or its own when it is a pod, as a path of fields.
pub(crate) fn pod_spec_path(kind: &str) -> Option<&'static [&'static str]> {
    match kind {
        "Pod" => Some(&["spec"]),
        "CronJob" => Some(&["spec", "jobTemplate", "spec", "template", "spec"]),
        "Deployment" | "ReplicaSet" | "ReplicationController" | "StatefulSet" | "DaemonSet" | "Job" => {
            Some(&["spec", "template", "spec"])
        }
        _ => None,
    }
}

/// Whether `owner` is the controller that `object` names.
pub(crate) fn is_controlled_by(object: &Value, owner: &Value) -> bool {
    let uid = text(owner, &["metadata", "uid"]);
    !uid.is_empty() && controller(object).is_some_and(|reference| text(reference, &["uid"]) == uid)
}

/// The reference to an object's controller.
pub(crate) fn controller(object: &Value) -> Option<&Value> {
    items(object, &["metadata", "ownerReferences"]).iter().find(|owner| owner["controller"] == true)
}

/// A condition of an object by its type.
pub(crate) fn condition<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    items(object, &["status", "conditions"]).iter().find(|condition| text(condition, &["type"]) == name)
}

fn expression(expression: &Value) -> String {
    let key = text(expression, &["key"]);
    let values: Vec<String> = items(expression, &["values"]).iter().map(plain).collect();
    match text(expression, &["operator"]) {
        "In" => format!("{key} in ({})", values.join(",")),
        "NotIn" => format!("{key} notin ({})", values.join(",")),
        "DoesNotExist" => format!("!{key}"),
        _ => key.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{pod_selector, selector_text};

    #[test]
    fn selectors_are_written_as_they_are_typed() {
        let selector = json!({"matchLabels": {"app": "web"}, "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["a", "b"]}, {"key": "old", "operator": "DoesNotExist"},
            {"key": "new", "operator": "Exists"}, {"key": "x", "operator": "NotIn", "values": ["y"]},
        ]});
        assert_eq!(selector_text(&selector), "app=web,tier in (a,b),!old,new,x notin (y)");
        assert_eq!(selector_text(&json!({})), "");
        assert_eq!(pod_selector(&json!({"spec": {"selector": {"a": "b"}}})), "a=b");
    }
}
