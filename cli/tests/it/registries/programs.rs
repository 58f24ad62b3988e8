//! Programs of Debian: a registry, and a tool that pushes to any.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use dunlin_link::Digest;
use serde_json::json;

use crate::cluster::workloads;

/// A registry that wants name and password, without TLS.
#[derive(Debug)]
pub(crate) struct Registry {
    process: Child,
    pub(crate) address: String,
    folder: tempfile::TempDir,
}

impl Registry {
    /// Starts one on a port of its own; `None`, said aloud, where the programs are missing.
    pub(crate) fn start() -> Option<Self> {
        if !is_installed("docker-registry") || !is_installed("skopeo") {
            return None;
        }
        let mut registry =
            Self { process: nothing(), address: String::new(), folder: tempfile::tempdir().unwrap() };
        registry.restart_on("127.0.0.1:0");
        Some(registry)
    }

    /// Starts it again on its old port.
    pub(crate) fn restart(&mut self) {
        let address = self.address.clone();
        self.restart_on(&address);
    }

    /// Ends it.
    pub(crate) fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    fn restart_on(&mut self, address: &str) {
        self.stop();
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        fs::write(path("htpasswd"), HTPASSWD).unwrap();
        let config = format!(
            "version: 0.1\nstorage: {{ filesystem: {{ rootdirectory: '{}' }} }}\nauth: {{ htpasswd: {{ realm: it, path: '{}' }} }}\n\
             http: {{ addr: '{address}' }}\n",
            path("storage"),
            path("htpasswd")
        );
        fs::write(path("config.yml"), config).unwrap();
        let mut command = Command::new("docker-registry");
        command.args(["serve", &path("config.yml")]).stdout(Stdio::null()).stderr(Stdio::piped());
        self.process = command.spawn().unwrap();
        let mut lines = BufReader::new(self.process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let port = lines.by_ref().find_map(|line| {
            let (_, rest) = line.split_once("listening on 127.0.0.1:")?;
            Some(rest.chars().take_while(char::is_ascii_digit).collect::<String>())
        });
        self.address = format!("127.0.0.1:{}", port.unwrap());
        // It writes on, and must not stand still for want of a reader.
        std::thread::spawn(move || lines.for_each(drop));
    }

    /// Pushes a guest program as a WASM artifact; answers the manifest's digest.
    pub(crate) fn push(&self, module: &str, name: &str) -> String {
        let layout = Layout::of(module);
        let to = format!("docker://{}/{name}", self.address);
        let pushed = layout.push(&to, &["--dest-tls-verify=false", "--dest-creds", "gull:tideline"]);
        assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
        layout.digest
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A WASM artifact in a folder.
#[derive(Debug)]
pub(crate) struct Layout {
    folder: tempfile::TempDir,
    /// Of its manifest.
    pub(crate) digest: String,
}

impl Layout {
    /// Of a guest program.
    pub(crate) fn of(module: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("blobs/sha256")).unwrap();
        fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
        let blob = |media_type: &str, content: &[u8]| {
            let digest = Digest::of(content);
            fs::write(folder.path().join("blobs/sha256").join(digest.hex()), content).unwrap();
            json!({ "mediaType": media_type, "digest": digest.to_string(), "size": content.len() })
        };
        let config = br#"{"os": "wasip1", "architecture": "wasm", "layerDigests": []}"#;
        let config = blob("application/vnd.wasm.config.v0+json", config);
        let module = fs::read(workloads().join(format!("{module}.wasm"))).unwrap();
        let layer = blob("application/wasm", &module);
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
        let mut manifest = blob(MANIFEST, manifest.to_string().as_bytes());
        let digest = manifest["digest"].as_str().unwrap().to_owned();
        manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": "it" });
        let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
        fs::write(folder.path().join("index.json"), index.to_string()).unwrap();
        Self { folder, digest }
    }

    /// Has it pushed.
    pub(crate) fn push(&self, to: &str, options: &[&str]) -> Output {
        let from = format!("oci:{}:it", self.folder.path().display());
        skopeo(&[&["copy", "--preserve-digests", "--quiet"], options, &[&from, to]].concat())
    }
}

/// Runs the tool.
pub(crate) fn skopeo(args: &[&str]) -> Output {
    Command::new("skopeo").arg("--insecure-policy").args(args).output().unwrap()
}

/// Whether a program is there; says so where it is not.
pub(crate) fn is_installed(program: &str) -> bool {
    let found = ["/usr/bin", "/usr/local/bin"].iter().any(|folder| Path::new(folder).join(program).exists());
    if !found {
        let words = format!("SKIPPED: `{program}` is not installed (Debian package {program})\n");
        // Past what a test that passes has its words hidden by. Nobody may be there to read it.
        let _ = std::io::stderr().write_all(words.as_bytes());
    }
    found
}

/// A process that has ended.
fn nothing() -> Child {
    Command::new("true").spawn().unwrap()
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// User `gull`, password `tideline`.
const HTPASSWD: &str = "gull:$2b$04$/JT4Ii39jYbGgYrfPkyxruoa66Z.6fdm6ArnxrJFMWcN0TdrsSO3q\n";
