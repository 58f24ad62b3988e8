//! What is shown, and who it makes one.

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::wire::Access;
use crate::site::Site;

const PODS: &str = "/api/v1/namespaces/default/pods";
const WHO: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

/// Has a certificate made for a user; answers where it is.
pub(super) fn user(site: &Site, dir: &Path, name: &str, more: &[&str]) -> PathBuf {
    let file = dir.join(name.replace(':', "-"));
    let args = ["kubeconfig", "--user", name, "-o", file.to_str().unwrap()];
    site.ok(&[&args[..], more].concat(), "");
    file
}

#[test]
fn nobody_in_particular_sees_health_and_version_only() {
    let site = Site::start();
    let nobody = Access::nobody(&site);
    for path in ["/livez", "/readyz", "/healthz", "/livez?verbose", "/version"] {
        assert_eq!(nobody.get(path).status, 200, "{path}");
    }
    for path in [
        "/",
        "/api",
        "/apis",
        "/openapi/v2",
        "/metrics",
        "/livez/ping",
        "/dunlin/v1/nodes",
        "/dunlin/v1/backup",
        PODS,
        "/nowhere",
    ] {
        let answer = nobody.get(path);
        assert_eq!(answer.status, 403, "{path}");
        assert_eq!(answer.json()["reason"], "Forbidden", "{path}");
    }
    for (method, path) in
        [("POST", PODS), ("DELETE", "/api/v1/nodes/n1"), ("PATCH", PODS), ("POST", "/dunlin/v1/tokens")]
    {
        assert_eq!(nobody.send(method, path, "", "{}").status, 403, "{method} {path}");
    }
}

#[test]
fn bad_tokens_open_nothing_and_end_their_connection() {
    let site = Site::start();
    let nobody = Access::nobody(&site);
    site.ok(&["create", "serviceaccount", "builder"], "");
    site.ok(
        &["create", "clusterrolebinding", "b", "--clusterrole=view", "--serviceaccount=default:builder"],
        "",
    );
    let good = site.ok(&["create", "token", "builder"], "").trim().to_owned();
    let with =
        |token: &str, path: &str| nobody.send("GET", path, &format!("Authorization: Bearer {token}\r\n"), "");
    assert_eq!(with(&good, PODS).status, 200);
    let parts: Vec<&str> = good.split('.').collect();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let forged = |header: &Value, change: &dyn Fn(&mut Value), signature: &str| {
        let mut claims = claims.clone();
        change(&mut claims);
        format!("{}.{}.{signature}", encode(header), encode(&claims))
    };
    let keep = |_: &mut Value| {};
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[0]).unwrap()).unwrap();
    let longer = |claims: &mut Value| claims["exp"] = json!(4_000_000_000_u64);
    let other =
        |claims: &mut Value| claims["sub"] = json!("system:serviceaccount:kube-system:namespace-controller");
    let no_key = json!({"alg": "none"});
    let with_key = json!({"alg": "none", "kid": header["kid"]});
    let shared_key = json!({"alg": "HS256", "kid": header["kid"]});
    let mut flipped = good.clone();
    // The last letter holds two bits of the signature and four of nothing: neither may differ.
    let last = if flipped.pop() == Some('A') { 'B' } else { 'A' };
    flipped.push(last);
    for token in [
        "x".to_owned(),
        "a.b.c".to_owned(),
        "..".to_owned(),
        "abcdef.0123456789abcdef".to_owned(),
        forged(&no_key, &keep, ""),
        forged(&with_key, &keep, ""),
        forged(&with_key, &keep, parts[2]),
        forged(&shared_key, &keep, parts[2]),
        forged(&header, &longer, parts[2]),
        forged(&header, &other, parts[2]),
        forged(&header, &keep, ""),
        format!("{}.{}", parts[0], parts[1]),
        format!("{good}."),
        format!("{good}.{}", parts[2]),
        flipped,
        "x".repeat(60 << 10),
        "A.".repeat(20_000),
    ] {
        for path in ["/livez", PODS] {
            let told = nobody
                .say(format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"));
            // The connection ended by itself: `say` reads to the end.
            assert!(told.starts_with("HTTP/1.1 401 "), "{token:.80}: {told}");
        }
    }
    // Of other schemes nothing is known: that is as nothing.
    for scheme in ["Basic YWRtaW46YWRtaW4=", "Negotiate x", "Bearer", "admin"] {
        let answer = nobody.send("GET", PODS, &format!("Authorization: {scheme}\r\n"), "");
        assert_eq!(answer.status, 403, "{scheme}");
    }
    assert_eq!(with(&good, PODS).status, 200);
}

#[test]
fn certificates_of_others_end_the_handshake() {
    let (site, other) = (Site::start(), Site::start());
    let get = format!("GET {PODS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(Access::admin(&site).say(&get).starts_with("HTTP/1.1 200 "));
    assert_eq!(Access::of(&other.config(), &site).say(&get), "");
    let dir = tempfile::tempdir().unwrap();
    let masters = user(&other, dir.path(), "jane", &["--group", "dev"]);
    assert_eq!(Access::of(&masters, &site).say(&get), "");
}

#[test]
fn a_kubeconfig_makes_a_user_with_groups_and_an_end() {
    let site = Site::start_with(&["--tls-san", "*.edge.example,192.0.2.7"]);
    let dir = tempfile::tempdir().unwrap();
    let file = user(&site, dir.path(), "jane", &["--group", "dev", "--group", "ops", "--expiry", "720h"]);
    let config: Value = serde_norway::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(config["current-context"], config["contexts"][0]["name"]);
    assert!(config["current-context"].as_str().unwrap().starts_with("jane@"), "{config}");
    let jane = Access::of(&file, &site);
    let who = jane.send("POST", WHO, "", "{}").json();
    let info = &who["status"]["userInfo"];
    assert_eq!(info["username"], "jane");
    assert_eq!(info["groups"], json!(["dev", "ops", "system:authenticated"]));
    // A certificate gives a name; rights are given by roles.
    assert_eq!(jane.get(PODS).status, 403);
    site.ok(&["create", "rolebinding", "dev", "--clusterrole=view", "--group=dev"], "");
    assert_eq!(jane.get(PODS).status, 200);
    assert_eq!(jane.get("/api/v1/pods").status, 403);
    assert_eq!(jane.get("/api/v1/namespaces/default/secrets").status, 403);
    let requests = site.ok(&["get", "csr", "--no-headers"], "");
    assert!(requests.contains("Approved,Issued") && requests.contains("30d"), "{requests}");
    let refused = |args: &[&str], why: &str| {
        let answer = site.dunlin(&[&["kubeconfig", "--user", "eve"], args].concat(), "");
        assert!(answer.code != 0 && answer.stderr.contains(why), "{args:?}: {answer:?}");
    };
    refused(&["--group", "system:masters"], "signer with system:masters group is not allowed");
    refused(&["--expiry", "1m"], "may not specify a duration less than 600 seconds");
    // What was there stays, and the new context is selected.
    std::fs::copy(site.config(), dir.path().join("both")).unwrap();
    let both = dir.path().join("both");
    site.ok(&["kubeconfig", "--user", "joe", "-o", both.to_str().unwrap()], "");
    let config: Value = serde_norway::from_str(&std::fs::read_to_string(&both).unwrap()).unwrap();
    assert_eq!(config["contexts"].as_array().unwrap().len(), 2);
    assert!(config["current-context"].as_str().unwrap().starts_with("joe@"));
}
