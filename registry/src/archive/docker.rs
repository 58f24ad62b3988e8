//! What `docker save` has always written: `manifest.json`, a list of images with their configs and layers by path.

use dunlin_link::{Digest, reference::Reference};
use serde::Deserialize;

use super::{ArchiveError, Archived, ArchivedImage, IMAGES_MAX, ImageArchive, content};
use crate::{
    image::{CONFIG_BYTES_MAX, ImageConfig, ImageError},
    manifest::{Descriptor, ImageManifest, LAYERS_MAX, MANIFEST_BYTES_MAX, Platform},
    media,
};

/// The list of such an archive.
pub(super) const MANIFEST: &str = "manifest.json";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// All images of the archive. One that is not for this machine is passed over as long as there is another.
pub(super) fn images(
    archive: &ImageArchive,
    wanted: &[Platform],
) -> Result<Vec<ArchivedImage>, ArchiveError> {
    let bad = |why: String| ArchiveError::List { file: MANIFEST, why };
    let text = archive.read(archive.find(MANIFEST)?, MANIFEST_BYTES_MAX)?;
    let listed: Vec<Listed> = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
    if listed.is_empty() {
        return Err(bad("it names no image".to_owned()));
    }
    if listed.len() > IMAGES_MAX || listed.iter().any(|image| image.layers.len() > LAYERS_MAX) {
        return Err(ArchiveError::TooLarge(format!("{IMAGES_MAX} images, or {LAYERS_MAX} layers of one")));
    }
    let (mut images, mut unfit) = (Vec::new(), None);
    for listed in &listed {
        match image(archive, listed, wanted) {
            Ok(image) => images.push(image),
            Err(error @ ArchiveError::Platform { .. }) => unfit = Some(error),
            Err(error) => return Err(error),
        }
    }
    match unfit {
        Some(error) if images.is_empty() => Err(error),
        _ => Ok(images),
    }
}

/// There is no manifest; one is made up that says the same, always the same way.
fn image(
    archive: &ImageArchive,
    listed: &Listed,
    wanted: &[Platform],
) -> Result<ArchivedImage, ArchiveError> {
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
    let content: Archived = content(archive, &manifest, || Ok(text.clone()), wanted, |at| Ok(spans[at]))?;
    let names = listed.repo_tags.iter().flatten().filter_map(|name| name.parse::<Reference>().ok());
    Ok(ArchivedImage { names: names.collect(), digest, content })
}

const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
