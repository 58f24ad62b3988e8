//! PriorityLevelConfiguration: how many requests of a level are served at once, and how many wait.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::INERT;
use crate::{
    field::{FieldError, Path},
    kind::{Column, Generation, Kind, Subresource, age_cell},
    value::{default, has, object_mut, put, set, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    group: "flowcontrol.apiserver.k8s.io",
    kind: "PriorityLevelConfiguration",
    plural: "prioritylevelconfigurations",
    singular: "prioritylevelconfiguration",
    namespaced: false,
    schema: "io.k8s.api.flowcontrol.v1.PriorityLevelConfiguration",
    subresources: &[Subresource::STATUS],
    columns: &[
        Column::NAME,
        Column::shown("Type", "Whether its requests are limited."),
        Column::shown("NominalConcurrencyShares", "Its share of what is served at once."),
        Column::shown("Queues", "How many queues it has."),
        Column::shown("HandSize", "From how many of them a flow gets its own."),
        Column::shown("QueueLengthLimit", "How many requests wait in one."),
        Column::AGE,
    ],
    generation: Generation::CountsSpecChanges,
    inert: INERT,
    default: apply_defaults,
    prepare_create: |object, _| set(object, "status", json!({})),
    prepare_update: |new, old| put(new, "status", old["status"].clone()),
    validate,
    row,
    ..Kind::BASE
};

fn apply_defaults(object: &mut Value) {
    let spec = object_mut(object, "spec");
    for (level, shares) in [("exempt", 0), ("limited", 30)] {
        if has(spec, level) {
            default(&mut spec[level], "nominalConcurrencyShares", shares);
            default(&mut spec[level], "lendablePercent", 0);
        }
    }
    if text(spec, "type") == "Exempt" && !has(spec, "exempt") {
        set(spec, "exempt", json!({"nominalConcurrencyShares": 0, "lendablePercent": 0}));
    }
    let response = spec.get_mut("limited").and_then(|limited| limited.get_mut("limitResponse"));
    if let Some(queuing) = response.and_then(|response| response.get_mut("queuing")) {
        for (key, usual) in [("handSize", 8), ("queues", 64), ("queueLengthLimit", 50)] {
            if queuing[key].as_i64().unwrap_or_default() == 0 {
                set(queuing, key, usual);
            }
        }
    }
}

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    let (spec, field) = (&object["spec"], Path::new("spec"));
    let kind = text(spec, "type");
    if (text(&object["metadata"], "name") == "exempt") != (kind == "Exempt") {
        let detail = "type must be 'Exempt' if and only if name is 'exempt'";
        errors.push(FieldError::invalid(field.child("type"), kind, detail));
    }
    match kind {
        "Exempt" => {
            if has(spec, "limited") {
                let detail = "must be nil if the type is not Limited";
                errors.push(FieldError::forbidden(field.child("limited"), detail));
            }
            check_shares(&spec["exempt"], &field.child("exempt"), errors);
        }
        "Limited" => {
            if has(spec, "exempt") {
                let detail = "must be nil if the type is Limited";
                errors.push(FieldError::forbidden(field.child("exempt"), detail));
            }
            if has(spec, "limited") {
                check_limited(&spec["limited"], &field.child("limited"), errors);
            } else {
                let detail = "must not be empty when type is Limited";
                errors.push(FieldError::required(field.child("limited"), detail));
            }
        }
        other => errors.push(FieldError::not_supported(field.child("type"), other, &["Exempt", "Limited"])),
    }
}

fn check_shares(level: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    if let Some(shares) = level["nominalConcurrencyShares"].as_i64().filter(|shares| *shares < 0) {
        let detail = "must be a non-negative integer";
        errors.push(FieldError::invalid(field.child("nominalConcurrencyShares"), shares, detail));
    }
    if let Some(percent) = level["lendablePercent"].as_i64().filter(|percent| !(0..=100).contains(percent)) {
        let detail = "must be between 0 and 100, inclusive";
        errors.push(FieldError::invalid(field.child("lendablePercent"), percent, detail));
    }
}

fn check_limited(limited: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    check_shares(limited, field, errors);
    if let Some(percent) = limited["borrowingLimitPercent"].as_i64().filter(|percent| *percent < 0) {
        let detail = "if specified, must be a non-negative integer";
        errors.push(FieldError::invalid(field.child("borrowingLimitPercent"), percent, detail));
    }
    let (response, field) = (&limited["limitResponse"], field.child("limitResponse"));
    match (text(response, "type"), has(response, "queuing")) {
        ("Reject", true) => {
            let detail = "must be nil if limited.limitResponse.type is not Limited";
            errors.push(FieldError::forbidden(field.child("queuing"), detail));
        }
        ("Queue", false) => {
            let detail = "must not be empty if limited.limitResponse.type is Limited";
            errors.push(FieldError::required(field.child("queuing"), detail));
        }
        ("Queue", true) => check_queuing(&response["queuing"], &field.child("queuing"), errors),
        ("Reject", false) => {}
        (other, _) => {
            errors.push(FieldError::not_supported(field.child("type"), other, &["Queue", "Reject"]));
        }
    }
}

fn check_queuing(queuing: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let number = |key: &str| queuing[key].as_i64().unwrap_or_default();
    for key in ["queueLengthLimit", "queues"] {
        if number(key) <= 0 {
            errors.push(FieldError::invalid(field.child(key), number(key), "must be positive"));
        }
    }
    if number("queues") > QUEUES_MAX {
        let detail = format!("must not be greater than {QUEUES_MAX}");
        errors.push(FieldError::invalid(field.child("queues"), number("queues"), &detail));
    }
    let (hand, queues) = (number("handSize"), number("queues"));
    if hand <= 0 {
        errors.push(FieldError::invalid(field.child("handSize"), hand, "must be positive"));
    } else if hand > queues {
        let detail = format!("should not be greater than queues ({queues})");
        errors.push(FieldError::invalid(field.child("handSize"), hand, &detail));
    }
}

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    let number = |value: &Value| match value.as_i64() {
        Some(number) => number.into(),
        None => Value::from("<none>"),
    };
    let queuing = &spec["limited"]["limitResponse"]["queuing"];
    vec![
        text(&object["metadata"], "name").into(),
        text(spec, "type").into(),
        number(&spec["limited"]["nominalConcurrencyShares"]),
        number(&queuing["queues"]),
        number(&queuing["handSize"]),
        number(&queuing["queueLengthLimit"]),
        age_cell(object, now),
    ]
}

const QUEUES_MAX: i64 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_limited_or_exempt() {
        let check = |spec: Value, expected: &[&str]| {
            let mut object = json!({"metadata": {"name": "p"}, "spec": spec});
            apply_defaults(&mut object);
            let mut errors = Vec::new();
            validate(&object, &mut errors);
            let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected);
        };
        check(
            json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": {}}}}),
            &[],
        );
        check(
            json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": {"queues": 2}}}}),
            &[
                "spec.limited.limitResponse.queuing.handSize: Invalid value: 8: should not be greater than queues (2)",
            ],
        );
        check(
            json!({"type": "Limited", "limited": {"limitResponse": {"type": "Reject", "queuing": {}}}}),
            &[
                "spec.limited.limitResponse.queuing: Forbidden: must be nil if limited.limitResponse.type is not Limited",
            ],
        );
        check(
            json!({"type": "Exempt"}),
            &["spec.type: Invalid value: \"Exempt\": type must be 'Exempt' if and only if name is 'exempt'"],
        );
    }
}
