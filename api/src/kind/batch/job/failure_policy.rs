//! Rules for `podFailurePolicy`: what failures of pods mean for their Job.

use serde_json::Value;

use crate::{
    field::{FieldError, Path},
    kind::report,
    names,
    value::{has, list, text},
};

pub(super) fn check(job: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let (rules, field) = (list(&job["podFailurePolicy"], "rules"), field.child("rules"));
    if rules.len() > RULES_LIMIT {
        errors.push(FieldError::too_many(&field, rules.len(), RULES_LIMIT));
    }
    for (position, rule) in rules.iter().enumerate() {
        check_rule(job, rule, &field.index(position), errors);
    }
}

fn check_rule(job: &Value, rule: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let action_field = field.child("action");
    match text(rule, "action") {
        "" => errors.push(one_required(action_field, &ACTIONS)),
        "FailIndex" => {
            if !has(job, "backoffLimitPerIndex") {
                let detail = "requires the backoffLimitPerIndex to be set";
                errors.push(FieldError::invalid(action_field, "FailIndex", detail));
            }
        }
        action if ACTIONS.contains(&action) => {}
        other => errors.push(FieldError::not_supported(action_field, other, &ACTIONS)),
    }
    let conditions = list(rule, "onPodConditions");
    if has(rule, "onExitCodes") {
        check_exit_codes(job, &rule["onExitCodes"], &field.child("onExitCodes"), errors);
    }
    check_conditions(conditions, &field.child("onPodConditions"), errors);
    let detail = match (has(rule, "onExitCodes"), conditions.is_empty()) {
        (true, false) => "specifying both OnExitCodes and OnPodConditions is not supported",
        (false, true) => "specifying one of OnExitCodes and OnPodConditions is required",
        _ => return,
    };
    errors.push(FieldError::invalid_as_a_whole(field, detail));
}

fn check_conditions(patterns: &[Value], field: &Path, errors: &mut Vec<FieldError>) {
    if patterns.len() > PATTERNS_LIMIT {
        errors.push(FieldError::too_many(field, patterns.len(), PATTERNS_LIMIT));
    }
    for (position, pattern) in patterns.iter().enumerate() {
        let field = field.index(position);
        let kind = text(pattern, "type");
        report(names::qualified_name(kind), &field.child("type"), kind, errors);
        match text(pattern, "status") {
            "" => errors.push(one_required(field.child("status"), &STATUSES)),
            status if STATUSES.contains(&status) => {}
            other => errors.push(FieldError::not_supported(field.child("status"), other, &STATUSES)),
        }
    }
}

fn check_exit_codes(job: &Value, codes: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let operator = text(codes, "operator");
    match operator {
        "" => errors.push(one_required(field.child("operator"), &OPERATORS)),
        operator if OPERATORS.contains(&operator) => {}
        other => errors.push(FieldError::not_supported(field.child("operator"), other, &OPERATORS)),
    }
    if let Some(name) = codes["containerName"].as_str() {
        let pod = &job["template"]["spec"];
        let mut containers = ["containers", "initContainers"].into_iter().flat_map(|key| list(pod, key));
        if !containers.any(|container| text(container, "name") == name) {
            let detail = "must be one of the container or initContainer names in the pod template";
            errors.push(FieldError::invalid(field.child("containerName"), name, detail));
        }
    }
    let (values, field) = (list(codes, "values"), field.child("values"));
    if values.is_empty() {
        // As Go shows a list that is not there.
        errors.push(FieldError::invalid(&field, codes["values"].clone(), "at least one value is required"));
    } else if values.len() > CODES_LIMIT {
        errors.push(FieldError::too_many(&field, values.len(), CODES_LIMIT));
    }
    for (position, code) in values.iter().enumerate() {
        let field = field.index(position);
        if operator == "In" && *code == 0 {
            errors.push(FieldError::invalid(&field, 0, "must not be 0 for the In operator"));
        }
        if values[..position].contains(code) {
            errors.push(FieldError::duplicate(&field, code.clone()));
        }
    }
    if !values.is_sorted_by_key(|code| code.as_i64()) {
        errors.push(FieldError::invalid(&field, values.to_vec(), "must be ordered"));
    }
}

fn one_required(field: Path, choices: &[&str]) -> FieldError {
    let choices: Vec<String> = choices.iter().map(|choice| format!("\"{choice}\"")).collect();
    FieldError::required(field, &format!("valid values: [{}]", choices.join(" ")))
}

const ACTIONS: [&str; 4] = ["Count", "FailIndex", "FailJob", "Ignore"];
const STATUSES: [&str; 3] = ["False", "True", "Unknown"];
const OPERATORS: [&str; 2] = ["In", "NotIn"];
const RULES_LIMIT: usize = 20;
const PATTERNS_LIMIT: usize = 20;
const CODES_LIMIT: usize = 255;
