//! Event, as `events.k8s.io` has it: another version of the Event of the core group, with stricter rules.

use serde_json::Value;

use crate::{
    field::FieldError,
    kind::{Conversion, FieldLabel, FieldLabels, Kind, Storage, core::event},
    value::{has, put, remove, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    group: "events.k8s.io",
    schema: "io.k8s.api.events.v1.Event",
    storage: Storage::As(Conversion {
        stored: &event::KIND,
        to_stored: |object| {
            rename(object, |served, stored| (served, stored));
            Ok(())
        },
        from_stored: |object| rename(object, |served, stored| (stored, served)),
    }),
    fields: FieldLabels::Named(&[
        FieldLabel::path("reason"),
        FieldLabel::path("regarding.kind"),
        FieldLabel::path("regarding.namespace"),
        FieldLabel::path("regarding.name"),
        FieldLabel::path("regarding.uid"),
        FieldLabel::path("regarding.apiVersion"),
        FieldLabel::path("regarding.resourceVersion"),
        FieldLabel::path("regarding.fieldPath"),
        FieldLabel::path("reportingController"),
        FieldLabel::path("type"),
    ]),
    validate_create,
    validate_update,
    row: |object, now| {
        let mut stored = object.clone();
        rename(&mut stored, |served, stored| (served, stored));
        event::row(&stored, now)
    },
    ..event::KIND
};

/// Fields that are called differently here than in the core group.
const NAMES: [(&str, &str); 7] = [
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("reportingController", "reportingComponent"),
];

fn rename(object: &mut Value, direction: fn(&'static str, &'static str) -> (&'static str, &'static str)) {
    for (served, stored) in NAMES {
        let (from, to) = direction(served, stored);
        let value = remove(object, from).unwrap_or_default();
        put(object, to, value);
    }
}

/// Rules for a new event in its stored form, whose names Kubernetes uses in what it says.
fn validate_create(object: &Value, errors: &mut Vec<FieldError>) {
    check_series(object, errors);
    if !has(object, "eventTime") {
        errors.push(FieldError::required("eventTime", ""));
    }
    let kind = text(object, "type");
    if !["Normal", "Warning"].contains(&kind) {
        errors.push(FieldError::invalid("type", "", &format!("has invalid value: {kind}")));
    }
    for key in ["firstTimestamp", "lastTimestamp"] {
        if has(object, key) {
            errors.push(FieldError::invalid(key, "", UNSET));
        }
    }
    if object["count"].as_i64().unwrap_or(0) != 0 {
        errors.push(FieldError::invalid("count", "", UNSET));
    }
    let source = &object["source"];
    if ["component", "host"].iter().any(|key| !text(source, key).is_empty()) {
        errors.push(FieldError::invalid("source", "", UNSET));
    }
}

/// Rules for a change of an event: its series may grow, nothing else.
fn validate_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    if new["series"] != old["series"] {
        check_series(new, errors);
    }
    for (key, shown) in FIXED {
        if new[key] != old[key] {
            errors.push(FieldError::invalid(shown, new[key].clone(), "field is immutable"));
        }
    }
}

fn check_series(object: &Value, errors: &mut Vec<FieldError>) {
    let series = &object["series"];
    if series.is_null() {
        return;
    }
    if series["count"].as_i64().unwrap_or(0) < 2 {
        errors.push(FieldError::invalid("series.count", "", "should be at least 2"));
    }
    if !has(series, "lastObservedTime") {
        errors.push(FieldError::required("series.lastObservedTime", ""));
    }
}

/// Fields that stay as they are, in the order in which they are checked, with what messages call them.
const FIXED: [(&str, &str); 13] = [
    ("involvedObject", "involvedObject"),
    ("reason", "reason"),
    ("message", "message"),
    ("source", "source"),
    ("firstTimestamp", "firstTimestamp"),
    ("lastTimestamp", "lastTimestamp"),
    ("count", "count"),
    ("type", "type"),
    ("eventTime", "eventTime"),
    ("action", "action"),
    ("related", "related"),
    ("reportingComponent", "reportingController"),
    ("reportingInstance", "reportingInstance"),
];

const UNSET: &str = "needs to be unset";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::field::messages;

    #[test]
    fn events_come_back_as_they_were() {
        let event = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"},
            "eventTime": "2026-01-01T00:00:00.000001Z", "note": "n", "regarding": {"kind": "Pod"},
            "reportingController": "a.b/c", "deprecatedSource": {"component": "s"}, "deprecatedCount": 3,
        });
        let mut object = event.clone();
        KIND.to_stored(&mut object).unwrap();
        let expected = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"},
            "eventTime": "2026-01-01T00:00:00.000001Z", "message": "n", "involvedObject": {"kind": "Pod"},
            "reportingComponent": "a.b/c", "source": {"component": "s"}, "count": 3,
        });
        assert_eq!(object, expected);
        KIND.from_stored(&mut object);
        assert_eq!(object, event);
    }

    #[test]
    fn rules() {
        let time = "2026-01-01T00:00:00.000000Z";
        let check = |object: Value, expected: &[&str]| {
            assert_eq!(messages(|errors| validate_create(&object, errors)), expected);
        };
        check(json!({"eventTime": time, "type": "Normal"}), &[]);
        check(
            json!({"type": "x", "count": 1, "firstTimestamp": time, "source": {"host": "h"}}),
            &[
                "eventTime: Required value",
                "type: Invalid value: \"\": has invalid value: x",
                "firstTimestamp: Invalid value: \"\": needs to be unset",
                "count: Invalid value: \"\": needs to be unset",
                "source: Invalid value: \"\": needs to be unset",
            ],
        );
        check(
            json!({"eventTime": time, "type": "Normal", "series": {"count": 1}}),
            &[
                "series.count: Invalid value: \"\": should be at least 2",
                "series.lastObservedTime: Required value",
            ],
        );
    }

    #[test]
    fn only_a_series_may_grow() {
        let old = json!({"reason": "R", "reportingComponent": "a"});
        let check = |key: &str, value: Value, expected: &[&str]| {
            let mut new = old.clone();
            new[key] = value;
            assert_eq!(messages(|errors| validate_update(&new, &old, errors)), expected);
        };
        check("series", json!({"count": 2, "lastObservedTime": "2026-01-01T00:00:00.000000Z"}), &[]);
        check("reason", json!("S"), &["reason: Invalid value: \"S\": field is immutable"]);
        check(
            "reportingComponent",
            json!("b"),
            &["reportingController: Invalid value: \"b\": field is immutable"],
        );
    }
}
