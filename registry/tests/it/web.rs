//! Modules by `https://`: a file on a server of a private authority.

use std::fs;

use dunlin_link::Digest;
use dunlin_registry::{
    Keyring, PullError, RegistriesConfig,
    config::{HostConfig, HostTls},
};

use crate::{
    config, keyring, pull,
    server::{self, Asked, reply},
};

const MODULE: &[u8] = b"\0asm\x01\0\0\0 and what else a module may hold";

/// A server, what it was asked, and a folder with its authority.
struct Server {
    address: String,
    asked: Asked,
    folder: tempfile::TempDir,
}

impl Server {
    async fn start(answers: Vec<Vec<u8>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (ca, cert, key) = crate::real::certificates();
        fs::write(folder.path().join("ca.pem"), ca).unwrap();
        let (port, asked) = server::serve_tls(answers, &cert, &key).await;
        Self { address: format!("localhost:{port}"), asked, folder }
    }

    /// A configuration that trusts it.
    fn trusting(&self) -> RegistriesConfig {
        let tls = HostTls { ca: Some(self.folder.path().join("ca.pem")), ..HostTls::default() };
        config([(&self.address, HostConfig { tls, ..HostConfig::default() })])
    }

    async fn pull(
        &self,
        config: &RegistriesConfig,
        keys: &Keyring,
        digest: Digest,
    ) -> Result<(String, u64), PullError> {
        let image = format!("https://{}/nest/a.wasm@{digest}", self.address);
        pull(config, keys, &image, &self.file()).await
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("image.wasm")
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// The answer to who asks for the beginning.
fn beginning() -> Vec<u8> {
    let range = format!("Content-Range: bytes 0-7/{}", MODULE.len());
    reply("206 Partial Content", &[&range], &MODULE[..8])
}

#[tokio::test]
async fn a_module_comes_from_a_server_and_goes_on_where_it_broke() {
    let whole = reply("200 OK", &[], MODULE);
    let cut = whole[..whole.len() - 20].to_vec();
    let at = MODULE.len() - 20;
    let range = format!("Content-Range: bytes {at}-{}/{}", MODULE.len() - 1, MODULE.len());
    let rest = reply("206 Partial Content", &[&range], &MODULE[at..]);
    let server = Server::start(vec![beginning(), cut, rest]).await;
    let digest = Digest::of(MODULE);
    let pulled = server.pull(&server.trusting(), &Keyring::default(), digest).await.unwrap();
    assert_eq!(pulled, (digest.to_string(), MODULE.len() as u64));
    assert_eq!(fs::read(server.file()).unwrap(), MODULE);
    let asked = server.asked();
    assert!(
        asked[0].starts_with("get /nest/a.wasm http") && asked[0].contains("range: bytes=0-7"),
        "{asked:?}"
    );
    assert!(asked[2].contains(&format!("range: bytes={at}-")), "{asked:?}");

    // One that knows no ranges, and one that does not say how long it is.
    let silent = || [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", MODULE].concat();
    for answers in [vec![whole.clone(), whole.clone()], vec![silent(), silent()]] {
        let server = Server::start(answers).await;
        let pulled = server.pull(&server.trusting(), &Keyring::default(), digest).await.unwrap();
        assert_eq!(pulled, (digest.to_string(), MODULE.len() as u64));
    }
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_gives_nothing() {
    let server = Server::start(vec![beginning(), beginning()]).await;
    let digest = Digest::of(MODULE);
    // `plainHttp` is of registries: a URL says how it is reached.
    let plain = config([(&server.address, HostConfig { plain_http: Some(true), ..HostConfig::default() })]);
    for config in [RegistriesConfig::default(), plain] {
        let error = server.pull(&config, &Keyring::default(), digest).await.unwrap_err();
        assert!(matches!(error, PullError::Certificate { .. }), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_module_or_another_one_is_refused() {
    for (content, expected) in [
        (&b"<html>"[..], "a page, or other text; by a URL only a WASM module can be had"),
        (b"\x1f\x8b\x08\0\0\0\0\0", "compressed by gzip; by a URL only a WASM module can be had"),
        (b"", "empty; by a URL only a WASM module can be had"),
    ] {
        let server = Server::start(vec![reply("200 OK", &[], content)]).await;
        let error =
            server.pull(&server.trusting(), &Keyring::default(), Digest::of(content)).await.unwrap_err();
        assert!(error.to_string().ends_with(expected), "{error}");
    }
    let server = Server::start(vec![beginning(), reply("200 OK", &[], MODULE)]).await;
    let error = server.pull(&server.trusting(), &Keyring::default(), Digest::of(b"x")).await.unwrap_err();
    assert!(matches!(error, PullError::OtherDigest { .. }), "{error}");
    assert!(!server.file().exists());
    let range = reply("206 Partial Content", &["Content-Range: bytes 0-7/99999999999"], &MODULE[..8]);
    let server = Server::start(vec![range]).await;
    let error = server.pull(&server.trusting(), &Keyring::default(), Digest::of(MODULE)).await.unwrap_err();
    assert!(matches!(error, PullError::TooLarge { .. }), "{error}");
    let server = Server::start(vec![reply("404 Not Found", &[], b"")]).await;
    let error = server.pull(&server.trusting(), &Keyring::default(), Digest::of(MODULE)).await.unwrap_err();
    assert!(matches!(error, PullError::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_asks_for_a_name_is_shown_the_pod_s() {
    let refuse = reply("401 Unauthorized", &["WWW-Authenticate: Basic realm=\"x\""], b"");
    let server = Server::start(vec![refuse, beginning(), reply("200 OK", &[], MODULE)]).await;
    let gull = "Z3VsbDp0aWRlbGluZQ==";
    let keys = keyring(&format!(r#"{{"auths": {{"{}/nest": {{"auth": "{gull}"}}}}}}"#, server.address));
    server.pull(&server.trusting(), &keys, Digest::of(MODULE)).await.unwrap();
    let asked = server.asked();
    assert!(!asked[0].contains("authorization"), "{asked:?}");
    assert!(asked[1..].iter().all(|head| head.contains(&gull.to_lowercase())), "{asked:?}");
}
