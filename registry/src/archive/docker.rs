//! What `docker save` has always written: `manifest.json`, a list of images with their configs and layers by path.

use std::io;

use bytes::Bytes;
use dunlin_link::{Digest, reference::Reference};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{
    ArchiveError, Archived, IMAGES_MAX, ImageArchive, ListedImage, Platforms, Span, WholeManifest, content,
    whole::Hashing,
};
use crate::{
    image::{CONFIG_BYTES_MAX, ImageConfig, ImageError},
    manifest::{Descriptor, ImageManifest, LAYERS_MAX, MANIFEST_BYTES_MAX, Platform},
    media::{self, Compression},
};

/// The list of such an archive.
pub(super) const MANIFEST: &str = "manifest.json";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// All images of the archive.
pub(super) fn list(archive: &ImageArchive) -> Result<Vec<ListedImage>, ArchiveError> {
    let bad = |why: String| ArchiveError::List { file: MANIFEST, why };
    let text = archive.read(archive.find(MANIFEST)?, MANIFEST_BYTES_MAX)?;
    let images: Vec<Listed> = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
    if images.is_empty() {
        return Err(bad("it names no image".to_owned()));
    }
    if images.len() > IMAGES_MAX || images.iter().any(|image| image.layers.len() > LAYERS_MAX) {
        return Err(ArchiveError::TooLarge(format!("{IMAGES_MAX} images, or {LAYERS_MAX} layers of one")));
    }
    let listed = |image: Listed| {
        let names = image.repo_tags.iter().flatten().filter_map(|name| name.parse::<Reference>().ok());
        ListedImage { names: names.collect(), listed: super::Listed::Docker(image) }
    };
    Ok(images.into_iter().map(listed).collect())
}

/// There is no manifest; one is made up that says the same, always the same way.
pub(super) fn image(
    archive: &ImageArchive,
    listed: &Listed,
    wanted: &[Platform],
) -> Result<(Digest, Archived), ArchiveError> {
    let Parts { text, diff_ids, spans } = parts(archive, listed)?;
    let layers = spans.iter().zip(&diff_ids).map(|(span, diff_id)| described(LAYER, *diff_id, span.bytes));
    let manifest = made_up(&text, layers.collect());
    let digest = Digest::of(&manifest.text(media::DOCKER_MANIFEST));
    Ok((
        digest,
        content(archive, &manifest, || Ok(text.clone()), Platforms::OneOf(wanted), |at| Ok(spans[at]))?,
    ))
}

/// The same with what its layers are as they lie there, its config, and where its layers are.
pub(super) fn whole(
    archive: &ImageArchive,
    listed: &Listed,
) -> Result<(ImageManifest, Bytes, Vec<Span>), ArchiveError> {
    let Parts { text, diff_ids, spans } = parts(archive, listed)?;
    let mut layers = Vec::new();
    for (span, diff_id) in spans.iter().zip(diff_ids) {
        layers.push(match archive.compression(*span)? {
            Compression::None => described(LAYER, diff_id, span.bytes),
            Compression::Gzip => described(LAYER_GZIP, stored(archive, *span)?, span.bytes),
            Compression::Zstd => described(LAYER_ZSTD, stored(archive, *span)?, span.bytes),
        });
    }
    Ok((made_up(&text, layers), text, spans))
}

/// Where the config of an image is.
pub(super) fn config_span(archive: &ImageArchive, listed: &Listed) -> Result<Span, ArchiveError> {
    archive.find(&listed.config)
}

/// A manifest that was made up.
pub(super) fn written(manifest: &ImageManifest) -> WholeManifest {
    let text = Bytes::from(manifest.text(media::DOCKER_MANIFEST));
    WholeManifest { digest: Digest::of(&text), media_type: media::DOCKER_MANIFEST.to_owned(), text }
}

/// What the list of the archive says of an image, read.
struct Parts {
    text: Bytes,
    diff_ids: Vec<Digest>,
    spans: Vec<Span>,
}

fn parts(archive: &ImageArchive, listed: &Listed) -> Result<Parts, ArchiveError> {
    let text = archive.read(archive.find(&listed.config)?, CONFIG_BYTES_MAX)?;
    let diff_ids = ImageConfig::parse(&text)?.diff_ids()?;
    let spans = listed.layers.iter().map(|layer| archive.find(layer)).collect::<Result<Vec<_>, _>>()?;
    if diff_ids.len() != spans.len() {
        return Err(ImageError::Layers { layers: spans.len(), diff_ids: diff_ids.len() }.into());
    }
    Ok(Parts { text, diff_ids, spans })
}

fn made_up(config: &[u8], layers: Vec<Descriptor>) -> ImageManifest {
    let config = described(CONFIG, Digest::of(config), config.len() as u64);
    ImageManifest { artifact_type: String::new(), config, layers }
}

fn described(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    Descriptor { media_type: media_type.to_owned(), digest, size, platform: None }
}

/// The digest of a layer as it lies there.
fn stored(archive: &ImageArchive, span: Span) -> Result<Digest, ArchiveError> {
    let mut layer = Hashing { from: archive.reader(span), hash: Sha256::new() };
    io::copy(&mut layer, &mut io::sink())?;
    Ok(Digest::from_bytes(layer.hash.finalize().into()))
}

const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
const LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker has none of its own.
const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
