//! Rules for fields that hold a number, or a share such as `25%`.

use serde_json::Value;

use crate::field::{FieldError, Path};

/// A number that is not negative, or a percentage.
pub(super) fn check(value: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    match value {
        Value::String(text) if percentage(value).is_none() => {
            let detail = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used \
                          for validation is '[0-9]+%')";
            errors.push(FieldError::invalid(field, text.as_str(), detail));
        }
        Value::Number(number) if number.as_i64().is_some_and(|number| number < 0) => {
            errors.push(FieldError::invalid(field, value.clone(), "must be greater than or equal to 0"));
        }
        _ => {}
    }
}

/// A percentage may be of the whole at most.
pub(super) fn check_at_most_all(value: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    if percentage(value).is_some_and(|percentage| percentage > 100) {
        errors.push(FieldError::invalid(field, value.clone(), "must not be greater than 100%"));
    }
}

/// Whether it comes to nothing, whatever it is a share of. What is no percentage counts as nothing.
pub(super) fn is_zero(value: &Value) -> bool {
    percentage(value).or_else(|| value.as_u64()).unwrap_or(0) == 0
}

/// Saturates, as only the comparison with 100 matters.
fn percentage(value: &Value) -> Option<u64> {
    let digits = value.as_str()?.strip_suffix('%')?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(value: Value, expected: &[&str]) {
        let mut errors = Vec::new();
        super::check(&value, &Path::new("f"), &mut errors);
        check_at_most_all(&value, &Path::new("f"), &mut errors);
        let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found}");
        }
    }

    #[test]
    fn numbers_and_percentages() {
        check(json!(0), &[]);
        check(json!(7), &[]);
        check(json!(-1), &["f: Invalid value: -1: must be greater"]);
        check(json!("25%"), &[]);
        check(json!("100%"), &[]);
        check(json!("101%"), &["f: Invalid value: \"101%\": must not be greater than 100%"]);
        check(json!("99999999999999999999%"), &["f: Invalid value: \"99999999999999999999%\": must not"]);
        for text in ["x", "5", "%", "-1%", "1.5%", ""] {
            check(json!(text), &["f: Invalid value"]);
        }
        for (value, expected) in [
            (json!(0), true),
            (json!("0%"), true),
            (json!("x"), true),
            (json!(1), false),
            (json!("1%"), false),
        ] {
            assert_eq!(is_zero(&value), expected, "{value}");
        }
    }
}
