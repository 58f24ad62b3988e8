//! Event, in the core group.

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    field::FieldError,
    kind::{Column, FieldLabel, FieldLabels, Kind},
    time,
    value::text,
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

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    let namespace = text(&object["metadata"], "namespace");
    let involved = text(&object["involvedObject"], "namespace");
    // Events about objects outside namespaces live in `default`.
    let mismatch = if involved.is_empty() { namespace != "default" } else { involved != namespace };
    if mismatch {
        errors.push(FieldError::invalid(
            "involvedObject.namespace",
            involved,
            "does not match event.namespace",
        ));
    }
}

fn source(object: &Value) -> &str {
    match text(&object["source"], "component") {
        "" => text(object, "reportingComponent"),
        component => component,
    }
}

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
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
