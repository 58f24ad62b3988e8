//! PodDisruptionBudget.

use serde_json::Value;

use crate::{
    field::{FieldError, Path},
    kind::{
        Column, Generation, Kind, Subresource, age_cell, conditions, int_or_percent, label_selector,
        workload::{self, check_counts, count_cell, name_cell},
    },
    names::NameRule,
    value::{has, list},
};

pub(in crate::kind) static KIND: Kind = Kind {
    group: "policy",
    kind: "PodDisruptionBudget",
    plural: "poddisruptionbudgets",
    singular: "poddisruptionbudget",
    short_names: &["pdb"],
    schema: "io.k8s.api.policy.v1.PodDisruptionBudget",
    subresources: &[Subresource::STATUS],
    columns: &[
        Column::NAME,
        Column::shown("Min Available", "How many pods must stay available."),
        Column::shown("Max Unavailable", "How many pods may be unavailable."),
        Column::integer("Allowed Disruptions", "How many pods may be evicted now."),
        Column::AGE,
    ],
    inert: None,
    name_rule: NameRule::PathSegment,
    generation: Generation::CountsSpecChanges,
    prepare_create: |object, _| workload::reset_status(object),
    prepare_update: workload::keep_status,
    validate,
    validate_status: |new, _, errors| {
        let (status, field) = (&new["status"], Path::new("status"));
        conditions::check(list(status, "conditions"), &field.child("conditions"), errors);
        let counts = ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"];
        check_counts(status, &counts, &field, errors);
    },
    row: |object, now| {
        let spec = &object["spec"];
        let limit = |key: &str| match &spec[key] {
            Value::Null => "N/A".into(),
            Value::Number(number) => number.to_string().into(),
            share => share.clone(),
        };
        vec![
            name_cell(object),
            limit("minAvailable"),
            limit("maxUnavailable"),
            count_cell(&object["status"], "disruptionsAllowed"),
            age_cell(object, now),
        ]
    },
    ..Kind::BASE
};

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    let (spec, field) = (&object["spec"], Path::new("spec"));
    let limits = ["minAvailable", "maxUnavailable"];
    if limits.iter().all(|key| has(spec, key)) {
        let detail = "minAvailable and maxUnavailable cannot be both set";
        errors.push(FieldError::invalid_json(&field, &shown(spec), detail));
    }
    for key in limits {
        int_or_percent::check(&spec[key], &field.child(key), errors);
        int_or_percent::check_at_most_all(&spec[key], &field.child(key), errors);
    }
    label_selector::check(&spec["selector"], &field.child("selector"), errors);
    let policies = ["AlwaysAllow", "IfHealthyBudget"];
    let policy = spec["unhealthyPodEvictionPolicy"].as_str();
    if let Some(policy) = policy.filter(|policy| !policies.contains(policy)) {
        errors.push(FieldError::not_supported(field.child("unhealthyPodEvictionPolicy"), policy, &policies));
    }
}

/// A spec as messages show it: the way Go holds it.
fn shown(spec: &Value) -> String {
    let selector = match &spec["selector"] {
        Value::Null => "null".to_owned(),
        selector => label_selector::shown(selector),
    };
    format!(
        "{{\"MinAvailable\":{},\"Selector\":{selector},\"MaxUnavailable\":{},\"UnhealthyPodEvictionPolicy\":{}}}",
        spec["minAvailable"], spec["maxUnavailable"], spec["unhealthyPodEvictionPolicy"]
    )
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
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
            json!({"maxUnavailable": "30%", "selector": {}, "unhealthyPodEvictionPolicy": "AlwaysAllow"}),
            &[],
        );
        check(
            json!({"minAvailable": 1, "maxUnavailable": "1%"}),
            &["spec: Invalid value: {\"MinAvailable\":1,\"Selector\":null,\"MaxUnavailable\":\"1%\",\
             \"UnhealthyPodEvictionPolicy\":null}: minAvailable and maxUnavailable cannot be both set"],
        );
        check(
            json!({"minAvailable": "101%"}),
            &["spec.minAvailable: Invalid value: \"101%\": must not be greater than 100%"],
        );
        check(
            json!({"unhealthyPodEvictionPolicy": "x"}),
            &[
                "spec.unhealthyPodEvictionPolicy: Unsupported value: \"x\": supported values: \"AlwaysAllow\", \"IfHealthyBudget\"",
            ],
        );
    }

    #[test]
    fn rows_show_the_limits() {
        let check = |spec: Value, expected: [&str; 2]| {
            let object =
                json!({"metadata": {"name": "p"}, "spec": spec, "status": {"disruptionsAllowed": 2}});
            let row = (KIND.row)(&object, Timestamp::UNIX_EPOCH);
            assert_eq!(row[1..4], [json!(expected[0]), json!(expected[1]), json!(2)]);
        };
        check(json!({"minAvailable": 1}), ["1", "N/A"]);
        check(json!({"maxUnavailable": "25%"}), ["N/A", "25%"]);
    }
}
