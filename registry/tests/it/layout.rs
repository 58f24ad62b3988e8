//! Images as folders in OCI's layout, for tools to push.

use std::{fs, path::Path};

use dunlin_link::Digest;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

/// A folder that holds one image.
#[derive(Debug)]
pub(crate) struct Layout {
    folder: tempfile::TempDir,
}

impl Layout {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("blobs/sha256")).unwrap();
        fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Adds content; answers its descriptor.
    pub(crate) fn blob(&self, media_type: &str, content: &[u8]) -> Value {
        let digest = Digest::of(content);
        fs::write(self.path().join("blobs/sha256").join(digest.hex()), content).unwrap();
        json!({ "mediaType": media_type, "digest": digest.to_string(), "size": content.len() })
    }

    /// Adds a manifest; answers its descriptor.
    pub(crate) fn manifest(&self, config: &Value, layers: &[Value]) -> Value {
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
        self.blob(MANIFEST, &serde_json::to_vec(&manifest).unwrap())
    }

    /// Makes a manifest or index the one of the folder; answers its digest.
    pub(crate) fn finish(self, mut top: Value) -> (Self, String) {
        let digest = top["digest"].as_str().unwrap().to_owned();
        top["annotations"] = json!({ "org.opencontainers.image.ref.name": "it" });
        let index = json!({ "schemaVersion": 2, "manifests": [top] });
        fs::write(self.path().join("index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
        (self, digest)
    }

    /// A WASM artifact.
    pub(crate) fn artifact(module: &[u8]) -> (Self, String) {
        let layout = Self::new();
        let config = layout
            .blob("application/vnd.wasm.config.v0+json", br#"{"os": "wasip1", "architecture": "wasm"}"#);
        let layer = layout.blob("application/wasm", module);
        let manifest = layout.manifest(&config, &[layer]);
        layout.finish(manifest)
    }

    /// An index of two ordinary images: one for Linux, and one for WASM whose layer holds the module.
    pub(crate) fn ordinary(module: &[u8]) -> (Self, String) {
        let layout = Self::new();
        let mut manifests = Vec::new();
        for (os, architecture, program) in [("linux", "amd64", &b"\x7fELF"[..]), ("wasi", "wasm", module)] {
            let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
            let mut header = tar::Header::new_gnu();
            header.set_size(program.len() as u64);
            header.set_mode(0o755);
            tar.append_data(&mut header, "app.wasm", program).unwrap();
            let tar = tar.into_inner().unwrap().finish().unwrap();
            let layer = layout.blob("application/vnd.oci.image.layer.v1.tar+gzip", &tar);
            let config = json!({
                "os": os, "architecture": architecture, "config": { "Entrypoint": ["/app.wasm"] },
                "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] },
            });
            let config = layout
                .blob("application/vnd.oci.image.config.v1+json", &serde_json::to_vec(&config).unwrap());
            let mut manifest = layout.manifest(&config, &[layer]);
            manifest["platform"] = json!({ "os": os, "architecture": architecture });
            manifests.push(manifest);
        }
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
        let index = layout.blob(INDEX, &serde_json::to_vec(&index).unwrap());
        layout.finish(index)
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
