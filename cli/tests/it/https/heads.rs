//! Heads that mean two things, lead elsewhere, or have no end.

use super::wire::Access;
use crate::site::Site;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[test]
fn no_request_is_smuggled_within_another() {
    let site = Site::start();
    let (admin, nobody) = (Access::admin(&site), Access::nobody(&site));
    // Answered, it tells `gitVersion`.
    let inner = "GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let chunked = format!("0\r\n\r\n{inner}");
    let length = chunked.len();
    let post = |headers: &str, body: &str| {
        format!("POST {CONFIG_MAPS} HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n{body}")
    };
    let te = "Transfer-Encoding: chunked";
    let cases = [
        ("two lengths", post("Content-Length: 0\r\nContent-Length: 5", inner)),
        ("two lengths in one", post("Content-Length: 0, 5", inner)),
        ("length and chunks", post(&format!("Content-Length: {length}\r\n{te}"), &chunked)),
        ("chunks and length", post(&format!("{te}\r\nContent-Length: 4"), &chunked)),
        ("signed length", post("Content-Length: +0", inner)),
        ("negative length", post("Content-Length: -1", inner)),
        ("hexadecimal length", post("Content-Length: 0x0", inner)),
        ("length beyond numbers", post("Content-Length: 99999999999999999999999", inner)),
        ("chunks that are not last", post("Transfer-Encoding: chunked, identity", &chunked)),
        ("chunks by another name", post("Transfer-Encoding: xchunked", &chunked)),
        ("no coding", post("Transfer-Encoding: identity", inner)),
        ("space before the colon", post("Transfer-Encoding : chunked", &chunked)),
        ("folded header", post("X: a\r\n Content-Length: 5", inner)),
        ("folded coding", post("Transfer-Encoding:\r\n chunked", &chunked)),
        ("header without a colon", post("Content-Length 5", inner)),
        ("zero byte in a header", post("X: a\0b", inner)),
        ("carriage return in a header", post("X: a\rContent-Length: 5", inner)),
        ("chunk size that is none", post(te, &format!("zz\r\n{inner}"))),
        ("negative chunk size", post(te, &format!("-1\r\n{inner}"))),
        ("signed chunk size", post(te, &format!("+0\r\n\r\n{inner}"))),
        ("prefixed chunk size", post(te, &format!("0x0\r\n\r\n{inner}"))),
        ("chunk size beyond numbers", post(te, &format!("fffffffffffffffff\r\n{inner}"))),
        ("chunk without its end", post(te, &format!("1\r\nab{inner}"))),
        ("chunk extension without end", post(te, &format!("0;{}", "x".repeat(100 << 10)))),
    ];
    for (what, words) in cases {
        for (access, who) in [(&admin, "admin"), (&nobody, "nobody")] {
            let told = access.say(&words);
            assert!(told.matches("HTTP/1.1 ").count() <= 1, "{what}, {who}: {told}");
            assert!(!told.contains("gitVersion"), "{what}, {who}: {told}");
            let code = told.split(' ').nth(1).unwrap_or("closed");
            let expected = if who == "nobody" { ["400", "403", "closed"] } else { ["400", "431", "closed"] };
            assert!(expected.contains(&code) || code == "431", "{what}, {who}: {told}");
        }
    }
    assert_eq!(nobody.get("/livez").status, 200);
    assert_eq!(admin.get(&format!("{CONFIG_MAPS}/x")).status, 404, "nothing was made");
}

#[test]
fn paths_lead_nowhere_else() {
    let site = Site::start();
    let (admin, nobody) = (Access::admin(&site), Access::nobody(&site));
    for path in [
        "/api/v1/../../version",
        "/livez/../metrics",
        "/livez/..",
        "/./metrics",
        "/%2e%2e/version",
        "/livez/%2e%2e/metrics",
        "/livez%2f..%2fmetrics",
        "/api/v1/namespaces/default%2fsecrets",
        "/api/v1/namespaces/default/secrets/a%2f..%2fb",
        "/api/v1/namespaces/default/secrets/%2e",
        "/api/v1/namespaces/default/secrets/a%00",
        "/%00",
        "/%zz",
        "/%",
        "/%c0%ae%c0%ae/version",
        "/%ff",
        "/version?a=%",
    ] {
        for access in [&admin, &nobody] {
            let answer = access.get(path);
            assert_eq!(answer.status, 400, "{path}: {answer:?}");
            assert!(!answer.body.contains("gitVersion") && !answer.body.contains("apiserver_"), "{answer:?}");
        }
    }
    // Not what is served under another name, for who may not see it.
    for path in
        ["/metrics/", "//metrics", "/livez/ping", "/METRICS", "/metrics%20", "/metrics;x", "/api/v1/pods"]
    {
        assert_eq!(nobody.get(path).status, 403, "{path}");
    }
    for target in ["metrics", "*", "http://[::", "\\metrics", "/a b"] {
        let told = admin.say(format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        assert!(told.starts_with("HTTP/1.1 4") || told.is_empty(), "{target}: {told}");
    }
}

#[test]
fn what_is_too_large_gets_its_error() {
    let site = Site::start();
    let (admin, nobody) = (Access::admin(&site), Access::nobody(&site));
    let get = |target: &str, headers: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n")
    };
    let code = |told: &str| told.split(' ').nth(1).unwrap_or("closed").to_owned();
    let large = |bytes: usize| "x".repeat(bytes);
    assert_eq!(code(&nobody.say(get("/livez", &format!("X: {}\r\n", large(100 << 10))))), "431");
    assert_eq!(code(&nobody.say(get("/livez", &"X: y\r\n".repeat(5000)))), "431");
    assert_eq!(
        code(&nobody.say(get("/livez", &format!("Authorization: Bearer {}\r\n", large(1 << 20))))),
        "431"
    );
    for bytes in [32 << 10, 70 << 10, 1 << 20] {
        let told = nobody.say(get(&format!("/livez?{}", large(bytes)), ""));
        assert!(
            ["200", "414", "431"].contains(&code(&told).as_str()),
            "{bytes}: {}",
            &told[..told.len().min(200)]
        );
        assert!(bytes < 64 << 10 || code(&told) != "200", "{bytes}");
    }
    let post = |headers: &str, body: &str| {
        format!("POST {CONFIG_MAPS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n\r\n{body}")
    };
    let object =
        format!("{{\"metadata\": {{\"name\": \"large\"}}, \"data\": {{\"x\": \"{}\"}}}}", large(4 << 20));
    let length = format!("Content-Length: {}", object.len());
    assert_eq!(code(&admin.say(post(&length, &object))), "413");
    let chunks = format!("{:x}\r\n{object}\r\n0\r\n\r\n", object.len());
    assert_eq!(code(&admin.say(post("Transfer-Encoding: chunked", &chunks))), "413");
    // Who may not is refused before the body is asked for.
    assert_eq!(code(&nobody.say(post(&length, &object))), "403");
    assert_eq!(code(&nobody.say(post("Content-Length: 99999999999\r\nExpect: 100-continue", ""))), "403");
    assert_eq!(nobody.get("/livez").status, 200);
}
