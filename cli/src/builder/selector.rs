//! A selector as it is typed, as the object that manifests hold.

use dunlin_api::selector::LabelSelector;
use serde_json::{Map, Value, json};

use crate::failure::UsageError;

/// The label selector that a text means: `app=web,tier in (a,b),!legacy`.
///
/// # Errors
/// [`UsageError`] when the text is none.
pub(crate) fn object(text: &str) -> Result<Value, UsageError> {
    LabelSelector::parse(text)
        .map_err(|error| UsageError(format!("couldn't parse the selector string {text:?}: {error}")))?;
    let (mut labels, mut expressions) = (Map::new(), Vec::new());
    for part in parts(text) {
        match requirement(part) {
            Requirement::Label(key, value) => {
                labels.insert(key.to_owned(), value.into());
            }
            Requirement::Expression(expression) => expressions.push(expression),
        }
    }
    let mut selector = json!({});
    if !labels.is_empty() {
        selector["matchLabels"] = labels.into();
    }
    if !expressions.is_empty() {
        selector["matchExpressions"] = expressions.into();
    }
    Ok(selector)
}

enum Requirement<'a> {
    Label(&'a str, &'a str),
    Expression(Value),
}

/// Parts between commas, but not between those in parentheses.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    text.split(move |character| {
        depth += match character {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        character == ',' && depth == 0
    })
    .map(str::trim)
    .filter(|part| !part.is_empty())
}

/// One part of a selector that is known to be one.
fn requirement(part: &str) -> Requirement<'_> {
    let with_values = |key: &str, operator: &str, values: Vec<&str>| {
        Requirement::Expression(json!({"key": key.trim(), "operator": operator, "values": values}))
    };
    if let Some((head, values)) = part.split_once('(') {
        let values: Vec<&str> = values.trim_end_matches(')').split(',').map(str::trim).collect();
        let mut words = head.split_whitespace();
        let (key, operator) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        return with_values(key, if operator == "in" { "In" } else { "NotIn" }, values);
    }
    if let Some((key, value)) = part.split_once("!=") {
        return with_values(key, "NotIn", vec![value.trim()]);
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Requirement::Label(key.trim(), value.trim());
    }
    Requirement::Expression(match part.strip_prefix('!') {
        Some(key) => json!({"key": key.trim(), "operator": "DoesNotExist"}),
        None => json!({"key": part, "operator": "Exists"}),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::object;

    #[test]
    fn selectors() {
        let check = |text: &str, expected: Value| assert_eq!(object(text).unwrap(), expected, "{text}");
        check("app=web", json!({"matchLabels": {"app": "web"}}));
        check("a==b, c=d", json!({"matchLabels": {"a": "b", "c": "d"}}));
        let expressions = json!([
            {"key": "app", "operator": "In", "values": ["a", "b"]}, {"key": "x", "operator": "DoesNotExist"},
            {"key": "y", "operator": "Exists"}, {"key": "z", "operator": "NotIn", "values": ["1"]},
            {"key": "t", "operator": "NotIn", "values": ["u"]},
        ]);
        check("app in (a,b),!x,y,z!=1,t notin (u)", json!({"matchExpressions": expressions}));
        assert!(object("a in").is_err());
    }
}
