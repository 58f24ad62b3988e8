//! The API and nodes have a grammar each of the annotations about guests, since neither knows the other: both take the same values.

use dunlin_api::{
    admission::Surroundings,
    kind::{self, service::NoPool},
    pipeline::{self, Creation, Ownership, Requester},
};
use dunlin_link::guest::{ANNOTATIONS, GuestSettings};
use serde_json::json;

fn api_takes(annotation: &str, value: &str) -> bool {
    let kind = kind::by_kind("v1", "Pod").unwrap();
    let object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "p", "annotations": { annotation: value } },
        "spec": { "containers": [{ "name": "c", "image": "i" }] },
    });
    let creation = Creation {
        namespace: "ns",
        now: dunlin_api::time::parse_time(&json!("2026-01-01T00:00:00Z")).unwrap(),
        uid: "u",
        suffix: "bcdfg",
        requester: &Requester::default(),
        ownership: Ownership::AsGiven,
        surroundings: &Surroundings::default(),
    };
    match pipeline::create(kind, object, &creation, &mut NoPool) {
        Ok(_) => true,
        Err(status) => {
            assert!(status.message().contains(annotation), "{}", status.message());
            false
        }
    }
}

#[test]
fn both_sides_take_the_same_values() {
    let long = ["a,".repeat(63) + "a", "a,".repeat(64) + "a", "a".repeat(63), "a".repeat(64)];
    for annotation in ANNOTATIONS {
        for value in VALUES.into_iter().chain(long.iter().map(String::as_str)) {
            let node_takes = GuestSettings::of([(annotation, value)]).is_ok();
            assert_eq!(api_takes(annotation, value), node_takes, "{annotation}: {value:?}");
        }
    }
}

/// Good and bad values of all kinds.
const VALUES: [&str; 68] = [
    "",
    " ",
    "0",
    "1",
    "01",
    "+1",
    "-1",
    "x",
    "64",
    "1024",
    "1025",
    "10000",
    "10001",
    "1000000",
    "1000001",
    "0s",
    "1ms",
    "250ms",
    "60m",
    "61m",
    "3600s",
    "3600001ms",
    "1h",
    "s",
    "5 s",
    "99999999999999999999s",
    "http",
    "run",
    "HTTP",
    "run ",
    "a",
    "a,b",
    "a,",
    ",",
    "a, b:1",
    "*",
    "*.",
    "*.a",
    "*.a:443",
    "a:",
    "a:0",
    "a:65535",
    "a:65536",
    "a:+1",
    "-a",
    "a-",
    "a..b",
    "a.",
    "a_b",
    "10.0.0.1",
    "10.0.0.0/8",
    "10.0.0.0/33",
    "10.0.0.0/",
    "10.0.0.0/8:53",
    "300.1.1.1",
    "[::1]",
    "[::1]:1",
    "[::1/128]",
    "[::1/129]",
    "[::1",
    "::1",
    "[10.0.0.1]",
    "[::1]x",
    "a/8",
    "http://a",
    "a b",
    "1.2",
    "a:1:2",
];
