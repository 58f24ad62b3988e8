//! Lease.

use serde_json::Value;

use crate::{
    field::{FieldError, Path},
    kind::{Column, Kind, age_cell, report, workload::name_cell},
    names,
    value::text,
};

pub(in crate::kind) static KIND: Kind = Kind {
    group: "coordination.k8s.io",
    kind: "Lease",
    plural: "leases",
    singular: "lease",
    schema: "io.k8s.api.coordination.v1.Lease",
    columns: &[Column::NAME, Column::shown("Holder", "Who holds it."), Column::AGE],
    validate,
    row: |object, now| {
        vec![name_cell(object), text(&object["spec"], "holderIdentity").into(), age_cell(object, now)]
    },
    ..Kind::BASE
};

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    let (spec, field) = (&object["spec"], Path::new("spec"));
    for (key, least, detail) in [
        ("leaseDurationSeconds", 1, "must be greater than 0"),
        ("leaseTransitions", 0, "must be greater than or equal to 0"),
    ] {
        if let Some(value) = spec[key].as_i64().filter(|value| *value < least) {
            errors.push(FieldError::invalid(field.child(key), value, detail));
        }
    }
    let strategy = spec["strategy"].as_str();
    if let Some(strategy) = strategy {
        let field = field.child("strategy");
        if strategy.contains('/') {
            report(names::qualified_name(strategy), &field, strategy, errors);
        } else if strategy != OLDEST {
            errors.push(FieldError::not_supported(field, strategy, &[OLDEST]));
        }
    }
    if !text(spec, "preferredHolder").is_empty() && strategy.is_none_or(str::is_empty) {
        let detail = "may only be specified when `strategy` is defined";
        errors.push(FieldError::forbidden(field.child("preferredHolder"), detail));
    }
}

/// The one way to choose a leader that Kubernetes itself knows.
const OLDEST: &str = "OldestEmulationVersion";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::field::messages;

    #[test]
    fn rules() {
        let check = |spec: Value, expected: &[&str]| {
            let object = json!({"spec": spec});
            assert_eq!(messages(|errors| validate(&object, errors)), expected);
        };
        check(
            json!({"leaseDurationSeconds": 15, "leaseTransitions": 0, "strategy": OLDEST, "preferredHolder": "a"}),
            &[],
        );
        check(
            json!({"leaseDurationSeconds": 0, "leaseTransitions": -1}),
            &[
                "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
                "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
            ],
        );
        check(
            json!({"strategy": "x"}),
            &["spec.strategy: Unsupported value: \"x\": supported values: \"OldestEmulationVersion\""],
        );
        check(
            json!({"preferredHolder": "a"}),
            &["spec.preferredHolder: Forbidden: may only be specified when `strategy` is defined"],
        );
    }
}
