//! What an image in an archive holds.

use bytes::Bytes;
use dunlin_link::Digest;

use super::{ArchiveError, ImageArchive, Span, error::no_platform};
use crate::{
    image::{Content, ImageConfig},
    linux::LinuxImage,
    manifest::{ImageManifest, Platform},
    media::{self, Compression},
};

/// What an image in an archive holds.
#[derive(Clone, Debug)]
pub enum Archived {
    /// A module by itself.
    Module {
        /// Of the module.
        digest: Digest,
        /// Where it is.
        span: Span,
    },
    /// Layers with a module in them or beside them, the lowest first.
    Wasm {
        /// The module of an artifact, and where it is.
        module: Option<(Digest, Span)>,
        /// The config of an ordinary image, as it is written: says which file is the module.
        config: Option<Bytes>,
        /// Where they are.
        layers: Vec<(Span, Compression)>,
    },
    /// Layers of a root file system.
    Linux {
        /// The image.
        image: Box<LinuxImage>,
        /// Where its layers are.
        layers: Vec<Span>,
    },
}

/// For which machines an image may be.
#[derive(Clone, Copy)]
pub(super) enum Platforms<'a> {
    /// Whoever takes it does not run it.
    All,
    /// One of these.
    OneOf(&'a [Platform]),
}

/// What a manifest and its config describe; `find` says where a layer is by its place in the manifest.
pub(super) fn content(
    archive: &ImageArchive,
    manifest: &ImageManifest,
    config: impl FnOnce() -> Result<Bytes, ArchiveError>,
    wanted: Platforms<'_>,
    find: impl Fn(usize) -> Result<Span, ArchiveError>,
) -> Result<Archived, ArchiveError> {
    if let Content::Module(module) = Content::of(manifest)? {
        let at = manifest.layers.iter().position(|layer| layer == module).unwrap_or_default();
        let (digest, span) = (module.digest, find(at)?);
        let mut layers = Vec::new();
        for (at, layer) in manifest.layers.iter().enumerate() {
            // Beside a module there may be what only tools read.
            if media::compression(&layer.media_type).is_some() {
                let span = find(at)?;
                layers.push((span, archive.compression(span)?));
            }
        }
        return Ok(if layers.is_empty() {
            Archived::Module { digest, span }
        } else {
            Archived::Wasm { module: Some((digest, span)), config: None, layers }
        });
    }
    let text = config()?;
    let config = ImageConfig::parse(&text)?;
    let spans = (0..manifest.layers.len()).map(&find).collect::<Result<Vec<_>, _>>()?;
    let compressions = spans.iter().map(|span| archive.compression(*span)).collect::<Result<Vec<_>, _>>()?;
    if config.platform.is_wasm() {
        let layers = spans.into_iter().zip(compressions).collect();
        return Ok(Archived::Wasm { module: None, config: Some(text), layers });
    }
    if let Platforms::OneOf(wanted) = wanted
        && !wanted.iter().any(|wanted| wanted.runs(&config.platform))
    {
        return Err(no_platform([&config.platform], wanted));
    }
    let mut image = LinuxImage::of(manifest, text)?;
    // Whatever the manifest says: many tools unpack layers on the way into an archive.
    for (layer, compression) in image.layers.iter_mut().zip(compressions) {
        layer.compression = compression;
    }
    Ok(Archived::Linux { image: Box::new(image), layers: spans })
}
