//! OCI's image layout: `index.json`, and everything else by its digest in `blobs/sha256`.

use std::collections::BTreeMap;

use bytes::Bytes;
use dunlin_link::{Digest, reference::Reference};
use serde::Deserialize;

use super::{ArchiveError, Archived, ArchivedImage, IMAGES_MAX, ImageArchive, Span, content, no_platform};
use crate::{
    image::CONFIG_BYTES_MAX,
    manifest::{Descriptor, ImageManifest, MANIFEST_BYTES_MAX, Manifest, Platform, choose},
};

/// The list of a layout.
pub(super) const INDEX: &str = "index.json";

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(flatten)]
    descriptor: Descriptor,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// All images of the layout. One that is not for this machine is passed over as long as there is another.
pub(super) fn images(
    archive: &ImageArchive,
    wanted: &[Platform],
) -> Result<Vec<ArchivedImage>, ArchiveError> {
    let bad = |why: String| ArchiveError::List { file: INDEX, why };
    let text = archive.read(archive.find(INDEX)?, MANIFEST_BYTES_MAX)?;
    let index: Index = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
    if index.manifests.is_empty() {
        return Err(bad("it names no image".to_owned()));
    }
    if index.manifests.len() > IMAGES_MAX {
        return Err(ArchiveError::TooLarge(format!("{IMAGES_MAX} images")));
    }
    let mut images: Vec<ArchivedImage> = Vec::new();
    let mut unfit = None;
    for entry in &index.manifests {
        match image(archive, entry, wanted) {
            Ok(image) => add(&mut images, image),
            Err(error @ ArchiveError::Platform { .. }) => unfit = Some(error),
            Err(error) => return Err(error),
        }
    }
    match unfit {
        Some(error) if images.is_empty() => Err(error),
        _ => Ok(images),
    }
}

/// The same image may be there once for each of its names.
fn add(images: &mut Vec<ArchivedImage>, image: ArchivedImage) {
    match images.iter_mut().find(|known| known.digest == image.digest) {
        Some(known) => known.names.extend(image.names),
        None => images.push(image),
    }
}

fn image(archive: &ImageArchive, entry: &Entry, wanted: &[Platform]) -> Result<ArchivedImage, ArchiveError> {
    let Entry { descriptor, annotations } = entry;
    let names = names(annotations);
    let manifest = match manifest(archive, descriptor)? {
        Manifest::Image(manifest) => manifest,
        Manifest::Index(manifests) => {
            let Some(chosen) = choose(&manifests, wanted) else {
                let offered = manifests.iter().filter_map(|entry| entry.platform.as_ref());
                return Err(no_platform(offered, wanted));
            };
            match manifest(archive, chosen)? {
                Manifest::Image(manifest) => manifest,
                Manifest::Index(_) => return Err(no_platform([], wanted)),
            }
        }
    };
    Ok(ArchivedImage { names, digest: descriptor.digest, content: held(archive, &manifest, wanted)? })
}

fn held(
    archive: &ImageArchive,
    manifest: &ImageManifest,
    wanted: &[Platform],
) -> Result<Archived, ArchiveError> {
    let config = || verified(archive, &manifest.config, CONFIG_BYTES_MAX);
    content(archive, manifest, config, wanted, |at| blob(archive, &manifest.layers[at]))
}

fn manifest(archive: &ImageArchive, descriptor: &Descriptor) -> Result<Manifest, ArchiveError> {
    let text = verified(archive, descriptor, MANIFEST_BYTES_MAX)?;
    Ok(Manifest::parse(&text, &descriptor.media_type)?)
}

/// The whole of a blob that is what its digest says.
fn verified(archive: &ImageArchive, descriptor: &Descriptor, bytes_max: u64) -> Result<Bytes, ArchiveError> {
    let bytes = archive.read(blob(archive, descriptor)?, bytes_max)?;
    let (expected, actual) = (descriptor.digest, Digest::of(&bytes));
    if actual == expected { Ok(bytes) } else { Err(ArchiveError::OtherDigest { expected, actual }) }
}

fn blob(archive: &ImageArchive, descriptor: &Descriptor) -> Result<Span, ArchiveError> {
    archive.find(&format!("blobs/sha256/{}", descriptor.digest.hex()))
}

/// What containerd and Docker call it in full, else what the layout calls it, where that is more than a tag.
fn names(annotations: &BTreeMap<String, String>) -> Vec<Reference> {
    let full = annotations.get("io.containerd.image.name");
    let own = annotations.get("org.opencontainers.image.ref.name");
    let own = own.filter(|name| name.contains(['/', ':']));
    full.or(own).and_then(|name| name.parse().ok()).into_iter().collect()
}
