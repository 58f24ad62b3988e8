//! Replays what a real Kubernetes 1.36 API server answered (`golden/*.json` of the shared data) against the built coordinator.
//!
//! The files are not part of this repository: `DUNLIN_K8S_DATA` names their folder, by default a sibling of the repository. Where it
//! is absent the replay says so and is skipped. Every case that differs is listed with its reason in `docs/kubernetes-compat.md`;
//! a case that is listed and does not differ fails as well.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{
    client::{Answer, Client},
    matching::{Bindings, in_recorded_order},
};
use crate::site::Site;

/// A case, or one request of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(default)]
    name: String,
    /// What a person has to know to read the case.
    #[serde(default, rename = "note")]
    _note: String,
    /// Whether the request only prepares.
    #[serde(default)]
    setup: bool,
    #[serde(default)]
    method: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    query: BTreeMap<String, String>,
    /// `null` is a request that names none.
    #[serde(default = "json", rename = "contentType")]
    content_type: Option<String>,
    #[serde(default)]
    accept: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<Box<RawValue>>,
    status: Option<u16>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    response: Value,
    events: Option<Vec<Value>>,
    #[serde(default)]
    steps: Vec<Self>,
}

/// Who asks: whoever brings a token shows no certificate.
struct Clients {
    administrator: Client,
    nobody: Client,
}

#[test]
fn recorded_answers_are_given() {
    let Some(folder) = data() else {
        println!(
            "SKIPPED: the recorded answers of a Kubernetes server are not there; DUNLIN_K8S_DATA can name their folder"
        );
        return;
    };
    // The recorded server had this range of addresses.
    let site = Site::start_with(&["--no-controllers", "--service-cidr", "10.96.0.0/16"]);
    let mut client = Clients {
        administrator: Client::new(&site.config(), &site.address()),
        nobody: Client::nobody(&site.config(), &site.address()),
    };
    for case in read(&folder.join("setup.json")) {
        // What is of no kind that is served is left out, as are the cases about it.
        request(&mut client, &mut Bindings::default(), &case);
    }
    let known = listed_differences(&FILES);
    let (mut differing, mut told, mut unlisted, mut count) =
        (BTreeSet::new(), String::new(), String::new(), 0);
    for file in FILES {
        for case in read(&folder.join(format!("{file}.json"))) {
            count += 1;
            let differences = replay_within_a_second(&mut client, &case);
            let name = format!("{file}: {}", case.name);
            if differences.is_empty() {
                continue;
            }
            let difference = format!("## {name}\n{}\n", differences.join("\n"));
            if !known.contains(&name) {
                unlisted.push_str(&difference);
            }
            told.push_str(&difference);
            differing.insert(name);
        }
    }
    let stale: Vec<_> = known.difference(&differing).collect();
    println!(
        "{count} cases replayed, {} differ, {} of them listed",
        differing.len(),
        known.len() - stale.len()
    );
    report("golden", &told);
    let count = differing.difference(&known).count();
    assert!(count == 0, "{count} cases differ and are not listed:\n{}", shortened(&unlisted));
    assert!(stale.is_empty(), "listed as differing, but equal: {stale:#?}");
}

/// Replays a case again, a few times, when it differs and the clock's second changed meanwhile: Kubernetes lists managers by the
/// second of their last write, then by name, and whoever recorded the cases was faster.
fn replay_within_a_second(client: &mut Clients, case: &Case) -> Vec<String> {
    let second = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    for _ in 1..REPLAYS_MAX {
        let before = second();
        let differences = replay(client, case);
        clean_up(client, case);
        if differences.is_empty() || second() == before {
            return differences;
        }
    }
    let differences = replay(client, case);
    clean_up(client, case);
    differences
}

/// Runs the requests of a case in order and tells what differs.
fn replay(client: &mut Clients, case: &Case) -> Vec<String> {
    let steps = if case.steps.is_empty() { std::slice::from_ref(case) } else { &case.steps };
    let mut bindings = Bindings::default();
    let mut differences = Vec::new();
    for (position, step) in steps.iter().enumerate().filter(|(_, step)| !step.method.is_empty()) {
        let answer = request(client, &mut bindings, step);
        let found = if step.setup { Vec::new() } else { compare(&mut bindings, step, &answer) };
        if !found.is_empty() {
            differences.push(format!("- step {position}: {} {} {:?}", step.method, step.path, step.query));
            differences.extend(found.into_iter().map(|difference| format!("    {difference}")));
        }
        if step.setup && !answer.body.is_empty() {
            // What follows may name what was prepared.
            let body = serde_json::from_slice(&answer.body).unwrap_or_default();
            bindings.compare(&step.response, &body);
        }
    }
    differences
}

/// Removes what a case created, finalizers or not: the recorded cases use the same names again.
fn clean_up(client: &mut Clients, case: &Case) {
    let steps = if case.steps.is_empty() { std::slice::from_ref(case) } else { &case.steps };
    let creating = steps.iter().filter(|step| {
        step.status == Some(201) && !step.query.contains_key("dryRun") && !step.path.ends_with("/namespaces")
    });
    for step in creating {
        let body = step.body.as_ref().map_or("", |body| body.get());
        let object: Value = serde_json::from_str(body).unwrap_or_default();
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let path = match step.method.as_str() {
            "POST" if name.is_empty() => continue,
            "POST" => format!("{}/{name}", step.path),
            _ => step.path.clone(),
        };
        let merge = [("content-type", "application/merge-patch+json")];
        let client = &mut client.administrator;
        client.send("PATCH", &path, &merge, br#"{"metadata": {"finalizers": null}}"#);
        client.send("DELETE", &format!("{path}?gracePeriodSeconds=0&propagationPolicy=Background"), &[], b"");
    }
}

fn request(client: &mut Clients, bindings: &mut Bindings, step: &Case) -> Answer {
    if step.method.is_empty() {
        return Answer { status: 0, warnings: Vec::new(), body: bytes::Bytes::new() };
    }
    let query: Vec<String> =
        step.query.iter().map(|(key, value)| format!("{key}={}", encoded(&bindings.fill(value)))).collect();
    let mut target = bindings.fill(&step.path);
    if !query.is_empty() {
        target = format!("{target}?{}", query.join("&"));
    }
    let body = step.body.as_ref().map_or("", |body| body.get());
    // A body given as a string is sent as that text.
    let body = bindings.fill(&serde_json::from_str::<String>(body).unwrap_or_else(|_| body.to_owned()));
    let accept = if step.accept.is_empty() { "application/json" } else { &step.accept };
    let mut headers = vec![("user-agent", "golden/1.0"), ("accept", accept)];
    if let Some(content_type) = step.content_type.as_deref().filter(|_| !body.is_empty()) {
        headers.push(("content-type", content_type));
    }
    headers.extend(step.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let has_token = step.headers.contains_key("Authorization");
    if !has_token && !step.headers.contains_key("Impersonate-User") {
        headers.extend(RECORDED_USER);
    }
    let client = if has_token { &mut client.nobody } else { &mut client.administrator };
    client.send(&step.method, &target, &headers, body.as_bytes())
}

fn compare(bindings: &mut Bindings, step: &Case, answer: &Answer) -> Vec<String> {
    let text = String::from_utf8_lossy(&answer.body);
    let mut differences = Vec::new();
    if let Some(status) = step.status
        && status != answer.status
    {
        differences.push(format!("status {}, expected {status}: {text}", answer.status));
        return differences;
    }
    match &step.events {
        Some(events) => compare_events(bindings, events, &text, &mut differences),
        None if step.response.is_null() => {}
        None => match serde_json::from_str::<Value>(&text) {
            Ok(found) => {
                let found = in_recorded_order(&step.response, found);
                differences.extend(bindings.compare(&step.response, &found));
            }
            Err(_) => {
                let expected =
                    step.response.as_str().map_or_else(|| step.response.to_string(), str::to_owned);
                if !bindings.matches(&expected, &text) {
                    differences.push(format!("{text:?}\n     expected {expected:?}"));
                }
            }
        },
    }
    let warnings: Vec<&String> = answer.warnings.iter().filter(|warning| !is_own(warning)).collect();
    if warnings.iter().map(|warning| warning.as_str()).ne(step.warnings.iter().map(String::as_str)) {
        differences.push(format!("warnings {warnings:?}, expected {:?}", step.warnings));
    }
    differences
}

/// A watch answers a line per event; what is no event, such as an error in YAML, is recorded line by line.
fn compare_events(bindings: &mut Bindings, events: &[Value], text: &str, differences: &mut Vec<String>) {
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() != events.len() {
        differences.push(format!("{} events, expected {}: {text}", lines.len(), events.len()));
        return;
    }
    for (event, line) in events.iter().zip(lines) {
        match (event, serde_json::from_str::<Value>(line)) {
            (Value::String(expected), _) if bindings.matches(expected, line) => {}
            (expected, Ok(found)) => differences.extend(bindings.compare(expected, &found)),
            (expected, Err(_)) => differences.push(format!("{line:?}, expected {expected}")),
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "a default has the field's type")]
fn json() -> Option<String> {
    Some("application/json".to_owned())
}

/// Whether Kubernetes does not give the warning: it is about what nothing acts on yet.
pub(super) fn is_own(warning: &str) -> bool {
    warning.trim_end_matches('"').ends_with(" yet")
}

/// Percent-encodes a query value.
fn encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(byte);
    let encode = |byte: u8| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(encode).collect()
}

/// The cases that `docs/kubernetes-compat.md` lists: rows of a table whose first cell is `FILE: CASE` in backquotes.
pub(super) fn listed_differences(files: &[&str]) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("docs/kubernetes-compat.md")).unwrap();
    let cell = |line: &str| Some(line.strip_prefix("| `")?.split_once("` |")?.0.to_owned());
    let is_case = |name: &String| files.iter().any(|file| name.starts_with(&format!("{file}: ")));
    text.lines().filter_map(cell).filter(is_case).collect()
}

fn read(path: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(super) fn data() -> Option<PathBuf> {
    let named = std::env::var_os("DUNLIN_K8S_DATA").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| root().join("../shared/data/k8s-1.36")).join("golden");
    folder.is_dir().then_some(folder)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Leaves everything that differs in a file of the folder that `DUNLIN_GOLDEN_REPORT` names, for whoever mends it.
pub(super) fn report(name: &str, text: &str) {
    if let Some(folder) = std::env::var_os("DUNLIN_GOLDEN_REPORT") {
        std::fs::write(Path::new(&folder).join(name), text).unwrap();
    }
}

/// The beginning of a long report.
pub(super) fn shortened(report: &str) -> &str {
    &report[..report.floor_char_boundary(REPORT_BYTES)]
}

/// Who asked in the recording, by a token that said so. An administrator asks here, by a certificate that would show in answers.
const RECORDED_USER: [(&str, &str); 3] =
    [("impersonate-user", "bench"), ("impersonate-uid", "bench"), ("impersonate-group", "system:masters")];

const FILES: [&str; 6] = ["defaulting", "validation", "patch", "apply", "listwatch", "delete"];

const REPORT_BYTES: usize = 20_000;

/// How often a case is replayed whose requests fall into different seconds.
const REPLAYS_MAX: u32 = 4;
