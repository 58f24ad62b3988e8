//! `behavior`: how fast an autoscaler may scale, up and down.

use serde_json::{Value, json};

use crate::{
    field::{FieldError, Path},
    quantity::Quantity,
    value::{default, default_text, has, list, object_mut, set, text},
};

/// Fills in the rules that are not given.
pub(super) fn complete(behavior: &mut Value) {
    let up = object_mut(behavior, "scaleUp");
    default(up, "stabilizationWindowSeconds", 0);
    complete_rules(up, json!([policy("Pods", 4), policy("Percent", 100)]));
    complete_rules(object_mut(behavior, "scaleDown"), json!([policy("Percent", 100)]));
}

fn complete_rules(rules: &mut Value, policies: Value) {
    default_text(rules, "selectPolicy", "Max");
    if !has(rules, "policies") {
        set(rules, "policies", policies);
    }
}

fn policy(kind: &str, value: i64) -> Value {
    json!({"type": kind, "value": value, "periodSeconds": 15})
}

pub(super) fn check(behavior: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    for key in ["scaleUp", "scaleDown"] {
        if has(behavior, key) {
            check_rules(&behavior[key], &field.child(key), errors);
        }
    }
}

fn check_rules(rules: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    if let Some(window) = rules["stabilizationWindowSeconds"].as_i64() {
        let field = field.child("stabilizationWindowSeconds");
        if window < 0 {
            errors.push(FieldError::invalid(field, window, "must be greater than or equal to zero"));
        } else if window > WINDOW_LIMIT_SECONDS {
            let detail = format!("must be less than or equal to {WINDOW_LIMIT_SECONDS}");
            errors.push(FieldError::invalid(field, window, &detail));
        }
    }
    let selections = ["Disabled", "Max", "Min"];
    if let Some(selection) = rules["selectPolicy"].as_str().filter(|given| !selections.contains(given)) {
        errors.push(FieldError::not_supported(field.child("selectPolicy"), selection, &selections));
    }
    let policies = list(rules, "policies");
    if policies.is_empty() {
        errors.push(FieldError::required(field.child("policies"), "must specify at least one Policy"));
    }
    for (position, policy) in policies.iter().enumerate() {
        check_policy(policy, &field.child("policies").index(position), errors);
    }
    let tolerance: Option<Quantity> = rules["tolerance"].as_str().and_then(|text| text.parse().ok());
    if tolerance.is_some_and(Quantity::is_negative) {
        let detail = "must be greater or equal to zero";
        errors.push(FieldError::invalid(field.child("tolerance"), rules["tolerance"].clone(), detail));
    }
}

fn check_policy(policy: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let (kind, kinds) = (text(policy, "type"), ["Percent", "Pods"]);
    if !kinds.contains(&kind) {
        errors.push(FieldError::not_supported(field.child("type"), kind, &kinds));
    }
    for key in ["value", "periodSeconds"] {
        let value = policy[key].as_i64().unwrap_or(0);
        if value <= 0 {
            errors.push(FieldError::invalid(field.child(key), value, "must be greater than zero"));
        }
    }
    let period = policy["periodSeconds"].as_i64().unwrap_or(0);
    if period > PERIOD_LIMIT_SECONDS {
        let detail = format!("must be less than or equal to {PERIOD_LIMIT_SECONDS}");
        errors.push(FieldError::invalid(field.child("periodSeconds"), period, &detail));
    }
}

/// The text of the annotation by which version 1 says it: the way Go holds it.
pub(super) fn to_annotation(behavior: &Value) -> String {
    let [up, down] = ["scaleUp", "scaleDown"].map(|key| rules_to_text(&behavior[key]));
    format!("{{\"ScaleUp\":{up},\"ScaleDown\":{down}}}")
}

fn rules_to_text(rules: &Value) -> String {
    if rules.is_null() {
        return "null".to_owned();
    }
    let policies = match &rules["policies"] {
        Value::Array(policies) => {
            let policies: Vec<String> = policies
                .iter()
                .map(|policy| {
                    let [kind, value, period] = ["type", "value", "periodSeconds"].map(|key| &policy[key]);
                    format!("{{\"Type\":{kind},\"Value\":{value},\"PeriodSeconds\":{period}}}")
                })
                .collect();
            format!("[{}]", policies.join(","))
        }
        _ => "null".to_owned(),
    };
    let [window, selection, tolerance] =
        ["stabilizationWindowSeconds", "selectPolicy", "tolerance"].map(|key| &rules[key]);
    format!(
        "{{\"StabilizationWindowSeconds\":{window},\"SelectPolicy\":{selection},\"Policies\":{policies},\
         \"Tolerance\":{tolerance}}}"
    )
}

/// What the annotation says; names count in any case, as Go reads them.
pub(super) fn from_annotation(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let known = |key: &str| FIELDS.iter().find(|field| field.eq_ignore_ascii_case(key));
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            let fields = fields.filter_map(|(key, value)| {
                let name = known(&key)?;
                Some(((*name).to_owned(), from_annotation(value)))
            });
            Value::Object(fields.collect())
        }
        Value::Array(elements) => elements.into_iter().map(from_annotation).collect(),
        scalar => scalar,
    }
}

const FIELDS: [&str; 9] = [
    "scaleUp",
    "scaleDown",
    "stabilizationWindowSeconds",
    "selectPolicy",
    "policies",
    "tolerance",
    "type",
    "value",
    "periodSeconds",
];
const WINDOW_LIMIT_SECONDS: i64 = 3600;
const PERIOD_LIMIT_SECONDS: i64 = 1800;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::messages;

    #[test]
    fn rules_that_are_not_given_are_filled_in() {
        let mut behavior = json!({"scaleDown": {"policies": [{"type": "Pods", "value": 4, "periodSeconds": 60}]},
            "scaleUp": {"stabilizationWindowSeconds": 10}});
        complete(&mut behavior);
        let expected = json!({
            "scaleUp": {"stabilizationWindowSeconds": 10, "selectPolicy": "Max", "policies": [policy("Pods", 4), policy("Percent", 100)]},
            "scaleDown": {"selectPolicy": "Max", "policies": [{"type": "Pods", "value": 4, "periodSeconds": 60}]},
        });
        assert_eq!(behavior, expected);
    }

    #[test]
    fn rules_are_checked() {
        let check = |rules: Value, expected: &[&str]| {
            let behavior = json!({"scaleUp": rules});
            assert_eq!(messages(|errors| check(&behavior, &Path::new("b"), errors)), expected);
        };
        let policies = json!([policy("Pods", 4)]);
        check(json!({"policies": policies}), &[]);
        check(json!({}), &["b.scaleUp.policies: Required value: must specify at least one Policy"]);
        check(
            json!({"policies": policies, "stabilizationWindowSeconds": 3601, "selectPolicy": "x"}),
            &[
                "b.scaleUp.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600",
                "b.scaleUp.selectPolicy: Unsupported value: \"x\": supported values: \"Disabled\", \"Max\", \"Min\"",
            ],
        );
        check(
            json!({"policies": [{"type": "x", "value": 0, "periodSeconds": 1801}]}),
            &[
                "b.scaleUp.policies[0].type: Unsupported value: \"x\": supported values: \"Percent\", \"Pods\"",
                "b.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero",
                "b.scaleUp.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800",
            ],
        );
    }

    #[test]
    fn an_annotation_says_it_all() {
        let mut behavior = json!({"scaleUp": {"tolerance": "50m"}});
        complete(&mut behavior);
        let text = to_annotation(&behavior);
        assert!(text.starts_with("{\"ScaleUp\":{\"StabilizationWindowSeconds\":0,\"SelectPolicy\":\"Max\",\"Policies\":[{\"Type\":\"Pods\","), "{text}");
        assert_eq!(from_annotation(serde_json::from_str(&text).unwrap()), behavior);
    }
}
