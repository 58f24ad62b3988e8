//! Objects in protobuf against bytes that Kubernetes' own encoder wrote (`golden/main.go` says how).

use serde_json::{Value, json};

use super::*;
use crate::base64;

struct Case {
    name: String,
    protobuf: Vec<u8>,
    json: Value,
}

fn cases(lines: &str) -> Vec<Case> {
    let case = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| line[key].as_str().unwrap().to_owned();
        let (name, protobuf) = (text("name"), base64::decode(&text("protobuf")).unwrap());
        Case { name, protobuf, json: line["json"].take() }
    };
    lines.lines().map(case).collect()
}

fn golden() -> impl Iterator<Item = Case> {
    let files = [include_str!("golden/kinds.jsonl"), include_str!("golden/bodies.jsonl")];
    files.into_iter().flat_map(cases)
}

#[test]
fn what_kubernetes_writes_is_read_as_kubernetes_reads_it() {
    for case in golden() {
        let decoded = decode(&case.protobuf, None).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert_eq!(decoded, case.json, "{}", case.name);
    }
}

#[test]
fn what_we_write_is_what_kubernetes_writes() {
    for case in golden() {
        let encoded = encode(&case.json).unwrap();
        assert_eq!(hex(&encoded), hex(&case.protobuf), "{}", case.name);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A message as hand-written parts: a number and what the field holds.
fn message(parts: &[(u32, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, bytes) in parts {
        wire::put_bytes(&mut out, *number, bytes);
    }
    out
}

fn sealed(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let write = |out: &mut Vec<u8>| {
        out.extend_from_slice(raw);
        Ok(())
    };
    envelope::seal(api_version, kind, write).unwrap()
}

fn check(api_version: &str, kind: &str, raw: &[u8], expected: Result<Value, &str>) {
    let decoded = decode(&sealed(api_version, kind, raw), None);
    assert_eq!(decoded.map_err(|error| error.to_string()), expected.map_err(str::to_owned));
}

#[test]
fn envelopes_are_checked() {
    let check =
        |body: &[u8], expected: &str| assert_eq!(decode(body, None).unwrap_err().to_string(), expected);
    check(b"", "empty data");
    check(b"{}", "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
    check(b"k8s\0", "empty body");
    check(b"k8s\0\x12", "unexpected EOF");
    check(b"k8s\0\x10\0", "proto: wrong wireType = 0 for field Raw");
    check(b"k8s\0\x12\0", "Object 'Kind' is missing in the protobuf envelope");
    check(b"k8s\0\x1a\x04gzip", "content \"gzip\" in a protobuf envelope is not supported");
    check(
        &sealed("v1", "Foo", b""),
        "no kind \"Foo\" is registered for version \"v1\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
    );
    let pods = definition_of("v1", "Pod");
    let untyped = decode(&sealed("", "", b"\x0a\x03\x0a\x01p"), pods);
    assert_eq!(untyped, Ok(json!({"metadata": {"name": "p"}})));
}

#[test]
fn broken_messages_are_refused() {
    let check = |raw: &[u8], expected: &str| check("v1", "Pod", raw, Err(expected));
    check(b"\x0a\x05\x0a", "unexpected EOF");
    check(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "unexpected EOF");
    check(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "proto: integer overflow");
    check(b"\x08\x01", "proto: wrong wireType = 0 for field metadata");
    check(b"\x0a\x02\x0a\x07", "unexpected EOF");
    check(b"\x0a\x03\x0a\x01\xff", "field name is not valid UTF-8");
    check(b"\x00\x01", "proto: illegal tag 0 (wire type 0)");
    check(b"\x0c", "proto: unexpected end of group");
    check(b"\x0f", "proto: illegal wireType 7");
    check(b"\x0b\x0b\x0c", "unexpected EOF");
    let seconds = message(&[(1, &message(&[(8, b"\x08\xff\xff\xff\xff\xff\xff\xff\x7f")]))]);
    check(&seconds, "field creationTimestamp: year is not between 0 and 9999");
    let limits = message(&[(1, b"cpu"), (2, &message(&[(1, b"1x")]))]);
    let resources = message(&[(2, &message(&[(2, &message(&[(8, &message(&[(1, &limits)]))]))]))]);
    check(
        &resources,
        "field limits: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    );
}

#[test]
fn what_is_unknown_is_skipped_and_what_repeats_adds_up() {
    let spec = |fields: &[u8]| message(&[(2, fields)]);
    let expected = |spec: Value| Ok(json!({"apiVersion": "v1", "kind": "Pod", "spec": spec}));
    // A varint, eight bytes, a group with a group in it, four bytes and bytes that Kubernetes has no names for.
    let unknown =
        b"\x80\x7d\x05\x81\x7d12345678\x83\x7d\x0b\x08\x01\x0c\x84\x7d\x85\x7d1234\x82\x7d\x01x\x52\x01n";
    check("v1", "Pod", &spec(unknown), expected(json!({"nodeName": "n", "containers": null})));
    // Go merges a message that comes twice; of a scalar the last one counts, also when it is zero.
    let twice = [spec(b"\x52\x01n\x58\x01"), spec(b"\x52\0\x60\x01")].concat();
    check("v1", "Pod", &twice, expected(json!({"containers": null, "hostNetwork": true, "hostPID": true})));
}

#[test]
fn lists_of_numbers_may_be_packed() {
    let group = |groups: &[u8]| message(&[(2, &message(&[(14, groups)]))]);
    let check = |groups: &[u8], expected: Value| {
        let context = json!({"supplementalGroups": expected});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": null, "securityContext": context}});
        check("v1", "Pod", &group(groups), Ok(pod));
    };
    check(b"\x20\x01\x20\x02", json!([1, 2]));
    check(b"\x22\x03\x01\x80\x01", json!([1, 128]));
}

#[test]
fn json_inside_counts_with_the_rest() {
    let revision = |data: &[u8]| message(&[(2, &message(&[(1, data)]))]);
    let check = |data: &[u8], expected: Result<Value, &str>| {
        let whole = |data| json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "data": data, "revision": 1});
        let raw = [revision(data), vec![0x18, 1]].concat();
        check("apps/v1", "ControllerRevision", &raw, expected.map(whole));
    };
    check(br#"{"a":[1.5,{}]}"#, Ok(json!({"a": [1.5, {}]})));
    check(b"", Ok(Value::Null));
    check(b"{", Err("field data: unexpected end of JSON input"));
    // An object in protobuf inside one.
    check(&sealed("v1", "Namespace", b""), Ok(json!({"apiVersion": "v1", "kind": "Namespace"})));
    let deep = format!("{}{}", "[".repeat(101), "]".repeat(101));
    check(deep.as_bytes(), Err("field data: exceeded max depth at line 1 column 100"));
    let mut nested = sealed("v1", "Namespace", b"");
    for _ in 0..200 {
        nested = sealed("apps/v1", "ControllerRevision", &revision(&nested));
    }
    let error = decode(&nested, None).unwrap_err().to_string();
    assert!(error.ends_with("exceeded max depth"), "{error}");
}

#[test]
fn many_small_things_are_too_many() {
    let check = |element: &[u8], expected: &str| {
        let spec = element.repeat((1 << 21) / element.len());
        check("v1", "Pod", &message(&[(2, &spec)]), Err(expected));
    };
    check(b"\x12\0", "document has more than 65536 objects");
    check(b"\x60\x01", "document has more than 1048576 values");
}

#[test]
fn lists_and_events_are_what_kubernetes_writes() {
    let golden = cases(include_str!("golden/kinds.jsonl"));
    let list = golden.iter().find(|case| case.name == "v1 PodList: full").unwrap();
    let mut encoder = ListEncoder::new("v1", "PodList").unwrap();
    for item in list.json["items"].as_array().unwrap() {
        encoder.push(item).unwrap();
    }
    let parts = encoder.finish(&list.json["metadata"]).unwrap();
    assert_eq!(hex(&parts.concat()), hex(&list.protobuf));
    let frame = watch_frame("ADDED", b"k8s\0").unwrap();
    assert_eq!(frame, b"\0\0\0\x0f\x0a\x05ADDED\x12\x06\x0a\x04k8s\0");
}
