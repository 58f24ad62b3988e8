//! Holding a recorded answer against another run's: placeholders such as `<uid-1>` stand for what differs from run to run, and the
//! same placeholder for the same thing within a case.

use std::collections::BTreeMap;

use regex_lite::Regex;
use serde_json::Value;

/// What the placeholders of a case stand for.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    values: BTreeMap<String, String>,
    /// The time that was seen last; requests name no other.
    time: Option<String>,
}

impl Bindings {
    /// Fills in the placeholders that are known, for a request.
    pub(super) fn fill(&self, text: &str) -> String {
        let filled =
            self.values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
        filled.replace("<time>", self.time.as_deref().unwrap_or("2026-01-01T00:00:00Z"))
    }

    /// Describes each difference, with the path where it is.
    pub(super) fn compare(&mut self, expected: &Value, found: &Value) -> Vec<String> {
        let mut differences = Vec::new();
        self.walk(expected, found, "", &mut differences);
        differences
    }

    fn walk(&mut self, expected: &Value, found: &Value, path: &str, differences: &mut Vec<String>) {
        match (expected, found) {
            (Value::Object(wanted), Value::Object(given)) => {
                for key in given.keys().filter(|key| !wanted.contains_key(*key) && !is_untold(key)) {
                    differences.push(format!("{path}.{key}: not expected: {}", given[key]));
                }
                for (key, value) in wanted.iter().filter(|(key, _)| !is_text_of_kubernetes(path, key)) {
                    match given.get(key) {
                        Some(other) => self.walk(value, other, &format!("{path}.{key}"), differences),
                        None => differences.push(format!("{path}.{key}: missing: {value}")),
                    }
                }
            }
            (Value::Array(wanted), Value::Array(given)) => {
                if wanted.len() != given.len() {
                    differences.push(format!(
                        "{path}: {} elements, expected {}: {found} expected {expected}",
                        given.len(),
                        wanted.len()
                    ));
                    return;
                }
                for (position, (value, other)) in wanted.iter().zip(given).enumerate() {
                    self.walk(value, other, &format!("{path}[{position}]"), differences);
                }
            }
            (Value::String(wanted), _) => {
                let given = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
                if !self.matches(wanted, &given) {
                    differences.push(format!("{path}: {given:?}\n     expected {wanted:?}"));
                }
            }
            (wanted, given) if wanted == given => {}
            (wanted, given) => differences.push(format!("{path}: {given}, expected {wanted}")),
        }
    }

    /// Whether a text is as expected; binds placeholders that are new.
    pub(super) fn matches(&mut self, expected: &str, found: &str) -> bool {
        if expected == found {
            return true;
        }
        let placeholders = Regex::new("<[a-zA-Z]+(-[0-9]+)?>|xxx[0-9]{2}").unwrap();
        let mut pattern = String::from("(?s)^");
        let mut names = Vec::new();
        let mut end = 0;
        for placeholder in placeholders.find_iter(expected) {
            pattern.push_str(&escape(&expected[end..placeholder.start()]));
            end = placeholder.end();
            let name = placeholder.as_str();
            match (self.values.get(name), form(name)) {
                (Some(known), _) => pattern.push_str(&escape(known)),
                (None, Some(form)) => {
                    pattern.push_str(&format!("({form})"));
                    names.push(name.to_owned());
                }
                (None, None) => pattern.push_str(&escape(name)),
            }
        }
        pattern.push_str(&escape(&expected[end..]));
        pattern.push('$');
        let Some(captures) = Regex::new(&pattern).unwrap().captures(found) else { return false };
        for (position, name) in names.into_iter().enumerate() {
            // Only numbered ones and the suffix of a generated name mean the same thing each time.
            if name == "<time>" {
                self.time = Some(captures[position + 1].to_owned());
            }
            if name.contains('-') || name.starts_with("xxx") {
                self.values.insert(name, captures[position + 1].to_owned());
            }
        }
        true
    }
}

/// What a placeholder may stand for.
fn form(placeholder: &str) -> Option<&'static str> {
    if placeholder.starts_with("xxx") {
        return Some("[a-z0-9]{5}");
    }
    let name = placeholder.trim_matches(['<', '>']);
    Some(match name.split('-').next().unwrap_or_default() {
        "uid" => "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "rv" | "nodePort" => "[0-9]+",
        "continue" | "token" | "hash" => "[A-Za-z0-9_=+/.-]+",
        "time" => r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?Z",
        "rand" => "[a-z0-9]+",
        "clusterIP" => "[0-9a-f:.]+",
        "pem" | "host" => ".+",
        "age" => "[0-9]+[smhdy](?:[0-9]+[smhdy])?",
        "date" => "[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]+ [+-][0-9]{4}",
        _ => return None,
    })
}

/// Recorded answers mostly leave these out.
fn is_untold(key: &str) -> bool {
    key == "managedFields"
}

/// Descriptions are texts of Kubernetes; ours are our own.
fn is_text_of_kubernetes(path: &str, key: &str) -> bool {
    key == "description" && path.contains("columnDefinitions")
}

fn escape(text: &str) -> String {
    regex_lite::escape(text)
}

#[test]
fn placeholders_stand_for_the_same_thing() {
    let mut bindings = Bindings::default();
    let uid = "2c9f0f5e-91a5-4a3b-9d7e-1f2a3b4c5d6e";
    let expected: Value =
        serde_json::json!({"a": "<uid-1>", "b": "x <rv-1> y", "t": "<time>", "u": "<time>"});
    let found =
        serde_json::json!({"a": uid, "b": "x 7 y", "t": "2026-01-01T00:00:00Z", "u": "2026-01-01T00:00:01Z"});
    assert!(bindings.compare(&expected, &found).is_empty());
    assert_eq!(bindings.fill("/<uid-1>?v=<rv-1>"), format!("/{uid}?v=7"));
    assert!(
        bindings.matches("<rv-1>", "7")
            && !bindings.matches("<rv-1>", "8")
            && !bindings.matches("<rv-2>", "x")
    );
    assert_eq!(bindings.compare(&serde_json::json!({"a": 1}), &serde_json::json!({"b": 1})).len(), 2);
}
