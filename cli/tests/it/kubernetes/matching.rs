//! Holding a recorded answer against another run's: placeholders such as `<uid-1>` stand for what differs from run to run, and the
//! same placeholder for the same thing within a case.

use std::collections::BTreeMap;

use regex_lite::Regex;
use serde_json::{Value, json};

/// What the placeholders of a case stand for.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    values: BTreeMap<String, String>,
    /// The time that was seen last; requests name no other.
    time: Option<String>,
}

impl Bindings {
    /// Fills in the placeholders of a request: what is known, and for a uid that was nothing's one that is nothing's.
    pub(super) fn fill(&mut self, text: &str) -> String {
        for unknown in Regex::new("<uid-([0-9]+)>").unwrap().captures_iter(text) {
            let nobody = format!("00000000-0000-4000-8000-{:0>12}", &unknown[1]);
            self.values.entry(unknown[0].to_owned()).or_insert(nobody);
        }
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
        let (expected, found) = (&told_apart(&with_ordered_fields(expected)), &with_ordered_fields(found));
        let placeholders = Regex::new("<[a-zA-Z]+(-[0-9]+)?>|<apiserver-address>|xxx[0-9]{2}").unwrap();
        let mut pattern = String::from("(?s)^");
        let mut keys = Vec::new();
        let mut end = 0;
        for placeholder in placeholders.find_iter(expected) {
            pattern.push_str(&escape(&expected[end..placeholder.start()]));
            end = placeholder.end();
            let name = placeholder.as_str();
            let key = format!("{}{name}", scope(name, &expected[..placeholder.start()]));
            match (self.values.get(&key), form(name)) {
                (Some(known), _) => pattern.push_str(&escape(known)),
                (None, Some(form)) => {
                    pattern.push_str(&format!("({form})"));
                    keys.push(key);
                }
                (None, None) => pattern.push_str(&escape(name)),
            }
        }
        pattern.push_str(&escape(&expected[end..]));
        pattern.push('$');
        let Some(captures) = Regex::new(&pattern).unwrap().captures(found) else { return false };
        for (position, key) in keys.into_iter().enumerate() {
            if key == "<time>" {
                self.time = Some(captures[position + 1].to_owned());
            }
            // Only numbered ones and the suffix of a generated name mean the same thing each time.
            if is_numbered(&key) {
                self.values.insert(key, captures[position + 1].to_owned());
            }
        }
        true
    }
}

/// A refusal with what it says of a map's keys in the order of the recording: Kubernetes goes through maps in random order. Anything else
/// stays as it is.
pub(super) fn in_recorded_order(expected: &Value, mut found: Value) -> Value {
    let causes = |status: &Value| status["details"]["causes"].as_array().cloned().unwrap_or_default();
    let (wanted, given) = (causes(expected), causes(&found));
    let of_one_map = |cause: &Value| {
        let (map, key) = cause["field"].as_str()?.strip_suffix(']')?.split_once('[')?;
        key.parse::<usize>().is_err().then(|| map.to_owned())
    };
    let maps: Vec<_> = given.iter().map(of_one_map).collect();
    let is_one_map = maps.windows(2).all(|pair| pair[0] == pair[1]) && maps.iter().all(Option::is_some);
    let is_permutation = wanted.len() == given.len() && wanted.iter().all(|cause| given.contains(cause));
    if wanted != given && is_one_map && is_permutation {
        let told = |causes: &[Value]| {
            let text = |part: &Value| part.as_str().unwrap_or_default().to_owned();
            let texts =
                causes.iter().map(|cause| format!("{}: {}", text(&cause["field"]), text(&cause["message"])));
            texts.collect::<Vec<_>>().join(", ")
        };
        let message = found["message"].as_str().unwrap_or_default().replace(&told(&given), &told(&wanted));
        found["message"] = message.into();
        found["details"]["causes"] = wanted.into();
    }
    found
}

/// Before what a placeholder of this name stands for the same thing each time: suffixes are numbered per generated name.
fn scope<'t>(name: &str, before: &'t str) -> &'t str {
    if !name.starts_with("xxx") {
        return "";
    }
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    &before[before.trim_end_matches(is_name).len()..]
}

fn is_numbered(key: &str) -> bool {
    let name = key.trim_end_matches('>');
    name.ends_with(|last: char| last.is_ascii_digit())
}

/// A text with the fields of objects that it quotes in one order: JSON leaves the order open, and Kubernetes has that of its structs.
fn with_ordered_fields(text: &str) -> String {
    let (mut ordered, mut rest) = (String::new(), text);
    while let Some(start) = rest.find("\"{") {
        ordered.push_str(&rest[..start]);
        let mut quoted = serde_json::Deserializer::from_str(&rest[start..]).into_iter::<String>();
        let inner = quoted.next().and_then(Result::ok);
        let end = start + quoted.byte_offset();
        match inner.and_then(|inner| serde_json::from_str::<Value>(&inner).ok()) {
            Some(value) => {
                ordered.push_str(&Value::String(value.to_string()).to_string());
                rest = &rest[end..];
            }
            None => {
                ordered.push_str("\"{");
                rest = &rest[start + 2..];
            }
        }
    }
    ordered.push_str(rest);
    ordered
}

/// An expected text with placeholders for what the recording left as it was: versions of objects that a message quotes, and the digest of
/// a certificate.
fn told_apart(expected: &str) -> String {
    let versions = Regex::new(r#"("resourceVersion\\*":\\*")[0-9]+"#).unwrap();
    let digests = Regex::new("(X509SHA256=)[0-9a-f]{64}").unwrap();
    let expected = versions.replace_all(expected, "${1}<rv>");
    digests.replace_all(&expected, "${1}<digest>").into_owned()
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
        "digest" => "[0-9a-f]{64}",
        "rand" => "[a-z0-9]+",
        "apiserver" | "clusterIP" => "[0-9a-f:.]+",
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
    let expected: Value = json!({"a": "<uid-1>", "b": "x <rv-1> y", "t": "<time>", "u": "<time>"});
    let found = json!({"a": uid, "b": "x 7 y", "t": "2026-01-01T00:00:00Z", "u": "2026-01-01T00:00:01Z"});
    assert!(bindings.compare(&expected, &found).is_empty());
    assert_eq!(bindings.fill("/<uid-1>?v=<rv-1>"), format!("/{uid}?v=7"));
    assert!(
        bindings.matches("<rv-1>", "7")
            && !bindings.matches("<rv-1>", "8")
            && !bindings.matches("<rv-2>", "x")
    );
    assert_eq!(bindings.compare(&json!({"a": 1}), &json!({"b": 1})).len(), 2);
    // Whose uid a request names must not matter: it is one that nothing has.
    assert_eq!(bindings.fill("<uid-2>"), "00000000-0000-4000-8000-000000000002");
    assert!(bindings.matches("not <uid-2>", "not 00000000-0000-4000-8000-000000000002"));
    assert!(!bindings.matches("not <uid-2>", &format!("not {uid}")));
}

#[test]
fn versions_that_a_message_quotes_may_differ() {
    let mut bindings = Bindings::default();
    let expected = r#"{\"resourceVersion\":\"683\",\"a\":\"1\"}"#;
    assert!(bindings.matches(expected, &expected.replace("683", "7")));
    assert!(!bindings.matches(expected, &expected.replace(r#"\"1\""#, r#"\"2\""#)));
}

#[test]
fn fields_of_an_object_that_a_message_quotes_have_no_order() {
    let mut bindings = Bindings::default();
    assert!(bindings.matches(r#"bad: "{\"a\":1,\"b\":{}}": no"#, r#"bad: "{\"b\":{},\"a\":1}": no"#));
    assert!(!bindings.matches(r#"bad: "{\"a\":1,\"b\":{}}": no"#, r#"bad: "{\"b\":{},\"a\":2}": no"#));
    assert!(!bindings.matches(r#"bad: "{" no"#, r#"bad: "[" no"#));
}

#[test]
fn suffixes_are_told_apart_by_what_they_end() {
    let mut bindings = Bindings::default();
    assert!(bindings.matches("web-xxx01 job-xxx01", "web-abcde job-fghij"));
    assert!(bindings.matches("pod/web-xxx01", "pod/web-abcde"));
    assert!(!bindings.matches("pod/web-xxx01", "pod/web-fghij"));
}

#[test]
fn only_the_order_of_a_maps_keys_may_differ() {
    let refusal = |fields: [&str; 2]| {
        let causes = fields.map(|field| json!({"field": field, "message": "bad"}));
        json!({"message": format!("[{}: bad, {}: bad]", fields[0], fields[1]), "details": {"causes": causes}})
    };
    let check = |wanted: [&str; 2], found: [&str; 2], is_same: bool| {
        let wanted = refusal(wanted);
        assert_eq!(in_recorded_order(&wanted, refusal(found)) == wanted, is_same, "{found:?}");
    };
    check(["data[a]", "data[b]"], ["data[b]", "data[a]"], true);
    check(["data[a]", "data[b]"], ["data[a]", "data[a]"], false);
    check(["data[a]", "info[b]"], ["info[b]", "data[a]"], false);
    check(["list[0]", "list[1]"], ["list[1]", "list[0]"], false);
    check(["a", "b"], ["b", "a"], false);
}
