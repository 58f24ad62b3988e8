//! A registry on loopback with the images of the bench, made of this machine's own files.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use dunlin_link::Digest;
use serde_json::{Value, json};

use super::containerd::PAUSE;

/// Debian's docker-registry, without TLS and credentials.
#[derive(Debug)]
pub(super) struct Registry {
    process: Child,
    /// `host:port`.
    pub(super) address: String,
    folder: PathBuf,
}

/// How many bytes an image has, as files and packed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Size {
    pub(super) files: u64,
    pub(super) packed: u64,
}

impl Registry {
    pub(super) fn start(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let config = folder.join("config.yml");
        let storage = folder.join("storage").display().to_string();
        let text = format!(
            "version: 0.1\nlog: {{ accesslog: {{ disabled: true }} }}\nstorage: {{ filesystem: {{ rootdirectory: '{storage}' }} }}\n\
             http: {{ addr: '127.0.0.1:0' }}\n"
        );
        fs::write(&config, text)?;
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().context("cannot start docker-registry; see bench/README.md")?;
        let stderr = process.stderr.take().context("its words are piped")?;
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        let port = lines.by_ref().find_map(|line| {
            let (_, rest) = line.split_once("listening on 127.0.0.1:")?;
            Some(rest.chars().take_while(char::is_ascii_digit).collect::<String>())
        });
        // It writes on, and must not stand still for want of a reader.
        std::thread::spawn(move || lines.for_each(drop));
        let address = format!("127.0.0.1:{}", port.context("the registry says no port")?);
        Ok(Self { process, address, folder: folder.to_owned() })
    }

    /// An image of a shell and its tools; answers its full name.
    pub(super) fn push_busybox(&self) -> Result<String> {
        let root = self.folder.join("busybox");
        for folder in ["bin", "etc", "tmp"] {
            fs::create_dir_all(root.join(folder))?;
        }
        fs::copy("/bin/busybox", root.join("bin/busybox")).context("there is no busybox-static")?;
        for name in ["sh", "sleep", "true"] {
            symlink("busybox", root.join("bin").join(name))?;
        }
        self.push("bench/busybox:1", &[&root], &json!({ "Cmd": ["sleep", "100000"], "Env": ["PATH=/bin"] }))?;
        Ok(format!("{}/bench/busybox:1", self.address))
    }

    /// The image of a process that does nothing, as Kubernetes has one: a small static program.
    pub(super) fn push_pause(&self) -> Result<()> {
        let (root, source) = (self.folder.join("pause"), self.folder.join("pause.c"));
        fs::create_dir_all(&root)?;
        fs::write(&source, "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n")?;
        let mut compiler = Command::new("cc");
        run(compiler.args(["-static", "-Os", "-s", "-o"]).arg(root.join("pause")).arg(&source))?;
        self.push(PAUSE, &[&root], &json!({ "Entrypoint": ["/pause"], "User": "65535:65535" }))?;
        Ok(())
    }

    /// An image of several layers of this machine's programs and libraries; answers its full name, and how large it is.
    pub(super) fn push_large(&self, layers: usize, layer_bytes: u64) -> Result<(String, Size)> {
        let mut files = files_below(Path::new("/usr/lib"))?.into_iter();
        let mut roots = Vec::new();
        let mut size = Size::default();
        for number in 0..layers {
            let root = self.folder.join(format!("large-{number}"));
            let mut filled = 0;
            for (file, bytes) in files.by_ref() {
                let to = root.join(file.strip_prefix("/")?);
                fs::create_dir_all(to.parent().context("it has a folder")?)?;
                fs::copy(&file, &to).with_context(|| format!("cannot copy {}", file.display()))?;
                filled += bytes;
                if filled >= layer_bytes {
                    break;
                }
            }
            size.files += filled;
            roots.push(root);
        }
        let roots: Vec<&Path> = roots.iter().map(PathBuf::as_path).collect();
        size.packed = self.push("bench/large:1", &roots, &json!({ "Cmd": ["none"] }))?;
        Ok((format!("{}/bench/large:1", self.address), size))
    }

    /// Packs a layer of each folder, and pushes the image of them; answers how many bytes the layers have.
    fn push(&self, name: &str, roots: &[&Path], config: &Value) -> Result<u64> {
        let layout = self.folder.join(name.replace(['/', ':'], "-"));
        let blobs = layout.join("blobs/sha256");
        fs::create_dir_all(&blobs)?;
        fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#)?;
        let blob = |kind: &str, content: &[u8]| -> Result<Value> {
            let digest = Digest::of(content);
            fs::write(blobs.join(digest.hex()), content)?;
            let media_type = format!("application/vnd.oci.image.{kind}");
            Ok(json!({ "mediaType": media_type, "digest": digest.to_string(), "size": content.len() }))
        };
        let (mut layers, mut diff_ids, mut bytes) = (Vec::new(), Vec::new(), 0);
        for root in roots {
            let archive = self.folder.join("layer.tar");
            run(Command::new("tar").arg("-C").arg(root).arg("-cf").arg(&archive).arg("."))?;
            diff_ids.push(Digest::of(&fs::read(&archive)?).to_string());
            run(Command::new("gzip").args(["-6", "-n", "-f"]).arg(&archive))?;
            let packed = fs::read(self.folder.join("layer.tar.gz"))?;
            bytes += packed.len() as u64;
            layers.push(blob("layer.v1.tar+gzip", &packed)?);
        }
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let rootfs = json!({ "type": "layers", "diff_ids": diff_ids });
        let config =
            json!({ "os": "linux", "architecture": architecture, "config": config, "rootfs": rootfs });
        let config = blob("config.v1+json", config.to_string().as_bytes())?;
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers });
        let mut manifest = blob("manifest.v1+json", manifest.to_string().as_bytes())?;
        manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": "it" });
        let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
        fs::write(layout.join("index.json"), index.to_string())?;
        let mut skopeo = Command::new("skopeo");
        skopeo.args([
            "--insecure-policy",
            "copy",
            "--quiet",
            "--preserve-digests",
            "--dest-tls-verify=false",
        ]);
        skopeo.arg(format!("oci:{}:it", layout.display()));
        run(skopeo.arg(format!("docker://{}/{name}", self.address)))?;
        Ok(bytes)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Plain files and their sizes, in order.
fn files_below(folder: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push((entry.path(), entry.metadata()?.len()));
            }
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {name}; see bench/README.md"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} failed: {}", said.trim());
    Ok(())
}
