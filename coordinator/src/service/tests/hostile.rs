//! Requests that nobody honest sends, through the whole service: each is answered, and none is answered with a defect.

use dunlin_link::rpc::Method;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use super::{CONFIG_MAPS, Fixture, PODS, Request, pod};

const METHODS: [Method; 5] = [Method::Get, Method::Post, Method::Put, Method::Patch, Method::Delete];

const PATHS: [&str; 16] = [
    CONFIG_MAPS,
    PODS,
    "/api/v1/namespaces/default/pods/p",
    "/api/v1/namespaces/default/pods/p/status",
    "/api/v1/namespaces/default/pods/p/log",
    "/api/v1/namespaces/default/pods/p/binding",
    "/api/v1/namespaces/default/pods/p/eviction",
    "/api/v1/namespaces/default/serviceaccounts/default/token",
    "/apis/apps/v1/namespaces/default/deployments/d/scale",
    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
    "/apis/authentication.k8s.io/v1/tokenreviews",
    "/api/v1/watch/namespaces/default/pods",
    "/api/v1/nodes/n",
    "/openapi/v3/apis/apps/v1",
    "/version",
    "/readyz/store",
];

const PARAMETERS: [(&str, &str); 18] = [
    ("limit", "1"),
    ("continue", "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhIn0"),
    ("resourceVersion", "1"),
    ("resourceVersionMatch", "Exact"),
    ("labelSelector", "a in (b,c),!d"),
    ("fieldSelector", "metadata.name=p,spec.nodeName!=n"),
    ("fieldManager", "m"),
    ("fieldValidation", "Strict"),
    ("dryRun", "All"),
    ("force", "true"),
    ("timeoutSeconds", "1"),
    ("gracePeriodSeconds", "0"),
    ("propagationPolicy", "Orphan"),
    ("sendInitialEvents", "true"),
    ("includeObject", "Object"),
    ("tailLines", "1"),
    ("sinceTime", "2026-01-01T00:00:00Z"),
    ("hash", "abc"),
];

const TYPES: [&str; 9] = [
    "",
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/merge-patch+json",
    "application/json-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
];

/// Changes a text a little, or not at all.
fn garbled(text: &str, random: &mut StdRng) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    for _ in 0..random.random_range(0..6_usize).saturating_sub(3) {
        let place = random.random_range(0..=characters.len());
        let strange = ['/', '.', '%', '\0', '\u{fffd}', ',', '=', '(', '-', '9', '"', '{', '\u{10ffff}'];
        match random.random_range(0..4) {
            0 => characters.insert(place, strange[random.random_range(0..strange.len())]),
            1 => characters.truncate(place),
            2 if place < characters.len() => drop(characters.remove(place)),
            _ => characters.extend(std::iter::repeat_n('x', random.random_range(0..300))),
        }
    }
    characters.into_iter().collect()
}

fn body(random: &mut StdRng) -> Vec<u8> {
    let object = match random.random_range(0..6) {
        0 => pod("p"),
        1 => json!({"metadata": {"name": "m"}, "data": {"a": "b"}}),
        2 => json!([{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]),
        3 => json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "u"}}),
        4 => {
            json!({"spec": {"replicas": 3, "audiences": ["a"], "token": "a.b.c", "user": "u", "groups": [1]}})
        }
        _ => Value::Null,
    };
    let mut bytes = garbled(&object.to_string(), random).into_bytes();
    if !bytes.is_empty() && random.random_bool(0.2) {
        let place = random.random_range(0..bytes.len());
        bytes[place] = random.random();
    }
    bytes
}

fn request(random: &mut StdRng) -> Request {
    let path = garbled(PATHS[random.random_range(0..PATHS.len())], random);
    let mut request = Request::new(METHODS[random.random_range(0..METHODS.len())], &path);
    // No watch of this test lasts.
    request = request.with_query("timeoutSeconds", "1");
    for _ in 0..random.random_range(0..4) {
        let (name, value) = PARAMETERS[random.random_range(0..PARAMETERS.len())];
        request = request.with_query(name, &garbled(value, random));
    }
    if random.random_bool(0.7) {
        request.body = body(random);
    }
    request.content_type = garbled(TYPES[random.random_range(0..TYPES.len())], random);
    request.accept = garbled(TYPES[random.random_range(0..TYPES.len())], random);
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_is_answered() {
    let fixture = Fixture::start().await;
    fixture.create(PODS, &pod("p")).await;
    let mut random = StdRng::seed_from_u64(0x5eed);
    let rounds = std::env::var("DUNLIN_FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let mut answered = [0; 6];
    for round in 0..rounds.unwrap_or(ROUNDS) {
        let request = request(&mut random);
        let shown = format!(
            "round {round}: {:?} {:?} {:?} {:?} accept {:?}: {}",
            request.method,
            request.path,
            request.query,
            request.content_type,
            request.accept,
            request.body.escape_ascii()
        );
        // Its body need not be read: a watch would last.
        let status = fixture.send(request).await.head.status;
        // Kubernetes, too, takes the blame for a version or a patch that cannot be read.
        assert!((200..=500).contains(&status) || status == 501 || status == 503, "{status}: {shown}");
        answered[usize::from(status / 100)] += 1;
    }
    // Not everything is refused before it is looked at.
    assert!(answered[2] > 0 && answered[4] > 0, "{answered:?}");
    println!("answers by class: {answered:?}");
}

/// Requests of an ordinary run.
const ROUNDS: usize = 3000;
