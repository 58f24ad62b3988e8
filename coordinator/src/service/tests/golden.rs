//! Replays what a Kubernetes API server answered, as far as it concerns the kinds we have.
//!
//! Placeholders such as `<uid-1>` stand for the same text wherever they occur in a case; `<time>` and `<rand>` for any.

use std::collections::BTreeMap;

use dunlin_link::rpc::Method;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::{Fixture, Request};
use crate::service::{
    User,
    path::{self, Target},
    query::Query,
};

/// Cases that are answered differently, and why. A case that comes to pass must leave the list.
const SKIPPED: &[(&str, &str)] = &[
    ("405 foo method", "the link's requests have the methods of the API only"),
    ("watch {\"resourceVersion\": \"1\"}", "a new store still has all of its history"),
    ("service ports", "it asks for an address of the range that the recorded server had"),
];

/// How warnings end that Kubernetes does not give, which acts on more than we do yet.
const OWN_WARNINGS: [&str; 2] = ["has no effect yet", "acts on it yet"];

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_watches() {
    replay(include_str!("../golden/listwatch.json")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions() {
    replay(include_str!("../golden/delete.json")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals() {
    replay(include_str!("../golden/validation.json")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn patches() {
    replay(include_str!("../golden/patch.json")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn creations() {
    replay(include_str!("../golden/defaulting.json")).await;
}

/// The cases of the pure crate, as far as their kinds are served: here versions of objects count, and what the store knows.
#[tokio::test(flavor = "multi_thread")]
async fn applies() {
    let cases = include_str!("../../../../api/tests/golden/apply.json");
    let cases: Vec<Value> = serde_json::from_str(cases).unwrap();
    let is_served = |case: &Value| {
        let paths = case["steps"].as_array().into_iter().flatten().filter_map(|step| step["path"].as_str());
        paths.map(|path| path::parse(Method::Get, path, &Query::default())).all(|target| {
            matches!(target, Ok(Target::Resource(request))
                if matches!(request.subresource.as_str(), "" | "status" | "scale"))
        })
    };
    let served: Vec<Value> = cases.into_iter().filter(is_served).collect();
    assert!(served.len() >= 18, "{}", served.len());
    replay_all(served).await;
}

async fn replay(cases: &str) {
    replay_all(serde_json::from_str(cases).unwrap()).await;
}

async fn replay_all(cases: Vec<Value>) {
    let outcomes: Vec<_> = stream::iter(cases)
        .map(|case| async move {
            let name = case["name"].as_str().unwrap().to_owned();
            let outcome = run(&case).await;
            (name, outcome)
        })
        .buffer_unordered(CASES_AT_ONCE)
        .collect()
        .await;
    let mut problems = Vec::new();
    for (name, outcome) in outcomes {
        let skipped = SKIPPED.iter().find(|(skipped, _)| *skipped == name);
        match (outcome, skipped) {
            (Err(problem), None) => problems.push(format!("{name}: {problem}")),
            (Ok(()), Some(_)) => problems.push(format!("{name}: is skipped but passes")),
            _ => {}
        }
    }
    assert!(problems.is_empty(), "{} cases differ:\n{}", problems.len(), problems.join("\n"));
}

async fn run(case: &Value) -> Result<(), String> {
    let fixture = Fixture::start().await;
    let golden = json!({"metadata": {"name": "golden"}});
    fixture.send(Request::new(Method::Post, "/api/v1/namespaces").with_body(&golden)).await;
    let mut names = Placeholders::default();
    let steps = case["steps"].as_array().cloned().unwrap_or_else(|| vec![case.clone()]);
    for (position, step) in steps.iter().enumerate() {
        if step["path"].is_null() {
            continue;
        }
        check_step(&fixture, step, &mut names)
            .await
            .map_err(|problem| format!("step {position}: {problem}"))?;
    }
    Ok(())
}

async fn check_step(fixture: &Fixture, step: &Value, names: &mut Placeholders) -> Result<(), String> {
    let Some(request) = request(step, names) else {
        return Err("this method cannot be sent".to_owned());
    };
    let response = match step["headers"]["Impersonate-User"].as_str() {
        None => fixture.send(request).await,
        Some(name) => fixture.send_as(&User::new(name, []).authenticated(), request).await,
    };
    let (status, warnings) = (response.head.status, response.head.warnings.clone());
    let body = response.into_bytes().await.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&body).into_owned();
    if step["setup"] == true {
        // Namespaces have their service account already here.
        return if matches!(status, 200 | 201 | 409) {
            Ok(())
        } else {
            Err(format!("setup: {status} {text}"))
        };
    }
    if step["status"] != status {
        return Err(format!("expected {}, got {status}: {text}", step["status"]));
    }
    if let Some(events) = step["events"].as_array() {
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() != events.len() {
            return Err(format!("expected {} events, got {text}", events.len()));
        }
        for (event, line) in events.iter().zip(lines) {
            let found = serde_json::from_str(line).unwrap_or_else(|_| Value::from(line));
            names.check(event, &found, "event")?;
        }
        return Ok(());
    }
    let found = serde_json::from_str(&text).unwrap_or(Value::String(text));
    names.check(&step["response"], &found, "")?;
    let expected: Vec<String> = step["warnings"].as_array().into_iter().flatten().map(unquoted).collect();
    let is_kubernetes = |warning: &String| !OWN_WARNINGS.iter().any(|end| warning.ends_with(end));
    let warnings: Vec<_> = warnings.into_iter().filter(is_kubernetes).collect();
    if expected != warnings {
        return Err(format!("expected warnings {expected:?}, got {warnings:?}"));
    }
    Ok(())
}

fn request(step: &Value, names: &mut Placeholders) -> Option<Request> {
    let method = match step["method"].as_str().unwrap() {
        "GET" => Method::Get,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "PATCH" => Method::Patch,
        "DELETE" => Method::Delete,
        _ => return None,
    };
    let mut request = Request::new(method, &names.fill(step["path"].as_str().unwrap()));
    for (name, value) in step["query"].as_object().into_iter().flatten() {
        request = request.with_query(name, &names.fill(value.as_str().unwrap()));
    }
    request.content_type = step["contentType"].as_str().unwrap_or_default().to_owned();
    request.accept = step["accept"].as_str().unwrap_or_default().to_owned();
    request.body = match &step["body"] {
        Value::Null => Vec::new(),
        Value::String(text) => text.clone().into_bytes(),
        body => names.fill(&body.to_string()).into_bytes(),
    };
    Some(request)
}

/// The text between the quotes of `299 - "..."`.
fn unquoted(warning: &Value) -> String {
    let text = warning.as_str().unwrap().trim_start_matches("299 - ");
    serde_json::from_str(text).unwrap()
}

/// What the placeholders of a case stand for.
#[derive(Default)]
struct Placeholders(BTreeMap<String, String>);

impl Placeholders {
    /// Puts in what is known; what is not is made up, as it was for Kubernetes.
    fn fill(&mut self, text: &str) -> String {
        let mut filled = String::new();
        for part in parts(text) {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Placeholder(name) => {
                    let made_up = format!("made-up-{}", name.trim_matches(['<', '>']));
                    filled.push_str(self.0.entry(name.to_owned()).or_insert(made_up));
                }
            }
        }
        filled
    }

    fn check(&mut self, expected: &Value, found: &Value, path: &str) -> Result<(), String> {
        match (expected, found) {
            (Value::Object(expected), Value::Object(found)) => {
                if let Some(created) = found.get("creationTimestamp").and_then(Value::as_str) {
                    // What clients send back is what they were told.
                    self.0.insert("<time>".to_owned(), created.to_owned());
                }
                for (key, value) in expected.iter().filter(|(key, _)| !is_text(key, path)) {
                    let own = found.get(key).ok_or_else(|| format!("{path}.{key} is missing: {found:?}"))?;
                    self.check(value, own, &format!("{path}.{key}"))?;
                }
                let is_ignored = |key: &str| is_text(key, path) || key == "managedFields";
                match found.keys().find(|key| !expected.contains_key(*key) && !is_ignored(key)) {
                    Some(extra) => Err(format!("{path}.{extra} is too much: {}", found[extra])),
                    None => Ok(()),
                }
            }
            (Value::Array(expected), Value::Array(found)) => {
                if expected.len() != found.len() {
                    return Err(format!("{path}: expected {expected:?}, got {found:?}"));
                }
                let mut pairs = expected.iter().zip(found).enumerate();
                pairs.try_for_each(|(position, (expected, found))| {
                    self.check(expected, found, &format!("{path}[{position}]"))
                })
            }
            (Value::String(expected), Value::String(found)) if self.matches(expected, found) => Ok(()),
            (expected, found) if expected == found => Ok(()),
            _ => Err(format!("{path}: expected {expected}, got {found}")),
        }
    }

    fn matches(&mut self, expected: &str, found: &str) -> bool {
        let parts = parts(expected);
        let mut rest = found;
        for (position, part) in parts.iter().enumerate() {
            match part {
                Part::Text(text) => match rest.strip_prefix(text) {
                    Some(after) => rest = after,
                    None => return false,
                },
                Part::Placeholder(name) => {
                    let end = match parts.get(position + 1) {
                        Some(Part::Text(text)) => rest.find(text),
                        _ => Some(rest.len()),
                    };
                    let Some(end) = end else { return false };
                    let (value, after) = rest.split_at(end);
                    let is_bound = name.contains('-');
                    if is_bound
                        && self.0.entry((*name).to_owned()).or_insert_with(|| value.to_owned()) != value
                    {
                        return false;
                    }
                    rest = after;
                }
            }
        }
        rest.is_empty()
    }
}

/// Our own words.
fn is_text(key: &str, path: &str) -> bool {
    path.contains("columnDefinitions") && (key == "description" || key == "type")
}

enum Part<'a> {
    Text(&'a str),
    Placeholder(&'a str),
}

/// Cuts a text at its placeholders.
fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((start, end)) = next_placeholder(rest) {
        if start > 0 {
            parts.push(Part::Text(&rest[..start]));
        }
        parts.push(Part::Placeholder(&rest[start..end]));
        rest = &rest[end..];
    }
    if !rest.is_empty() || parts.is_empty() {
        parts.push(Part::Text(rest));
    }
    parts
}

fn next_placeholder(text: &str) -> Option<(usize, usize)> {
    let mut from = 0;
    while let Some(start) = text[from..].find('<').map(|at| from + at) {
        let end = start + text[start..].find('>')? + 1;
        let name = text[start + 1..end - 1].split('-').next().unwrap_or_default();
        if PLACEHOLDERS.contains(&name) {
            return Some((start, end));
        }
        from = start + 1;
    }
    None
}

const PLACEHOLDERS: [&str; 6] = ["uid", "rv", "continue", "time", "rand", "age"];
/// Cases have a store each and mostly wait for the end of watches.
const CASES_AT_ONCE: usize = 16;
