//! OCI's image layout: `index.json`, and everything else by its digest in `blobs/sha256`.

use std::collections::BTreeMap;

use bytes::Bytes;
use dunlin_link::{Digest, reference::Reference};
use serde::Deserialize;

use super::{
    ArchiveError, Archived, IMAGES_MAX, ImageArchive, Listed, ListedImage, Platforms, Span, content,
    no_platform,
};
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

/// All images of the layout. The same image may be there once for each of its names.
pub(super) fn list(archive: &ImageArchive) -> Result<Vec<ListedImage>, ArchiveError> {
    let bad = |why: String| ArchiveError::List { file: INDEX, why };
    let text = archive.read(archive.find(INDEX)?, MANIFEST_BYTES_MAX)?;
    let index: Index = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
    if index.manifests.is_empty() {
        return Err(bad("it names no image".to_owned()));
    }
    if index.manifests.len() > IMAGES_MAX {
        return Err(ArchiveError::TooLarge(format!("{IMAGES_MAX} images")));
    }
    let mut images: Vec<ListedImage> = Vec::new();
    for Entry { descriptor, annotations } in index.manifests {
        let is_same = |image: &&mut ListedImage| matches!(&image.listed, Listed::Oci(known) if known.digest == descriptor.digest);
        match images.iter_mut().find(is_same) {
            Some(known) => known.names.extend(names(&annotations)),
            None => images.push(ListedImage { names: names(&annotations), listed: Listed::Oci(descriptor) }),
        }
    }
    Ok(images)
}

/// What one of them is.
pub(super) fn image(
    archive: &ImageArchive,
    entry: &Descriptor,
    wanted: &[Platform],
) -> Result<(Digest, Archived), ArchiveError> {
    let manifest = match manifest(archive, entry)? {
        Manifest::Image(manifest) => manifest,
        Manifest::Index(manifests) => {
            // Tools that copy one platform leave the index as it was.
            let is_there = |entry: &&Descriptor| blob(archive, entry).is_ok();
            let (there, missing): (Vec<_>, Vec<_>) = manifests.iter().partition(is_there);
            let there: Vec<_> = there.into_iter().cloned().collect();
            let Some(chosen) = choose(&there, wanted) else {
                let missing: Vec<_> = missing.into_iter().cloned().collect();
                return Err(match choose(&missing, wanted).and_then(|entry| entry.platform.as_ref()) {
                    Some(platform) => ArchiveError::NotIncluded(platform.to_string()),
                    None => no_platform(manifests.iter().filter_map(|entry| entry.platform.as_ref()), wanted),
                });
            };
            match manifest(archive, chosen)? {
                Manifest::Image(manifest) => manifest,
                Manifest::Index(_) => return Err(no_platform([], wanted)),
            }
        }
    };
    Ok((entry.digest, held(archive, &manifest, wanted)?))
}

fn held(
    archive: &ImageArchive,
    manifest: &ImageManifest,
    wanted: &[Platform],
) -> Result<Archived, ArchiveError> {
    let config = || config_text(archive, manifest);
    content(archive, manifest, config, Platforms::OneOf(wanted), |at| blob(archive, &manifest.layers[at]))
}

fn manifest(archive: &ImageArchive, descriptor: &Descriptor) -> Result<Manifest, ArchiveError> {
    Ok(manifest_text(archive, descriptor)?.0)
}

/// A manifest with its text.
pub(super) fn manifest_text(
    archive: &ImageArchive,
    descriptor: &Descriptor,
) -> Result<(Manifest, Bytes), ArchiveError> {
    let text = verified(archive, descriptor, MANIFEST_BYTES_MAX)?;
    Ok((Manifest::parse(&text, &descriptor.media_type)?, text))
}

/// The config of an image as it is written.
pub(super) fn config_text(archive: &ImageArchive, manifest: &ImageManifest) -> Result<Bytes, ArchiveError> {
    verified(archive, &manifest.config, CONFIG_BYTES_MAX)
}

/// The whole of a blob that is what its digest says.
fn verified(archive: &ImageArchive, descriptor: &Descriptor, bytes_max: u64) -> Result<Bytes, ArchiveError> {
    let bytes = archive.read(blob(archive, descriptor)?, bytes_max)?;
    let (expected, actual) = (descriptor.digest, Digest::of(&bytes));
    if actual == expected { Ok(bytes) } else { Err(ArchiveError::OtherDigest { expected, actual }) }
}

/// Where a blob is.
pub(super) fn blob(archive: &ImageArchive, descriptor: &Descriptor) -> Result<Span, ArchiveError> {
    archive.find(&format!("blobs/sha256/{}", descriptor.digest.hex()))
}

/// What containerd and Docker call it in full, else what the layout calls it, where that is more than a tag.
fn names(annotations: &BTreeMap<String, String>) -> Vec<Reference> {
    let full = annotations.get("io.containerd.image.name");
    let own = annotations.get("org.opencontainers.image.ref.name");
    let own = own.filter(|name| name.contains(['/', ':']));
    full.or(own).and_then(|name| name.parse().ok()).into_iter().collect()
}
