//! What `docker save` has always written: `manifest.json`, a list of images with their configs and layers by path.

use dunlin_link::{Digest, reference::Reference};
use serde::Deserialize;

use super::{ArchiveError, Archived, IMAGES_MAX, ImageArchive, ListedImage, content};
use crate::{
    image::{CONFIG_BYTES_MAX, ImageConfig, ImageError},
    manifest::{Descriptor, ImageManifest, LAYERS_MAX, MANIFEST_BYTES_MAX, Platform},
    media,
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
    let text = archive.read(archive.find(&listed.config)?, CONFIG_BYTES_MAX)?;
    let diff_ids = ImageConfig::parse(&text)?.diff_ids()?;
    let spans = listed.layers.iter().map(|layer| archive.find(layer)).collect::<Result<Vec<_>, _>>()?;
    if diff_ids.len() != spans.len() {
        return Err(ImageError::Layers { layers: spans.len(), diff_ids: diff_ids.len() }.into());
    }
    let described = |media_type: &str, digest, size| Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        platform: None,
    };
    let layers = spans.iter().zip(&diff_ids).map(|(span, diff_id)| described(LAYER, *diff_id, span.bytes));
    let manifest = ImageManifest {
        artifact_type: String::new(),
        config: described(CONFIG, Digest::of(&text), text.len() as u64),
        layers: layers.collect(),
    };
    let digest = Digest::of(&manifest.text(media::DOCKER_MANIFEST));
    Ok((digest, content(archive, &manifest, || Ok(text.clone()), wanted, |at| Ok(spans[at]))?))
}

const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
