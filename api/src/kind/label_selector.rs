//! Rules for label selectors in their object form, and for specs whose selector selects the pods of their template.

use serde_json::Value;

use super::report;
use crate::{
    field::{FieldError, Path},
    meta, names,
    selector::LabelSelector,
    value::{has, list, text},
};

/// Rules for `{matchLabels, matchExpressions}`.
pub(super) fn check(selector: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    meta::validate_labels(selector, "matchLabels", field, errors);
    for (position, requirement) in list(selector, "matchExpressions").iter().enumerate() {
        let field = field.child("matchExpressions").index(position);
        check_operator(requirement, &field, &[], errors);
        let key = text(requirement, "key");
        report(names::qualified_name(key), &field.child("key"), key, errors);
        for (position, value) in list(requirement, "values").iter().filter_map(Value::as_str).enumerate() {
            report(names::label_value(value), &field.child("values").index(position), value, errors);
        }
    }
}

/// The values of a requirement must suit its operator. Operators of `numeric` exist for nodes only.
pub(super) fn check_operator(
    requirement: &Value,
    field: &Path,
    numeric: &[&str],
    errors: &mut Vec<FieldError>,
) {
    let values = list(requirement, "values");
    match text(requirement, "operator") {
        "In" | "NotIn" => {
            if values.is_empty() {
                let detail = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.push(FieldError::required(field.child("values"), detail));
            }
        }
        "Exists" | "DoesNotExist" => {
            if !values.is_empty() {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(FieldError::forbidden(field.child("values"), detail));
            }
        }
        operator if numeric.contains(&operator) => {
            if values.len() != 1 {
                let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                errors.push(FieldError::required(field.child("values"), detail));
            }
        }
        operator => {
            let detail = "not a valid selector operator";
            errors.push(FieldError::invalid(field.child("operator"), operator, detail));
        }
    }
}

/// Whether a selector selects an object with these labels; a missing one selects nothing. `None` when it is no selector.
pub(super) fn selects(selector: &Value, labels: &Value) -> Option<bool> {
    if selector.is_null() {
        return Some(false);
    }
    LabelSelector::from_object(selector).ok().map(|selector| selector.matches(labels.as_object()))
}

/// Whether a selector is there and has no requirement.
pub(super) fn is_empty(selector: &Value) -> bool {
    !selector.is_null() && list(selector, "matchExpressions").is_empty() && !has(selector, "matchLabels")
}

/// A selector as messages show it: fields in the order of its struct.
pub(super) fn shown(selector: &Value) -> String {
    let present = ["matchLabels", "matchExpressions"].into_iter().filter(|key| has(selector, key));
    let fields: Vec<String> = present.map(|key| format!("\"{key}\":{}", selector[key])).collect();
    format!("{{{}}}", fields.join(","))
}

/// A selector as tables show it.
pub(super) fn cell(selector: &Value) -> String {
    let parsed =
        if selector.is_null() { Ok(LabelSelector::default()) } else { LabelSelector::from_object(selector) };
    match parsed.map(|selector| selector.to_string()) {
        Ok(text) if text.is_empty() => "<none>".to_owned(),
        Ok(text) => text,
        Err(_) => "<error>".to_owned(),
    }
}
