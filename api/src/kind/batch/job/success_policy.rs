//! Rules for `successPolicy`: when an indexed Job has succeeded before all of its indexes have.

use serde_json::Value;

use crate::{
    field::{FieldError, Path},
    kind::batch::indexes,
    value::{has, list, text},
};

pub(super) fn check(job: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    if text(job, "completionMode") != "Indexed" {
        let shown = shown(list(&job["successPolicy"], "rules"));
        errors.push(FieldError::invalid_json(field, &shown, "requires indexed completion mode"));
        return;
    }
    let (rules, field) = (list(&job["successPolicy"], "rules"), field.child("rules"));
    if rules.is_empty() {
        let detail = "at least one rules must be specified when the successPolicy is specified";
        errors.push(FieldError::required(&field, detail));
    }
    if rules.len() > RULES_LIMIT {
        errors.push(FieldError::too_many(&field, rules.len(), RULES_LIMIT));
    }
    let completions = job["completions"].as_i64().unwrap_or(0);
    for (position, rule) in rules.iter().enumerate() {
        check_rule(rule, completions, &field.index(position), errors);
    }
}

fn check_rule(rule: &Value, completions: i64, field: &Path, errors: &mut Vec<FieldError>) {
    if !has(rule, "succeededCount") && !has(rule, "succeededIndexes") {
        let detail = "at least one of succeededCount or succeededIndexes must be specified";
        errors.push(FieldError::required(field, detail));
    }
    let mut named = None;
    if let Some(text) = rule["succeededIndexes"].as_str() {
        let field = field.child("succeededIndexes");
        if text.len() > INDEXES_LIMIT_BYTES {
            errors.push(FieldError::too_long(&field, INDEXES_LIMIT_BYTES));
        }
        named = Some(indexes::count(text, completions).unwrap_or_else(|error| {
            let detail = format!("error parsing succeededIndexes: {error}");
            errors.push(FieldError::invalid(&field, text, &detail));
            0
        }));
    }
    if let Some(count) = rule["succeededCount"].as_i64() {
        let field = field.child("succeededCount");
        if count < 0 {
            errors.push(FieldError::invalid(&field, count, "must be greater than or equal to 0"));
        }
        let limits = [
            (Some(completions), "the number of specified completions"),
            (named, "the number of indexes in the specified succeededIndexes field"),
        ];
        for (limit, what) in limits {
            if let Some(limit) = limit.filter(|limit| count > *limit) {
                let detail = format!("must be less than or equal to {limit} ({what})");
                errors.push(FieldError::invalid(&field, count, &detail));
            }
        }
    }
}

/// The policy as messages show it: the way Go holds it.
fn shown(rules: &[Value]) -> String {
    let rules: Vec<String> = rules
        .iter()
        .map(|rule| {
            let (indexes, count) = (&rule["succeededIndexes"], &rule["succeededCount"]);
            format!("{{\"SucceededIndexes\":{indexes},\"SucceededCount\":{count}}}")
        })
        .collect();
    if rules.is_empty() {
        "{\"Rules\":null}".to_owned()
    } else {
        format!("{{\"Rules\":[{}]}}", rules.join(","))
    }
}

const RULES_LIMIT: usize = 20;
const INDEXES_LIMIT_BYTES: usize = 64 * 1024;
