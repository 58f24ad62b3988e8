//! An image of Debian's busybox in an archive as Docker writes them.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

/// Writes it for machines of this kind; it is called `localhost/busybox:1`.
pub(super) fn write(busybox: &Path, architecture: &str, archive: &Path) -> Result<()> {
    let layer = layer(&fs::read(busybox).with_context(|| format!("cannot read {}", busybox.display()))?)?;
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": { "Cmd": ["sh"], "Env": ["PATH=/bin"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", hash(&layer))] },
    });
    let config = config.to_string();
    let name = format!("{}.json", hash(config.as_bytes()));
    let manifest = json!([{ "Config": name, "RepoTags": ["localhost/busybox:1"], "Layers": ["layer.tar"] }]);
    let mut all = Builder::new(fs::File::create(archive)?);
    for (name, content) in [
        (&*name, config.as_bytes()),
        ("layer.tar", &layer),
        ("manifest.json", manifest.to_string().as_bytes()),
    ] {
        append(&mut all, name, content)?;
    }
    all.finish().context("cannot write the image")
}

fn layer(busybox: &[u8]) -> Result<Vec<u8>> {
    let mut layer = Builder::new(Vec::new());
    for folder in ["bin/", "dev/", "etc/", "proc/", "sys/", "tmp/"] {
        let mut header = header(EntryType::Directory, 0);
        layer.append_data(&mut header, folder, [].as_slice())?;
    }
    append(&mut layer, "bin/busybox", busybox)?;
    for name in PROGRAMS {
        let mut header = header(EntryType::Symlink, 0);
        layer.append_link(&mut header, format!("bin/{name}"), "busybox")?;
    }
    Ok(layer.into_inner()?)
}

fn append<W: std::io::Write>(archive: &mut Builder<W>, name: &str, content: &[u8]) -> Result<()> {
    let mut header = header(EntryType::Regular, content.len() as u64);
    archive.append_data(&mut header, name, content).context("cannot write into an archive")
}

fn header(kind: EntryType, bytes: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(bytes);
    header.set_mode(0o755);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn hash(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the checks' scripts call.
const PROGRAMS: [&str; 8] = ["cat", "dd", "echo", "httpd", "sh", "sleep", "tr", "true"];
