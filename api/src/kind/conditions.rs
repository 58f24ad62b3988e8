//! Rules for lists of conditions.

use serde_json::Value;

use super::report;
use crate::{
    field::{FieldError, Path},
    names,
    value::{has, text},
};

/// Rules for the conditions of a status, as those kinds have them that check theirs.
pub(super) fn check(conditions: &[Value], field: &Path, errors: &mut Vec<FieldError>) {
    for (position, condition) in conditions.iter().enumerate() {
        let field = field.index(position);
        let kind = text(condition, "type");
        if conditions[..position].iter().any(|other| text(other, "type") == kind) {
            errors.push(FieldError::duplicate(field.child("type"), kind));
        }
        report(names::qualified_name(kind), &field.child("type"), kind, errors);
        let (status, statuses) = (text(condition, "status"), ["False", "True", "Unknown"]);
        if !statuses.contains(&status) {
            errors.push(FieldError::not_supported(field.child("status"), status, &statuses));
        }
        if let Some(generation) =
            condition["observedGeneration"].as_i64().filter(|generation| *generation < 0)
        {
            let detail = "must be greater than or equal to zero";
            errors.push(FieldError::invalid(field.child("observedGeneration"), generation, detail));
        }
        if !has(condition, "lastTransitionTime") {
            errors.push(FieldError::required(field.child("lastTransitionTime"), "must be set"));
        }
        check_reason(text(condition, "reason"), &field.child("reason"), errors);
        if text(condition, "message").len() > MESSAGE_LIMIT_BYTES {
            errors.push(FieldError::too_long(field.child("message"), MESSAGE_LIMIT_BYTES));
        }
    }
}

fn check_reason(reason: &str, field: &Path, errors: &mut Vec<FieldError>) {
    if reason.is_empty() {
        errors.push(FieldError::required(field, "must be set"));
        return;
    }
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_,:".contains(&byte);
    let starts_well = reason.starts_with(|first: char| first.is_ascii_alphabetic());
    let ends_well = reason.ends_with(|last: char| last.is_ascii_alphanumeric() || last == '_');
    if !(starts_well && ends_well && reason.bytes().all(inner)) {
        let detail = "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric \
                      characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or \
                      'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is \
                      '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')";
        errors.push(FieldError::invalid(field, reason, detail));
    }
    if reason.len() > REASON_LIMIT_BYTES {
        errors.push(FieldError::too_long(field, REASON_LIMIT_BYTES));
    }
}

const REASON_LIMIT_BYTES: usize = 1024;
const MESSAGE_LIMIT_BYTES: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::field::messages;

    #[test]
    fn rules() {
        let refused = |condition: Value, expected: &[&str]| {
            let found = messages(|errors| check(&[condition], &Path::new("c"), errors));
            assert_eq!(found.len(), expected.len(), "{found:?}");
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.starts_with(expected), "{found}");
            }
        };
        let good = json!({"type": "Ready", "status": "True", "reason": "A_b", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let with = |key: &str, value: Value| {
            let mut condition = good.clone();
            condition[key] = value;
            condition
        };
        refused(good.clone(), &[]);
        refused(with("status", json!("true")), &["c[0].status: Unsupported value: \"true\""]);
        refused(with("reason", json!("")), &["c[0].reason: Required value: must be set"]);
        refused(with("reason", json!("1x")), &["c[0].reason: Invalid value: \"1x\""]);
        refused(with("observedGeneration", json!(-1)), &["c[0].observedGeneration: Invalid value: -1"]);
        refused(with("lastTransitionTime", json!(null)), &["c[0].lastTransitionTime: Required value"]);
        refused(with("type", json!("a b")), &["c[0].type: Invalid value: \"a b\""]);
        let found = messages(|errors| check(&[good.clone(), good.clone()], &Path::new("c"), errors));
        assert_eq!(found, ["c[1].type: Duplicate value: \"Ready\""]);
    }
}
