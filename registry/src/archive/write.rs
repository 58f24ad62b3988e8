//! Writes an image into an archive that is OCI's layout and, for older tools, Docker's as well.
//!
//! Layers are not compressed, so that each blob has the digest that the image's config has for it; who wants it small compresses the
//! whole.

use std::io::{self, Read, Write};

use bytes::Bytes;
use dunlin_link::{Digest, reference::Reference};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use crate::{
    manifest::{Descriptor, ImageManifest},
    media,
};

/// What is written.
#[derive(Clone, Debug)]
pub enum Exported {
    /// A module by itself.
    Module {
        /// Of the module.
        digest: Digest,
        /// Its length.
        bytes: u64,
    },
    /// Files with a module among them, or beside it.
    Wasm {
        /// Config of an ordinary image, as it was written; none for an artifact.
        config: Option<Bytes>,
        /// The module of an artifact, and its length.
        module: Option<(Digest, u64)>,
        /// The digest of the archive of all files, and its length.
        layer: (Digest, u64),
    },
    /// An image for Linux.
    Linux {
        /// Its config, as it was written.
        config: Bytes,
        /// The digests of its layers' archives and their lengths, the lowest first.
        layers: Vec<(Digest, u64)>,
    },
}

/// Writes an image; `open` gives the content of a layer or module, which has to be what it was said to be.
///
/// # Errors
/// When something cannot be read or written, or is not what its digest says. What was written until then is no archive.
pub fn write<R: Read>(
    out: impl Write,
    name: &Reference,
    image: &Exported,
    mut open: impl FnMut(&Digest) -> io::Result<R>,
) -> io::Result<()> {
    let (config, layers, media_type) = match image {
        Exported::Module { digest, bytes } => {
            let config = Bytes::from_static(MODULE_CONFIG.as_bytes());
            (config, vec![descriptor(media::WASM, *digest, *bytes)], media::WASM_CONFIG)
        }
        Exported::Wasm { config, module, layer: (layer, bytes) } => {
            let module = module.map(|(digest, bytes)| descriptor(media::WASM, digest, bytes));
            let layers = module.into_iter().chain([descriptor(LAYER, *layer, *bytes)]).collect();
            match config {
                Some(config) => (of_one_layer(config, layer)?, layers, CONFIG),
                None => (Bytes::from_static(MODULE_CONFIG.as_bytes()), layers, media::WASM_CONFIG),
            }
        }
        Exported::Linux { config, layers } => {
            let layers = layers.iter().map(|(digest, bytes)| descriptor(LAYER, *digest, *bytes));
            (config.clone(), layers.collect(), CONFIG)
        }
    };
    let manifest = ImageManifest {
        artifact_type: String::new(),
        config: descriptor(media_type, Digest::of(&config), config.len() as u64),
        layers,
    };
    let text = manifest.text(media::MANIFEST);
    let top = descriptor(media::MANIFEST, Digest::of(&text), text.len() as u64);
    let mut tar = Builder::new(out);
    small(&mut tar, "oci-layout", &json!({ "imageLayoutVersion": "1.0.0" }))?;
    small(&mut tar, "index.json", &index(&top, name))?;
    if let Exported::Linux { .. } = image {
        small(&mut tar, "manifest.json", &docker(&manifest, name))?;
    }
    file(&mut tar, &path(&top.digest), text.len() as u64, &text[..])?;
    file(&mut tar, &path(&manifest.config.digest), manifest.config.size, &config[..])?;
    for (at, layer) in manifest.layers.iter().enumerate() {
        if manifest.layers[..at].contains(layer) {
            continue;
        }
        let mut content = Hashed { content: open(&layer.digest)?, hash: Sha256::new() };
        file(&mut tar, &path(&layer.digest), layer.size, &mut content)?;
        let actual = Digest::from_bytes(content.hash.finalize().into());
        if actual != layer.digest {
            return Err(io::Error::other(format!("{} has digest {actual} now", layer.digest)));
        }
    }
    tar.into_inner()?.flush()
}

/// The config of an image whose layers are one now.
fn of_one_layer(config: &[u8], layer: &Digest) -> io::Result<Bytes> {
    let mut config: Value = serde_json::from_slice(config)?;
    config["rootfs"] = json!({ "type": "layers", "diff_ids": [layer.to_string()] });
    if let Some(config) = config.as_object_mut() {
        // Of layers that are no more.
        config.remove("history");
    }
    Ok(config.to_string().into())
}

fn index(top: &Descriptor, name: &Reference) -> Value {
    let name = name.to_string();
    json!({
        "schemaVersion": 2,
        "mediaType": media::INDEX,
        "manifests": [{
            "mediaType": top.media_type, "digest": top.digest.to_string(), "size": top.size,
            "annotations": { "org.opencontainers.image.ref.name": name, "io.containerd.image.name": name },
        }],
    })
}

fn docker(manifest: &ImageManifest, name: &Reference) -> Value {
    let layers: Vec<_> = manifest.layers.iter().map(|layer| path(&layer.digest)).collect();
    let tags: Vec<_> = name.digest.is_none().then(|| name.to_string()).into_iter().collect();
    json!([{ "Config": path(&manifest.config.digest), "RepoTags": tags, "Layers": layers }])
}

fn descriptor(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    Descriptor { media_type: media_type.to_owned(), digest, size, platform: None }
}

fn path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn small(tar: &mut Builder<impl Write>, path: &str, content: &Value) -> io::Result<()> {
    let text = content.to_string();
    file(tar, path, text.len() as u64, text.as_bytes())
}

fn file(tar: &mut Builder<impl Write>, path: &str, bytes: u64, content: impl Read) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_size(bytes);
    let mut content = Counted { content: content.take(bytes), bytes: 0 };
    tar.append_data(&mut header, path, &mut content)?;
    if content.bytes == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

struct Hashed<R> {
    content: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.content.read(buffer)?;
        self.hash.update(&buffer[..length]);
        Ok(length)
    }
}

struct Counted<R> {
    content: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.content.read(buffer)?;
        self.bytes += length as u64;
        Ok(length)
    }
}

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// Of a module by itself, whose own is not kept.
const MODULE_CONFIG: &str = r#"{"architecture":"wasm","os":"wasip1"}"#;
