//! Images as they are in an archive, to be handed on to a registry: all that an image or index is made of, for every platform.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read},
    path::Path,
};

use bytes::Bytes;
use dunlin_link::{Digest, reference::Reference};
use dunlin_zstd::Frames;
use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};

use super::{
    ArchiveError, Archived, CHUNK_BYTES, ImageArchive, Listed, ListedImage, Platforms, Scratch, Span,
    content, docker, oci,
};
use crate::{
    image::Content,
    manifest::{Descriptor, ImageManifest, Manifest},
    media::Compression,
};

/// An image with everything that belongs to it.
#[derive(Debug)]
pub struct WholeImage {
    /// What it is called in the archive; perhaps nothing.
    pub names: Vec<Reference>,
    /// Configs and layers, each once.
    pub blobs: Vec<WholeBlob>,
    /// The manifests; each names only what is a blob or comes before it. The last one is the image.
    pub manifests: Vec<WholeManifest>,
}

/// A manifest or index, to the letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WholeManifest {
    /// Of its text.
    pub digest: Digest,
    /// What it is.
    pub media_type: String,
    /// Its text.
    pub text: Bytes,
}

/// A config or layer. Nothing has looked at its content yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WholeBlob {
    /// Of what is sent.
    pub digest: Digest,
    /// Where that is.
    pub span: Span,
    /// Of a layer of a Linux image: what it unpacks to.
    pub unpacked: Option<(Compression, Digest)>,
}

impl ImageArchive {
    /// Reads a folder in OCI's layout; a copy of what belongs to it is made in `scratch`.
    ///
    /// # Errors
    /// When it cannot be read or is none.
    pub fn of_folder(folder: &Path, scratch: &impl Scratch, bytes_max: u64) -> Result<Self, ArchiveError> {
        if !folder.join(oci::INDEX).is_file() {
            return Err(ArchiveError::NoImages);
        }
        let copy = scratch.file(0).map_err(ArchiveError::Disk)?;
        let mut archive = tar::Builder::new(copy.try_clone()?);
        archive.append_path_with_name(folder.join(oci::INDEX), oci::INDEX)?;
        archive.append_dir_all("blobs", folder.join("blobs"))?;
        archive.into_inner()?;
        Self::open(copy, scratch, bytes_max)
    }

    /// All that one of the images is made of. It has to be one that some machine can run.
    ///
    /// # Errors
    /// When it is not all there, or is nothing that runs.
    pub fn whole(&self, image: ListedImage) -> Result<WholeImage, ArchiveError> {
        let mut whole = WholeImage { names: image.names, blobs: Vec::new(), manifests: Vec::new() };
        match &image.listed {
            Listed::Oci(entry) => self.add(entry, Place::Top, &mut whole)?,
            Listed::Docker(listed) => {
                let (manifest, text, spans) = docker::whole(self, listed)?;
                let find = |at: usize| -> Result<Span, ArchiveError> { Ok(spans[at]) };
                let config = docker::config_span(self, listed)?;
                self.add_image(&manifest, (config, text), &find, &mut whole)?;
                whole.manifests.push(docker::written(&manifest));
            }
        }
        let mut seen = BTreeSet::new();
        whole.blobs.retain(|blob| seen.insert(blob.digest));
        Ok(whole)
    }

    /// Whether a blob is what its digest says, and unpacks to what its image says. All of it is read.
    ///
    /// # Errors
    /// When it is not, or cannot be read.
    pub fn verify(&self, blob: &WholeBlob) -> Result<(), ArchiveError> {
        let mut stored = Hashing { from: self.reader(blob.span), hash: Sha256::new() };
        if let Some((compression, expected)) = blob.unpacked {
            let actual = unpacked(&mut stored, compression)?;
            if actual != expected {
                return Err(ArchiveError::OtherDigest { expected, actual });
            }
        }
        // What stands behind the end of a compressed stream is sent, too.
        io::copy(&mut stored, &mut io::sink())?;
        let actual = Digest::from_bytes(stored.hash.finalize().into());
        if actual == blob.digest {
            Ok(())
        } else {
            Err(ArchiveError::OtherDigest { expected: blob.digest, actual })
        }
    }

    /// The file, and where a part begins in it.
    ///
    /// # Errors
    /// When the system has no more descriptors.
    pub fn place(&self, span: Span) -> io::Result<(File, u64)> {
        Ok((self.file.try_clone()?, span.offset))
    }

    fn add(&self, entry: &Descriptor, place: Place, whole: &mut WholeImage) -> Result<(), ArchiveError> {
        let (manifest, text) = oci::manifest_text(self, entry)?;
        let known: usize = whole.manifests.iter().map(|manifest| manifest.text.len()).sum();
        if known + text.len() > MANIFESTS_BYTES_MAX {
            return Err(ArchiveError::TooLarge(format!("{MANIFESTS_BYTES_MAX} bytes of manifests")));
        }
        match &manifest {
            Manifest::Image(image) => {
                let find = |at: usize| oci::blob(self, &image.layers[at]);
                // What tools attach to an index is no image, and belongs to it all the same.
                if place == Place::InIndex && Content::of(image).is_err() {
                    self.add_attached(image, whole)?;
                } else {
                    let config = oci::blob(self, &image.config)?;
                    let read = oci::config_text(self, image);
                    self.add_image(image, (config, read?), &find, whole)?;
                }
            }
            Manifest::Index(entries) if place == Place::Top => {
                for entry in entries {
                    self.add(entry, Place::InIndex, whole)?;
                }
                if whole.blobs.is_empty() {
                    return Err(ArchiveError::List { file: oci::INDEX, why: NO_IMAGE.to_owned() });
                }
            }
            Manifest::Index(_) => {
                return Err(ArchiveError::TooLarge("an index of images within an index".to_owned()));
            }
        }
        let media_type = media_type(&manifest, &text, entry);
        whole.manifests.push(WholeManifest { digest: entry.digest, media_type, text });
        Ok(())
    }

    fn add_image(
        &self,
        manifest: &ImageManifest,
        (config, text): (Span, Bytes),
        find: &dyn Fn(usize) -> Result<Span, ArchiveError>,
        whole: &mut WholeImage,
    ) -> Result<(), ArchiveError> {
        let found = content(self, manifest, || Ok(text), Platforms::All, find)?;
        let unpacked = match found {
            Archived::Linux { image, .. } => {
                image.layers.iter().map(|layer| Some((layer.compression, layer.diff_id))).collect()
            }
            Archived::Module { .. } | Archived::Wasm { .. } => vec![None; manifest.layers.len()],
        };
        whole.blobs.push(WholeBlob { digest: manifest.config.digest, span: config, unpacked: None });
        for (at, (layer, unpacked)) in manifest.layers.iter().zip(unpacked).enumerate() {
            whole.blobs.push(WholeBlob { digest: layer.digest, span: find(at)?, unpacked });
        }
        Ok(())
    }

    fn add_attached(&self, manifest: &ImageManifest, whole: &mut WholeImage) -> Result<(), ArchiveError> {
        for part in std::iter::once(&manifest.config).chain(&manifest.layers) {
            let span = oci::blob(self, part)?;
            whole.blobs.push(WholeBlob { digest: part.digest, span, unpacked: None });
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Top,
    InIndex,
}

/// What a manifest is by its own word, else by that of whoever names it, else by its shape.
fn media_type(manifest: &Manifest, text: &[u8], entry: &Descriptor) -> String {
    let own = serde_json::from_slice::<serde_json::Value>(text).ok();
    let own = own.as_ref().and_then(|own| own["mediaType"].as_str()).unwrap_or_default();
    let shape = match manifest {
        Manifest::Image(_) => crate::media::MANIFEST,
        Manifest::Index(_) => crate::media::INDEX,
    };
    let named = [own, &entry.media_type, shape].into_iter().find(|name| !name.is_empty());
    named.unwrap_or(shape).to_owned()
}

/// The digest of what a layer unpacks to.
fn unpacked(layer: impl Read, compression: Compression) -> Result<Digest, ArchiveError> {
    let layer = io::BufReader::with_capacity(CHUNK_BYTES, layer);
    let content: Box<dyn Read + '_> = match compression {
        Compression::None => Box::new(layer),
        Compression::Gzip => Box::new(MultiGzDecoder::new(layer)),
        Compression::Zstd => Box::new(Frames::new(layer)),
    };
    let mut content = Hashing { from: content.take(LAYER_BYTES_MAX + 1), hash: Sha256::new() };
    if io::copy(&mut content, &mut io::sink())? > LAYER_BYTES_MAX {
        return Err(ArchiveError::TooLarge(format!(
            "{LAYER_BYTES_MAX} bytes in a layer when it is unpacked"
        )));
    }
    Ok(Digest::from_bytes(content.hash.finalize().into()))
}

/// Hashes what is read.
pub(super) struct Hashing<R> {
    pub(super) from: R,
    pub(super) hash: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.from.read(buffer)?;
        self.hash.update(&buffer[..length]);
        Ok(length)
    }
}

/// Of an index that leads to an empty one.
const NO_IMAGE: &str = "it names an index without an image";
/// All manifests of an image together.
const MANIFESTS_BYTES_MAX: usize = 16 << 20;
/// What nodes unpack of a layer at most.
const LAYER_BYTES_MAX: u64 = 32 << 30;
