//! Replays what a Kubernetes 1.36 server answered, in `tests/golden/`, through the pure pipeline.
//!
//! The cases are those about our kinds that a function of a request and an object can answer. Left out of the data: service
//! account token volumes, which nothing mounts yet, and `managedFields`, which come with server-side apply.

use std::collections::BTreeMap;

use dunlin_api::{
    Kind, Status,
    decode::Format,
    kind,
    patch::PatchKind,
    pipeline::{self, Accepted, Creation, FieldValidation, Target},
    status::OptionsKind,
    table::{self, IncludeObject},
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

/// A case or a step of one.
#[derive(Deserialize)]
struct Case {
    #[serde(default)]
    name: String,
    #[serde(default)]
    method: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    query: BTreeMap<String, String>,
    #[serde(default, rename = "contentType")]
    content_type: String,
    body: Option<Box<RawValue>>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    response: Value,
    #[serde(default)]
    steps: Vec<Self>,
}

/// When everything happens; the data has a placeholder for it.
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// Cases whose answer differs, and why.
const EXCEPTIONS: &[(&str, &str)] =
    &[("configmap key", "the same two errors; Kubernetes lists them in the random order of a Go map")];

/// Whether a step of a sequence is answered by the service and not by a function of the object.
fn is_services(case: &Case, current: Option<&Value>) -> bool {
    let reason = case.response["reason"].as_str().unwrap_or_default();
    let message = case.response["message"].as_str().unwrap_or_default();
    case.method == "DELETE"
        || (case.method == "POST" && current.is_some())
        || case.content_type.starts_with("application/apply-patch")
        || (reason == "Conflict" && message.contains("has been modified"))
        || (message.contains("Options.meta.k8s.io") && !message.contains("fieldValidation"))
}

#[test]
fn defaulting() {
    replay(include_str!("../golden/defaulting.json"));
}

#[test]
fn validation() {
    replay(include_str!("../golden/validation.json"));
}

#[test]
fn patches() {
    replay(include_str!("../golden/patch.json"));
}

fn replay(cases: &str) {
    let cases: Vec<Case> = serde_json::from_str(cases).expect("cases are JSON");
    assert!(cases.len() > 10);
    let mut failures = Vec::new();
    for case in &cases {
        let excepted = EXCEPTIONS.iter().any(|(name, _)| *name == case.name);
        let differences = run(case);
        assert!(!excepted || !differences.is_empty(), "`{}` is excepted but equal", case.name);
        if !excepted {
            failures
                .extend(differences.into_iter().map(|difference| format!("## {}\n{difference}", case.name)));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} cases differ:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

/// Runs a case against an object of its own and answers what differs.
fn run(case: &Case) -> Vec<String> {
    let steps = if case.steps.is_empty() { std::slice::from_ref(case) } else { &case.steps };
    let mut current = None;
    let mut differences = Vec::new();
    for step in steps.iter().filter(|step| !step.method.is_empty()) {
        if is_services(step, current.as_ref()) {
            continue;
        }
        let outcome = perform(step, current.as_ref());
        differences.extend(difference(step, &outcome));
        if let Ok(accepted) = outcome {
            let mut object = accepted.object;
            object["metadata"]["resourceVersion"] = step.response["metadata"]["resourceVersion"].clone();
            current = Some(object);
        }
    }
    differences
}

fn perform(case: &Case, current: Option<&Value>) -> Result<Accepted, Status> {
    let (kind, namespace, subresource) = address(&case.path);
    let body = case.body.as_ref().map_or("", |body| body.get());
    // A body given as a string is sent as that text.
    let body = serde_json::from_str::<String>(body).unwrap_or_else(|_| body.replace("<time>", EPOCH));
    let validation = case.query.get("fieldValidation").map_or("", String::as_str);
    let validation = FieldValidation::parse(validation, OptionsKind::Create)?;
    let format = if case.content_type == "application/yaml" { Format::Yaml } else { Format::Json };
    let target = if subresource == "status" { Target::Status } else { Target::Object };
    let decoded = match case.method.as_str() {
        "PATCH" => {
            let patch = PatchKind::from_content_type(&case.content_type).expect("a patch type");
            pipeline::patch(kind, current.expect("an object to change"), patch, body.as_bytes(), validation)?
        }
        _ => pipeline::decode(kind, body.as_bytes(), format, validation)?,
    };
    let checked = match case.method.as_str() {
        "POST" => {
            let now = Timestamp::UNIX_EPOCH;
            pipeline::create(
                kind,
                decoded.object,
                &Creation { namespace, now, uid: "<uid-1>", suffix: "rand5" },
            )
        }
        _ => pipeline::update(kind, target, current.expect("an object to change"), decoded.object),
    }?;
    let own = |warning: &String| !warning.ends_with("has no effect yet");
    let warnings = decoded.warnings.into_iter().chain(checked.warnings.into_iter().filter(own)).collect();
    Ok(Accepted { object: checked.object, warnings })
}

/// Kind, namespace and subresource of a path below `/api/v1/`.
fn address(path: &str) -> (&'static Kind, &str, &str) {
    let parts: Vec<&str> = path.split('/').collect();
    let (namespace, rest) = match parts.as_slice() {
        ["namespaces", namespace, rest @ ..]
            if rest.first().is_some_and(|name| !["status", "finalize"].contains(name)) =>
        {
            (*namespace, rest)
        }
        rest => ("", rest),
    };
    let kind = kind::by_resource("", "v1", rest[0]).expect("one of our kinds");
    (kind, namespace, rest.get(2).copied().unwrap_or_default())
}

fn difference(case: &Case, outcome: &Result<Accepted, Status>) -> Option<String> {
    // A step that only prepares has no recorded answer.
    if case.response.is_null() {
        return outcome.as_ref().err().map(|status| format!("expected an object\n   found {status}"));
    }
    let expected = case.response.to_string().replace("<rand>", "rand5");
    let mut expected: Value = serde_json::from_str(&expected).expect("still JSON");
    let (mut found, warnings) = match outcome {
        Ok(accepted) => (accepted.object.clone(), accepted.warnings.clone()),
        // A refusal carries no warnings of its own; those of decoding are the front's to send.
        Err(status) => (status.0.clone(), Vec::new()),
    };
    for object in [&mut expected, &mut found] {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
        }
    }
    let found: Value = serde_json::from_str(&found.to_string().replace(EPOCH, "<time>")).expect("still JSON");
    let quoted =
        |warning: &String| format!("299 - \"{}\"", warning.replace('\\', r"\\").replace('"', "\\\""));
    let warnings: Vec<String> = warnings.iter().map(quoted).collect();
    if found != expected {
        return Some(format!("expected {expected}\n   found {found}"));
    }
    (outcome.is_ok() && warnings != case.warnings)
        .then(|| format!("expected warnings {:?}\n   found {warnings:?}", case.warnings))
}

#[test]
fn tables_have_the_columns_of_kubernetes() {
    let tables: BTreeMap<String, Value> =
        serde_json::from_str(include_str!("../golden/tables.json")).unwrap();
    for (plural, expected) in tables {
        let kind = kind::by_resource("", "v1", &plural).unwrap();
        let found = table::render(kind, [], IncludeObject::None, Timestamp::UNIX_EPOCH);
        let column =
            |column: &Value| json!([column["name"], column["type"], column["format"], column["priority"]]);
        let found: Value = found["columnDefinitions"].as_array().unwrap().iter().map(column).collect();
        assert_eq!(found, expected, "{plural}");
    }
}

/// Every beginning of every body is decoded: an answer or a refusal, never a panic.
#[test]
fn truncated_bodies_are_refused_politely() {
    for data in [include_str!("../golden/defaulting.json"), include_str!("../golden/validation.json")] {
        let cases: Vec<Case> = serde_json::from_str(data).unwrap();
        for body in cases.iter().filter_map(|case| case.body.as_ref()) {
            let body = body.get().as_bytes();
            for end in (0..body.len()).step_by(7) {
                for format in [Format::Json, Format::Yaml] {
                    let pod = kind::by_kind("v1", "Pod").unwrap();
                    if let Err(status) = pipeline::decode(pod, &body[..end], format, FieldValidation::Strict)
                    {
                        assert_eq!(status.code(), 400, "{status}");
                    }
                }
            }
        }
    }
}

/// Writing an object as it is changes nothing: no generation, no defaults that came and went.
#[test]
fn updates_without_a_change_change_nothing() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../golden/defaulting.json")).unwrap();
    for case in &cases {
        let Ok(created) = perform(case, None) else { continue };
        let kind = address(&case.path).0;
        for target in [Target::Object, Target::Status] {
            let updated = pipeline::update(kind, target, &created.object, created.object.clone()).unwrap();
            assert_eq!(updated.object, created.object, "{}", case.name);
        }
    }
}
