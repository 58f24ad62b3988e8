//! Event, in the core group.

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    field::{FieldError, Path},
    kind::{Column, FieldLabel, FieldLabels, Kind, report},
    names::{self, NameRule},
    time,
    value::{has, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    kind: "Event",
    plural: "events",
    singular: "event",
    short_names: &["ev"],
    schema: "io.k8s.api.core.v1.Event",
    columns: &[
        Column::shown("Last Seen", "When it was last seen."),
        Column::shown("Type", "Normal or Warning."),
        Column::shown("Reason", "Why, in one word for machines."),
        Column::shown("Object", "What it is about."),
        Column::wide("Subobject", "Which part of the object."),
        Column::wide("Source", "Who saw it."),
        Column::shown("Message", "What happened, for people."),
        Column::wide("First Seen", "When it was first seen."),
        Column::wide("Count", "How often it was seen."),
        Column { priority: 1, ..Column::NAME },
    ],
    name_rule: NameRule::PathSegment,
    fields: FieldLabels::Named(&[
        FieldLabel::path("involvedObject.kind"),
        FieldLabel::path("involvedObject.namespace"),
        FieldLabel::path("involvedObject.name"),
        FieldLabel::path("involvedObject.uid"),
        FieldLabel::path("involvedObject.apiVersion"),
        FieldLabel::path("involvedObject.resourceVersion"),
        FieldLabel::path("involvedObject.fieldPath"),
        FieldLabel::path("reason"),
        FieldLabel::path("reportingComponent"),
        FieldLabel { label: "source", canonical: "source", value: |object, _| source(object).to_owned() },
        FieldLabel::path("type"),
    ]),
    validate,
    row,
    ..Kind::BASE
};

/// Rules for every event, whichever group it came through.
fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    let namespace = text(&object["metadata"], "namespace");
    let involved = text(&object["involvedObject"], "namespace");
    let is_new_style = has(object, "eventTime");
    // Events about objects outside namespaces live in `default`; those with a time of their own may live with the system too.
    let mismatch = match (involved, is_new_style) {
        ("", false) => namespace != "default",
        ("", true) => !["default", "kube-system"].contains(&namespace),
        (involved, false) => involved != namespace,
        (_, true) => false,
    };
    if mismatch {
        errors.push(FieldError::invalid(
            "involvedObject.namespace",
            involved,
            "does not match event.namespace",
        ));
    }
    if is_new_style {
        check_report(object, errors);
    }
}

/// An event with a time of its own says who reports what.
fn check_report(object: &Value, errors: &mut Vec<FieldError>) {
    let controller = text(object, "reportingComponent");
    let field = Path::new("reportingController");
    if controller.is_empty() {
        errors.push(FieldError::required(&field, ""));
    }
    report(names::qualified_name(controller), &field, controller, errors);
    for key in ["reportingInstance", "action", "reason"] {
        if text(object, key).is_empty() {
            errors.push(FieldError::required(key, ""));
        }
        check_length(object, key, WORD_LIMIT_BYTES, errors);
    }
    check_length(object, "message", MESSAGE_LIMIT_BYTES, errors);
}

fn check_length(object: &Value, key: &str, limit: usize, errors: &mut Vec<FieldError>) {
    if text(object, key).len() > limit {
        errors.push(FieldError::invalid(key, "", &format!("can have at most {limit} characters")));
    }
}

const WORD_LIMIT_BYTES: usize = 128;
const MESSAGE_LIMIT_BYTES: usize = 1024;

fn source(object: &Value) -> &str {
    match text(&object["source"], "component") {
        "" => text(object, "reportingComponent"),
        component => component,
    }
}

pub(in crate::kind) fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    let event_time = &object["eventTime"];
    let first = match &object["firstTimestamp"] {
        Value::Null => event_time,
        first => first,
    };
    let last = match (&object["series"]["lastObservedTime"], &object["lastTimestamp"]) {
        (Value::Null, Value::Null) => first,
        (Value::Null, last) => last,
        (observed, _) => observed,
    };
    let series = object["series"]["count"].as_i64();
    let count = series.or_else(|| object["count"].as_i64()).filter(|count| *count > 0).unwrap_or(1);
    let involved = &object["involvedObject"];
    let target = format!("{}/{}", text(involved, "kind").to_lowercase(), text(involved, "name"));
    let origin = match (source(object), text(&object["source"], "host"), text(object, "reportingInstance")) {
        (component, "", "") => component.to_owned(),
        (component, "", instance) => format!("{component}, {instance}"),
        (component, host, _) => format!("{component}, {host}"),
    };
    vec![
        time::age(last, now).into(),
        text(object, "type").into(),
        text(object, "reason").into(),
        target.into(),
        text(involved, "fieldPath").into(),
        origin.into(),
        text(object, "message").trim().into(),
        time::age(first, now).into(),
        count.to_string().into(),
        text(&object["metadata"], "name").into(),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::field::messages;

    fn check(namespace: &str, involved: &str, rest: Value, expected: &[&str]) {
        let mut object = rest;
        object["metadata"] = json!({"namespace": namespace});
        object["involvedObject"] = json!({"namespace": involved});
        assert_eq!(messages(|errors| validate(&object, errors)), expected, "{object}");
    }

    #[test]
    fn events_live_with_what_they_are_about() {
        let mismatch = |involved: &str| {
            format!("involvedObject.namespace: Invalid value: \"{involved}\": does not match event.namespace")
        };
        check("a", "a", json!({}), &[]);
        check("default", "", json!({}), &[]);
        check("a", "b", json!({}), &[&mismatch("b")]);
        check("a", "", json!({}), &[&mismatch("")]);
        let new_style = json!({"eventTime": "2026-01-01T00:00:00.000000Z", "reportingComponent": "a.b/c",
            "reportingInstance": "i", "action": "A", "reason": "R"});
        check("a", "b", new_style.clone(), &[]);
        check("kube-system", "", new_style.clone(), &[]);
        check("a", "", new_style, &[&mismatch("")]);
    }

    #[test]
    fn events_of_the_new_style_say_who_reports() {
        let time = "2026-01-01T00:00:00.000000Z";
        let long = "x".repeat(WORD_LIMIT_BYTES + 1);
        let event =
            json!({"eventTime": time, "reportingComponent": "a", "reportingInstance": long, "reason": "R"});
        check(
            "a",
            "a",
            event,
            &[
                "reportingInstance: Invalid value: \"\": can have at most 128 characters",
                "action: Required value",
            ],
        );
    }
}
