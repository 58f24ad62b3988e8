//! Running cases and comparing what comes of them.

use std::collections::BTreeMap;

use dunlin_api::{
    Status,
    admission::{Surroundings, pod_security::Around},
    decode::Format,
    kind::SCALE,
    managed::Force,
    patch::PatchKind,
    pipeline::{
        self, Accepted, Applying, Change, Creation, FieldValidation, Ownership, Requester, Scaling, Target,
    },
    status::OptionsKind,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{case::Case, pool::RecordedPool, service};

/// When everything happens; the data has a placeholder for it.
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// The id that every object gets; the data has a placeholder for it, which would be no good label.
const UID: &str = "6f2c1b1e-0000-4000-8000-000000000001";

/// Cases whose answer differs, and why.
const EXCEPTIONS: &[(&str, &str)] =
    &[("configmap key", "the same two errors; Kubernetes lists them in the random order of a Go map")];

/// What became of the requests of a file.
#[derive(Default)]
struct Report {
    replayed: usize,
    /// How many requests were left out, by reason.
    left_out: BTreeMap<&'static str, usize>,
    failures: Vec<String>,
}

/// Replays cases, and fails when an answer differs.
pub(crate) fn replay(cases: &[Case]) {
    let mut report = Report::default();
    for case in cases {
        let excepted = EXCEPTIONS.iter().any(|(name, _)| *name == case.name);
        let differences = run(case, &mut report);
        assert!(!excepted || !differences.is_empty(), "`{}` is excepted but equal", case.name);
        if !excepted {
            let named = |difference| format!("## {}\n{difference}", case.name);
            report.failures.extend(differences.into_iter().map(named));
        }
    }
    let Report { replayed, left_out, failures } = report;
    println!("{replayed} requests replayed; left out: {left_out:#?}");
    assert!(replayed > 10);
    let (count, failures) = (failures.len(), failures.join("\n"));
    assert!(failures.is_empty(), "{count} of {replayed} answers differ:\n{failures}");
}

/// Runs a case against an object of its own and answers what differs.
fn run(case: &Case, report: &mut Report) -> Vec<String> {
    let mut current = None;
    let mut differences = Vec::new();
    for step in case.requests() {
        // A dry run of one request leaves the next one what was there.
        let is_dry = !step.query("dryRun").is_empty();
        if let Some(reason) = service::answers(step, current.as_ref()) {
            *report.left_out.entry(reason).or_default() += 1;
            continue;
        }
        report.replayed += 1;
        let outcome = perform(step, current.as_ref());
        let served = outcome.clone().map(|accepted| serve(step, accepted));
        differences.extend(difference(step, &served));
        if let Ok(accepted) = outcome
            && !is_dry
        {
            let mut object = accepted.object;
            differences.extend(version_difference(step, current.as_ref(), &object));
            object["metadata"]["resourceVersion"] = step.response["metadata"]["resourceVersion"].clone();
            current = Some(object);
        }
    }
    differences
}

/// What a client sees of an object that is stored.
fn serve(case: &Case, mut accepted: Accepted) -> Accepted {
    let kind = case.address().expect("a kind that is served").kind;
    accepted.object =
        pipeline::served(kind, &accepted.object).expect("what is stored can be served").into_owned();
    accepted
}

/// What the pipeline answers a request that it can answer.
pub(crate) fn perform(case: &Case, current: Option<&Value>) -> Result<Accepted, Status> {
    let address = case.address().expect("a kind that is served");
    let kind = address.kind;
    let body = case.body().replace("<time>", EPOCH).replace("<uid-1>", UID);
    let validation = FieldValidation::parse(case.query("fieldValidation"), OptionsKind::Create)?;
    let content = case.content_type.as_deref().unwrap_or_default();
    let format = if content == "application/yaml" { Format::Yaml } else { Format::Json };
    let target = if address.subresource == "status" { Target::Status } else { Target::Object };
    let now = Timestamp::UNIX_EPOCH;
    let manager = if case.query("fieldManager").is_empty() { "golden" } else { case.query("fieldManager") };
    let force = if case.query("force") == "true" { Force::Yes } else { Force::No };
    if address.subresource == "scale" {
        let current = current.expect("an object to scale");
        let scaling = match PatchKind::from_content_type(content) {
            Some(patch) => Scaling::Patch(patch, body.as_bytes()),
            None if case.applies() => Scaling::Apply(body.as_bytes(), force),
            None => Scaling::Replace(pipeline::decode(&SCALE, body.as_bytes(), format, validation)?.object),
        };
        let scaled = pipeline::scale(kind, current, &scaling, validation, manager, now)?;
        let change = Change { target, now, ownership: Ownership::AsGiven, around: &Around::Nothing };
        let object =
            pipeline::update(kind, current, scaled.object, &change, &mut RecordedPool::new())?.object;
        return Ok(Accepted { object, warnings: scaled.warnings });
    }
    let (decoded, ownership) = match case.method.as_str() {
        "PATCH" if case.applies() => {
            let applying = Applying { target, name: address.name, manager, force, validation, now };
            (pipeline::apply(kind, current, body.as_bytes(), &applying)?, Ownership::AsGiven)
        }
        "PATCH" => {
            let patch = PatchKind::from_content_type(content).expect("a patch type");
            let current = current.expect("an object to change");
            let patched = pipeline::patch(kind, current, patch, body.as_bytes(), validation)?;
            (patched, Ownership::Tracked(manager))
        }
        _ => (pipeline::decode(kind, body.as_bytes(), format, validation)?, Ownership::Tracked(manager)),
    };
    let mut pool = RecordedPool::new();
    let groups = ["system:masters", "system:authenticated"].map(str::to_owned).to_vec();
    let requester =
        Requester { name: "bench".to_owned(), uid: "bench".to_owned(), groups, extra: Value::Null };
    let checked = match current {
        Some(current) => pipeline::update(
            kind,
            current,
            decoded.object,
            &Change { target, now, ownership, around: &Around::Nothing },
            &mut pool,
        ),
        None => {
            let namespace = address.namespace;
            // Every namespace of the recorded server had its account.
            let surroundings = Surroundings { service_account: Some(json!({})), ..Surroundings::default() };
            let creation = Creation {
                namespace,
                now,
                uid: UID,
                suffix: "rand5",
                requester: &requester,
                ownership,
                surroundings: &surroundings,
            };
            pipeline::create(kind, decoded.object, &creation, &mut pool)
        }
    }?;
    let inert = kind.inert.map(|why| format!("{}: {why}", kind.kind));
    let own = |warning: &String| {
        inert.as_ref() != Some(warning) && !OWN_WARNINGS.iter().any(|end| warning.ends_with(end))
    };
    let warnings = decoded.warnings.into_iter().chain(checked.warnings.into_iter().filter(own)).collect();
    Ok(Accepted { object: checked.object, warnings })
}

/// Whether an apply changed the object as the recorded one did, which a new version tells.
fn version_difference(case: &Case, current: Option<&Value>, object: &Value) -> Option<String> {
    let current = current.filter(|_| case.applies())?;
    let old = &current["metadata"]["resourceVersion"];
    let expected = case.response["metadata"]["resourceVersion"] != *old;
    let mut found = object.clone();
    found["metadata"]["resourceVersion"] = old.clone();
    (expected != (found != *current)).then(|| format!("a change is expected: {expected}"))
}

fn difference(case: &Case, outcome: &Result<Accepted, Status>) -> Option<String> {
    // A step that only prepares has no recorded answer.
    if case.response.is_null() {
        return outcome.as_ref().err().map(|status| format!("expected an object\n   found {status}"));
    }
    let expected = case.response.to_string().replace("<rand>", "rand5").replace("<uid-1>", UID);
    let mut expected: Value = serde_json::from_str(&expected).expect("still JSON");
    let (mut found, warnings) = match outcome {
        Ok(accepted) if expected["kind"] == "Scale" => {
            let kind = case.address().expect("a kind that is served").kind;
            (kind.scale_of(&accepted.object).expect("it has replicas"), accepted.warnings.clone())
        }
        Ok(accepted) => (accepted.object.clone(), accepted.warnings.clone()),
        // A refusal carries no warnings of its own; those of decoding are the front's to send.
        Err(status) => (status.0.clone(), Vec::new()),
    };
    service::allocate(&expected, &mut found);
    for object in [&mut expected, &mut found] {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
        }
    }
    // Most of the recorded objects do not say who manages them.
    if expected["metadata"]["managedFields"].is_null()
        && !case.applies()
        && let Some(metadata) = found["metadata"].as_object_mut()
    {
        metadata.remove("managedFields");
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

/// How warnings end that Kubernetes does not give: those that say what nothing acts on yet.
const OWN_WARNINGS: [&str; 2] = ["has no effect yet", "acts on it yet"];
