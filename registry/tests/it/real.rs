//! What a real registry serves is what is pulled.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use dunlin_registry::{
    Keyring, PullError, RegistriesConfig,
    config::{HostAuth, HostConfig, HostTls},
};

use crate::{config, keyring, layout::Layout, mirrored, plain, pull};

/// A registry that runs until it is dropped.
struct Registry {
    process: Child,
    address: String,
    folder: tempfile::TempDir,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum With {
    Nothing,
    Password,
    Tls,
}

impl Registry {
    /// `None`, said aloud, where the programs are not installed.
    fn start(with: With) -> Option<Self> {
        for program in ["docker-registry", "skopeo"] {
            if Command::new(program).arg("--version").output().is_err() {
                let words = format!("SKIPPED: `{program}` is not installed (Debian package {program})\n");
                // Past what a test that passes has its words hidden by. Nobody may be there to read it.
                let _ = std::io::stderr().write_all(words.as_bytes());
                return None;
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            path.display().to_string()
        };
        let more = match with {
            With::Nothing | With::Tls => String::new(),
            With::Password => {
                format!("auth: {{ htpasswd: {{ realm: it, path: '{}' }} }}\n", file("htpasswd", HTPASSWD))
            }
        };
        let tls = if with == With::Tls {
            let (ca, cert, key) = certificates();
            file("ca.pem", &ca);
            format!(
                "  tls: {{ certificate: '{}', key: '{}' }}\n",
                file("cert.pem", &cert),
                file("key.pem", &key)
            )
        } else {
            String::new()
        };
        let storage = folder.path().join("storage").display().to_string();
        let config = file(
            "config.yml",
            &format!(
                "version: 0.1\nstorage: {{ filesystem: {{ rootdirectory: '{storage}' }} }}\n{more}http:\n  addr: 127.0.0.1:0\n{tls}"
            ),
        );
        let mut process = Command::new("docker-registry")
            .args(["serve", &config])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let port = lines.by_ref().find_map(|line| {
            let (_, rest) = line.split_once("listening on 127.0.0.1:")?;
            Some(rest.chars().take_while(char::is_ascii_digit).collect::<String>())
        });
        // It writes on, and must not stand still for want of a reader.
        std::thread::spawn(move || lines.for_each(drop));
        let host = if with == With::Tls { "localhost" } else { "127.0.0.1" };
        Some(Self { process, address: format!("{host}:{}", port.unwrap()), folder })
    }

    fn push(&self, layout: &Layout, name: &str) {
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["copy", "--all", "--preserve-digests", "--dest-tls-verify=false", "--quiet"]);
        skopeo.args(["--insecure-policy", "--dest-creds", "gull:tideline"]);
        let pushed = skopeo
            .arg(format!("oci:{}:it", layout.path().display()))
            .arg(format!("docker://{}/{name}", self.address))
            .output()
            .unwrap();
        assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    }

    fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    fn plain(&self) -> RegistriesConfig {
        config([(&self.address, plain())])
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn artifacts_and_ordinary_images_are_pulled_by_tag_and_digest() {
    let Some(registry) = Registry::start(With::Nothing) else { return };
    let module = [b"\0asm\x01\0\0\0".as_slice(), &[7; 100_000]].concat();
    let (artifact, digest) = Layout::artifact(&module);
    registry.push(&artifact, "team/app:1");
    let (ordinary, index) = Layout::ordinary(&module);
    registry.push(&ordinary, "team/ordinary:1");

    let folder = tempfile::tempdir().unwrap();
    for (name, expected) in [
        ("team/app:1", &digest),
        (&*format!("team/app@{digest}"), &digest),
        ("team/ordinary:1", &index),
        (&*format!("team/ordinary@{index}"), &index),
    ] {
        let file = folder.path().join("image.wasm");
        let pulled =
            pull(&registry.plain(), &Keyring::default(), &registry.image(name), &file).await.unwrap();
        assert_eq!(pulled, (expected.clone(), module.len() as u64), "{name}");
        assert!(fs::read(&file).unwrap() == module, "{name}");
        fs::remove_file(&file).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{name} leaves something behind");
    }
    let mirror =
        mirrored("elsewhere.example", &["http://127.0.0.1:1".into(), format!("http://{}", registry.address)]);
    let file = folder.path().join("image.wasm");
    let mirrored = pull(&mirror, &Keyring::default(), "elsewhere.example/team/app:1", &file).await.unwrap();
    assert_eq!(mirrored.0, digest);
}

#[tokio::test]
async fn every_failure_has_its_cause() {
    let Some(registry) = Registry::start(With::Nothing) else { return };
    let (artifact, _) = Layout::artifact(b"\0asm\x01\0\0\0");
    registry.push(&artifact, "app:1");
    let check = async |config: &RegistriesConfig, image: &str, words: &str| {
        let error = pull(config, &Keyring::default(), image, Path::new("/nowhere/x.wasm")).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(words), "{text} lacks {words}");
    };
    check(&registry.plain(), &registry.image("app:2"), "app:2: not found").await;
    check(&registry.plain(), &registry.image("other:1"), "other:1: not found").await;
    check(&registry.plain(), "127.0.0.1:1/app:1", "dial tcp 127.0.0.1:1: Connection refused").await;
    let strict = HostConfig { plain_http: Some(false), ..HostConfig::default() };
    check(&config([(&*registry.address, strict)]), &registry.image("app:1"), "answered without TLS").await;
    check(&RegistriesConfig::default(), &registry.image("app:1"), "failed to write the image").await;
    check(&registry.plain(), &registry.image("app:1"), "failed to write the image").await;
}

#[tokio::test]
async fn passwords_of_the_configuration_and_of_secrets_are_shown() {
    let Some(registry) = Registry::start(With::Password) else { return };
    let (artifact, digest) = Layout::artifact(b"\0asm\x01\0\0\0");
    registry.push(&artifact, "app:1");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("image.wasm");
    let image = registry.image("app:1");

    let anonymous = pull(&registry.plain(), &Keyring::default(), &image, &file).await.unwrap_err();
    let text = anonymous.to_string();
    assert!(matches!(anonymous, PullError::Unauthorized { .. }) && text.contains("than none"), "{text}");
    let auth = |password: &str| {
        format!(
            r#"{{"auths": {{"{}": {{"username": "gull", "password": "{password}"}}}}}}"#,
            registry.address
        )
    };
    let wrong =
        pull(&registry.plain(), &keyring(&auth("wrong")), &image, &file).await.unwrap_err().to_string();
    assert!(wrong.contains("than those of `gull`"), "{wrong}");
    let right = pull(&registry.plain(), &keyring(&auth("tideline")), &image, &file).await.unwrap();
    assert_eq!(right.0, digest);

    let auth = HostAuth { username: "gull".into(), password: "tideline".into(), ..HostAuth::default() };
    let host = HostConfig { auth: Some(auth), ..plain() };
    let of_node = config([(&registry.address, host)]);
    assert_eq!(pull(&of_node, &Keyring::default(), &image, &file).await.unwrap().0, digest);
}

#[tokio::test]
async fn certificates_of_a_private_authority_are_trusted_where_configured() {
    let Some(registry) = Registry::start(With::Tls) else { return };
    let (artifact, digest) = Layout::artifact(b"\0asm\x01\0\0\0");
    registry.push(&artifact, "app:1");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("image.wasm");
    let image = registry.image("app:1");
    let silent =
        config([(&registry.address, HostConfig { plain_http: Some(false), ..HostConfig::default() })]);
    let unknown = pull(&silent, &Keyring::default(), &image, &file).await.unwrap_err();
    assert!(matches!(unknown, PullError::Certificate { .. }), "{unknown}");
    let with = |tls: HostTls| config([(&registry.address, HostConfig { tls, ..HostConfig::default() })]);
    let ca = HostTls { ca: Some(registry.folder.path().join("ca.pem")), ..HostTls::default() };
    let insecure = HostTls { insecure_skip_verify: true, ..HostTls::default() };
    for tls in [ca, insecure] {
        assert_eq!(pull(&with(tls), &Keyring::default(), &image, &file).await.unwrap().0, digest);
    }
}

/// An authority, and a certificate of it for `localhost` with its key.
pub(crate) fn certificates() -> (String, String, String) {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let cert = cert.signed_by(&key, &issuer).unwrap();
    (ca_pem, cert.pem(), key.serialize_pem())
}

/// User `gull`, password `tideline`.
const HTPASSWD: &str = "gull:$2b$04$/JT4Ii39jYbGgYrfPkyxruoa66Z.6fdm6ArnxrJFMWcN0TdrsSO3q\n";
