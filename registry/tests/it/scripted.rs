//! What real registries do seldom: tokens, redirects, connections that break, and lies.

use std::fs;

use dunlin_link::Digest;
use dunlin_registry::{Keyring, PullError, config::HostAuth, config::HostConfig};
use serde_json::json;

use crate::{
    config, keyring, plain, pull,
    server::{Asked, reply, serve},
};

const MODULE: &[u8] = b"\0asm\x01\0\0\0 and what else a module may hold";

fn manifest_of(module: &[u8]) -> Vec<u8> {
    let config = json!({ "mediaType": "application/vnd.wasm.config.v0+json", "digest": Digest::of(b"").to_string(), "size": 0 });
    let layer = json!({
        "mediaType": "application/wasm", "digest": Digest::of(module).to_string(), "size": module.len(),
    });
    serde_json::to_vec(&json!({ "schemaVersion": 2, "config": config, "layers": [layer] })).unwrap()
}

fn manifest() -> Vec<u8> {
    reply("200 OK", &["Content-Type: application/vnd.oci.image.manifest.v1+json"], &manifest_of(MODULE))
}

/// Pulls from a script; answers what came of it, what was asked, and the folder.
async fn run(
    answers: Vec<Vec<u8>>,
    keys: &Keyring,
) -> (Result<(String, u64), PullError>, Asked, tempfile::TempDir) {
    let (address, asked) = serve(answers).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("image.wasm");
    let pulled = pull(&config([(&address, plain())]), keys, &format!("{address}/app:1"), &file).await;
    (pulled, asked, folder)
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_broke() {
    let whole = reply("200 OK", &[], MODULE);
    let cut = whole[..whole.len() - 20].to_vec();
    let at = MODULE.len() - 20;
    let range = format!("Content-Range: bytes {at}-{}/{}", MODULE.len() - 1, MODULE.len());
    let rest = reply("206 Partial Content", &[&range], &MODULE[at..]);
    let (pulled, asked, folder) = run(vec![manifest(), cut.clone(), rest], &Keyring::default()).await;
    assert_eq!(pulled.unwrap().1, MODULE.len() as u64);
    assert_eq!(fs::read(folder.path().join("image.wasm")).unwrap(), MODULE);
    assert!(asked.lock().unwrap()[2].contains(&format!("range: bytes={at}-")));

    // One that knows no ranges sends all of it again.
    let (pulled, _, folder) = run(vec![manifest(), cut.clone(), whole.clone()], &Keyring::default()).await;
    assert_eq!(pulled.unwrap().1, MODULE.len() as u64);
    assert_eq!(fs::read(folder.path().join("image.wasm")).unwrap(), MODULE);

    // What had come stays, for the next attempt.
    let (pulled, _, folder) = run(vec![manifest(), cut], &Keyring::default()).await;
    assert!(pulled.unwrap_err().is_outage());
    let part = folder.path().join(format!("image.{}.part", Digest::of(MODULE).hex()));
    assert_eq!(fs::metadata(part).unwrap().len(), at as u64);
}

#[tokio::test]
async fn content_that_lies_is_not_kept() {
    let other = MODULE.iter().map(|byte| byte ^ 1).collect::<Vec<_>>();
    let (pulled, _, folder) = run(vec![manifest(), reply("200 OK", &[], &other)], &Keyring::default()).await;
    assert!(matches!(pulled, Err(PullError::OtherDigest { what: "a layer", .. })));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

    let long = [MODULE, b"more"].concat();
    let (pulled, ..) = run(vec![manifest(), reply("200 OK", &[], &long)], &Keyring::default()).await;
    assert!(matches!(pulled, Err(PullError::TooLarge { .. })));

    let header = format!("Docker-Content-Digest: {}", Digest::of(b"other"));
    let (pulled, ..) =
        run(vec![reply("200 OK", &[&header], &manifest_of(MODULE))], &Keyring::default()).await;
    assert!(matches!(pulled, Err(PullError::OtherDigest { what: "the manifest", .. })));

    let large = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".iter().copied();
    let large = large.chain(std::iter::repeat_n(b' ', 5 << 20)).collect();
    let (pulled, ..) = run(vec![large], &Keyring::default()).await;
    assert!(matches!(pulled, Err(PullError::TooLarge { what: "the manifest", .. })));
}

#[tokio::test]
async fn tokens_are_fetched_with_the_credentials_and_shown() {
    let (authority, asked_for_tokens) = serve([reply("200 OK", &[], br#"{"token": "seagrass"}"#)]).await;
    let challenge = format!(
        r#"WWW-Authenticate: Bearer realm="http://{authority}/token?x=y",service="reg",scope="repository:app:pull""#
    );
    let refuse = reply("401 Unauthorized", &[&challenge], b"{}");
    let (address, asked) = serve([refuse, manifest(), reply("200 OK", &[], MODULE)]).await;
    let keys = keyring(&format!(r#"{{"auths": {{"{address}": {{"auth": "Z3VsbDp0aWRlbGluZQ=="}}}}}}"#));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("image.wasm");
    let hosts = config([(&address, plain())]);
    pull(&hosts, &keys, &format!("{address}/app:1"), &file).await.unwrap();
    let token = asked_for_tokens.lock().unwrap()[0].clone();
    assert!(token.starts_with("get /token?x=y&scope=repository%3aapp%3apull&service=reg "), "{token}");
    assert!(token.contains("authorization: basic z3vsbdp0awrlbgluzq=="), "{token}");
    let asked = asked.lock().unwrap();
    assert!(!asked[0].contains("authorization"), "{}", asked[0]);
    assert!(asked[1..].iter().all(|head| head.contains("authorization: bearer seagrass")), "{asked:?}");
}

#[tokio::test]
async fn credentials_do_not_follow_to_other_places() {
    let (storage, stored) = serve([reply("200 OK", &[], MODULE)]).await;
    let refuse = reply("401 Unauthorized", &["WWW-Authenticate: Basic realm=\"x\""], b"");
    let away = reply("307 Temporary Redirect", &[&format!("Location: http://{storage}/blob")], b"");
    let (address, asked) = serve([refuse, manifest(), away]).await;
    let auth = HostAuth { username: "u".into(), password: "p".into(), ..HostAuth::default() };
    let hosts = config([(&address, HostConfig { auth: Some(auth), ..plain() })]);
    let folder = tempfile::tempdir().unwrap();
    pull(&hosts, &Keyring::default(), &format!("{address}/app:1"), &folder.path().join("i.wasm"))
        .await
        .unwrap();
    assert!(asked.lock().unwrap()[2].contains("authorization: basic"));
    assert!(!stored.lock().unwrap()[0].contains("authorization"));
}

#[tokio::test]
async fn what_a_registry_says_of_a_refusal_is_told() {
    let body = br#"{"errors": [{"code": "DENIED", "message": "not\u0007 for gulls"}]}"#;
    let (pulled, ..) = run(vec![reply("403 Forbidden", &[], body)], &Keyring::default()).await;
    let text = pulled.unwrap_err().to_string();
    assert!(text.contains("denies access to `app`: DENIED not for gulls"), "{text}");
    let (pulled, ..) = run(vec![reply("429 Too Many Requests", &[], b"")], &Keyring::default()).await;
    assert!(matches!(pulled, Err(PullError::TooManyRequests { .. })));
    let (pulled, ..) = run(vec![reply("503 Service Unavailable", &[], b"<html>")], &Keyring::default()).await;
    assert!(pulled.unwrap_err().is_outage());
}

#[tokio::test]
async fn who_is_told_that_there_is_no_image_shows_the_next_credentials() {
    let refuse = || reply("401 Unauthorized", &["WWW-Authenticate: Basic realm=\"x\""], b"");
    let none = || reply("404 Not Found", &[], b"");
    let (address, asked) =
        serve([refuse(), none(), refuse(), manifest(), reply("200 OK", &[], MODULE)]).await;
    // Of `gull` and of `tern`.
    let (gull, tern) = ("Z3VsbDp0aWRlbGluZQ==", "dGVybjp0aWRlbGluZQ==");
    let both = format!(
        r#"{{"auths": {{"{address}/app": {{"auth": "{gull}"}}, "{address}": {{"auth": "{tern}"}}}}}}"#
    );
    let (hosts, folder) = (config([(&address, plain())]), tempfile::tempdir().unwrap());
    let file = folder.path().join("i.wasm");
    pull(&hosts, &keyring(&both), &format!("{address}/app:1"), &file).await.unwrap();
    let asked: Vec<_> = asked.lock().unwrap().clone();
    assert!(asked[1].contains(&format!("authorization: basic {}", gull.to_lowercase())), "{asked:?}");
    assert!(asked[3].contains(&format!("authorization: basic {}", tern.to_lowercase())), "{asked:?}");

    // Where no credentials help, what is said is that it is not there.
    let (address, _asked) = serve([refuse(), none()]).await;
    let keys = keyring(&format!(r#"{{"auths": {{"{address}": {{"auth": "{gull}"}}}}}}"#));
    let pulled = pull(&config([(&address, plain())]), &keys, &format!("{address}/app:1"), &file).await;
    assert!(matches!(pulled, Err(PullError::NotFound { .. })));
}
