//! Images out of archives and into them, for sites without a network. All of it takes its time, on a thread that may.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use bytes::Bytes;
use dunlin_layers::{StoreError, UnpackError};
use dunlin_link::{Digest, limits::MODULE_BYTES_MAX, reference::Reference, with_causes};
use dunlin_registry::{
    PullError,
    archive::{ArchiveError, Archived, ArchivedImage, Exported, ImageArchive, Span, write},
    image::ImageConfig,
    layer::Layer,
    linux::LinuxImage as Found,
    media::Compression,
};
use sha2::{Digest as _, Sha256};

use super::{
    ImageContent, Images, ModuleFiles, Pin, STAGING,
    bring::{Brought, BroughtContent, file},
    guests::{self, Parts, StageError},
    meanings::Holds,
    pull::platforms,
};
use crate::folders;

/// An image that came out of an archive.
#[derive(Debug)]
pub(crate) struct Imported {
    /// What it is called here now.
    pub(crate) names: Vec<String>,
    /// Its digest.
    pub(crate) image: Digest,
    /// The module in it, and how long that is.
    pub(crate) module: Option<(Digest, u64)>,
    /// Keep what came until it is known to be here.
    pub(crate) pins: Vec<Pin>,
}

/// Why images of an archive were not taken, in words.
#[derive(Debug)]
pub(crate) struct ImportError {
    why: String,
    /// Whether the same archive may be taken later: it is the disk that is full, or fails.
    pub(crate) is_passing: bool,
}

impl Images {
    /// Takes all images of an archive, one after another; the only one under the name `rename`, if there is one.
    ///
    /// # Errors
    /// When the archive is none, an image in it cannot run here or has no name, or the disk fails. Images before it stay.
    pub(crate) fn import(
        &self,
        archive: File,
        rename: Option<&Reference>,
        modules: &ModuleFiles,
    ) -> Result<Vec<Imported>, ImportError> {
        let archive = ImageArchive::open(archive, &self.store, ARCHIVE_BYTES_MAX)?;
        let mut images = archive.list()?;
        if let Some(name) = rename {
            match &mut images[..] {
                [only] => only.names = vec![name.clone()],
                several => {
                    let why = format!("it has {} images, which cannot all have one name", several.len());
                    return Err(ImportError::lasting(why));
                }
            }
        }
        if images.iter().any(|image| image.names.is_empty()) {
            return Err(ImportError::lasting(
                "an image in it has no name; give it one with --name".to_owned(),
            ));
        }
        let mut taken = Vec::new();
        archive.each(images, &platforms(&self.containers), |image| {
            taken.push(self.take(&archive, image, modules)?);
            Ok::<_, ImportError>(())
        })?;
        Ok(taken)
    }

    /// Writes an image into an archive, under a name.
    ///
    /// # Errors
    /// In words, when it is not here or cannot be read. What was written until then is no archive.
    pub(crate) fn export(
        &self,
        (image, name): (&Digest, &Reference),
        modules: &ModuleFiles,
        out: impl io::Write,
    ) -> Result<(), String> {
        let content = self.content_of(image);
        // What no image is known by is a module itself.
        let holds = self.known().meanings.holds(image).unwrap_or(Holds::Module(*image));
        let words = |error: io::Error| format!("{name} cannot be exported: {error}");
        match (content, holds) {
            (ImageContent::Module(module), _) => {
                let _pin = modules.pins.hold(module);
                let path = file(&modules.folder, module);
                let bytes = fs::metadata(&path).map_err(words)?.len();
                let image = Exported::Module { digest: module, bytes };
                write(out, name, &image, |_| File::open(&path)).map_err(words)
            }
            (ImageContent::Linux(content), Holds::Linux { config, .. }) => {
                let _pins: Vec<_> = content.layers.iter().map(|layer| self.store.pins.hold(*layer)).collect();
                let image = self.exported(&config).map_err(words)?;
                write(out, name, &image, |layer| self.store.layers.archive(layer)).map_err(words)
            }
            (ImageContent::Guest(guest), _) => {
                let scratch = self.scratch().map_err(words)?;
                guest.export(name, &scratch, out).map_err(words)
            }
            (ImageContent::Linux(_), _) => Err(format!("{name}: no such image")),
        }
    }

    fn exported(&self, config: &Digest) -> io::Result<Exported> {
        let text = self.known().configs.text(config)?;
        let parsed =
            ImageConfig::parse(&text).and_then(|config| config.diff_ids()).map_err(io::Error::other)?;
        let length = |layer: Digest| Ok((layer, self.store.layers.archive(&layer)?.length()));
        let layers = parsed.into_iter().map(length).collect::<io::Result<_>>()?;
        Ok(Exported::Linux { config: text.into(), layers })
    }

    fn take(
        &self,
        archive: &ImageArchive,
        ArchivedImage { names, digest, content }: ArchivedImage,
        modules: &ModuleFiles,
    ) -> Result<Imported, ImportError> {
        let (content, bytes, mut pins) = match content {
            Archived::Module { digest, span } => {
                let pin = modules.pins.hold(digest);
                self.take_module(archive, (digest, span), modules)?;
                (BroughtContent::Module(digest), span.bytes, vec![pin])
            }
            Archived::Wasm { module, config, layers } => {
                let parts = GuestSpans { module, config, layers };
                let (content, bytes, pin) = self.put_together(archive, parts, (digest, modules))?;
                (content, bytes, pin.into_iter().collect())
            }
            Archived::Linux { image, layers } => {
                let pins = self.store.hold(&image);
                self.take_layers(archive, &image, &layers)?;
                (BroughtContent::Linux(image.text.clone()), image.bytes(), pins)
            }
        };
        let module = match &content {
            BroughtContent::Module(module) => Some((*module, bytes)),
            BroughtContent::Linux(_) | BroughtContent::Guest(_) => None,
        };
        for name in &names {
            let brought = Brought { image: digest, bytes, content: content.clone(), pins: Vec::new() };
            let remembered = self.known().remember(name, brought);
            let not_kept = |error| ImportError::passing(format!("failed to keep the image's name: {error}"));
            remembered.map_err(not_kept)?;
        }
        pins.shrink_to_fit();
        Ok(Imported { names: names.iter().map(ToString::to_string).collect(), image: digest, module, pins })
    }

    fn take_layers(&self, archive: &ImageArchive, image: &Found, spans: &[Span]) -> Result<(), ImportError> {
        self.store.check_room("the image in the archive", image)?;
        for (layer, span) in image.layers.iter().zip(spans) {
            self.store.take(archive.reader(*span), layer)?;
        }
        Ok(())
    }

    fn take_module(
        &self,
        archive: &ImageArchive,
        (digest, span): (Digest, Span),
        modules: &ModuleFiles,
    ) -> Result<(), ImportError> {
        let turn = self.turns.of(digest);
        let _turn = turn.blocking_lock();
        let path = file(&modules.folder, digest);
        if path.is_file() {
            return Ok(());
        }
        if span.bytes > MODULE_BYTES_MAX {
            return Err(too_large("module", span));
        }
        self.store.check_free(span.bytes).map_err(not_written)?;
        let staging = modules.folder.join(format!("{}.{STAGING}", digest.hex()));
        let actual = copy_hashed(archive, span, &staging).map_err(not_written)?;
        if actual != digest {
            fs::remove_file(staging).map_err(not_written)?;
            return Err(ImportError::lasting(format!("a module has digest {actual} instead of {digest}")));
        }
        fs::rename(staging, path).and_then(|()| folders::flush(&modules.folder)).map_err(not_written)
    }

    /// Lays layers over each other; answers what they hold, with its length.
    fn put_together(
        &self,
        archive: &ImageArchive,
        GuestSpans { module, config, layers }: GuestSpans,
        (image, modules): (Digest, &ModuleFiles),
    ) -> Result<(BroughtContent, u64, Option<Pin>), ImportError> {
        let turn = self.turns.of(image);
        let _turn = turn.blocking_lock();
        let _staged = modules.pins.hold(image);
        let mut copies = Vec::new();
        let mut copied = Vec::new();
        for (span, compression) in &layers {
            if span.bytes > MODULE_BYTES_MAX {
                return Err(too_large("layer", *span));
            }
            self.store.check_free(span.bytes).map_err(not_written)?;
            let copy = self.copy(archive, *span).map_err(not_written)?;
            copied.push(Layer { file: copy.path().to_owned(), compression: *compression });
            copies.push(copy);
        }
        let module = match module {
            Some((digest, span)) => {
                let copy = self.checked_module(archive, (digest, span))?;
                let module = (copy.path().to_owned(), digest);
                copies.push(copy);
                Some(module)
            }
            None => None,
        };
        let bytes = layers.iter().map(|(span, _)| span.bytes).sum();
        let parts = Parts { module, layers: copied, config };
        let folder = self.known().guests.folder().to_owned();
        let staged = guests::stage(&folder, &parts).map_err(|error| match error {
            StageError::Layers(why) => ImportError::lasting(format!("an image in it cannot run: {why}")),
            StageError::Disk(error) => not_written(error),
        })?;
        let placed = self.place_staged(staged, &modules.folder, &modules.pins).map_err(not_written)?;
        let (content, length, pin) = placed;
        Ok((content, length.unwrap_or(bytes), pin))
    }

    /// A copy of an artifact's module.
    fn checked_module(
        &self,
        archive: &ImageArchive,
        (digest, span): (Digest, Span),
    ) -> Result<tempfile::NamedTempFile, ImportError> {
        if span.bytes > MODULE_BYTES_MAX {
            return Err(too_large("module", span));
        }
        self.store.check_free(span.bytes).map_err(not_written)?;
        let copy = self.temporary().map_err(not_written)?;
        let actual = copy_hashed(archive, span, copy.path()).map_err(not_written)?;
        if actual == digest {
            Ok(copy)
        } else {
            Err(ImportError::lasting(format!("a module has digest {actual} instead of {digest}")))
        }
    }

    fn temporary(&self) -> io::Result<tempfile::NamedTempFile> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("copy-").suffix(&format!(".{STAGING}")).tempfile_in(self.store.folder())
    }

    fn copy(&self, archive: &ImageArchive, span: Span) -> io::Result<tempfile::NamedTempFile> {
        let mut copy = self.temporary()?;
        io::copy(&mut archive.reader(span), &mut copy)?;
        copy.flush()?;
        Ok(copy)
    }
}

/// Where the parts of an image for WASM are in an archive.
struct GuestSpans {
    module: Option<(Digest, Span)>,
    config: Option<Bytes>,
    layers: Vec<(Span, Compression)>,
}

struct Hashing {
    file: File,
    hash: Sha256,
}

impl io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hash.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl ImportError {
    pub(crate) const fn lasting(why: String) -> Self {
        Self { why, is_passing: false }
    }

    pub(crate) const fn passing(why: String) -> Self {
        Self { why, is_passing: true }
    }
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl From<ArchiveError> for ImportError {
    fn from(error: ArchiveError) -> Self {
        Self { is_passing: matches!(error, ArchiveError::Disk(_)), why: error.to_string() }
    }
}

impl From<PullError> for ImportError {
    fn from(error: PullError) -> Self {
        let is_passing = matches!(error, PullError::NoRoom { .. } | PullError::Disk(_));
        Self { is_passing, why: with_causes(&error) }
    }
}

impl From<StoreError> for ImportError {
    fn from(error: StoreError) -> Self {
        let is_passing = matches!(error, StoreError::Disk(_) | StoreError::Unpack(UnpackError::Write { .. }));
        Self { is_passing, why: error.to_string() }
    }
}

/// Writes a part durably; answers its digest.
fn copy_hashed(archive: &ImageArchive, span: Span, to: &Path) -> io::Result<Digest> {
    let mut out = Hashing { file: File::create(to)?, hash: Sha256::new() };
    io::copy(&mut archive.reader(span), &mut out)?;
    out.file.sync_all()?;
    Ok(Digest::from_bytes(out.hash.finalize().into()))
}

fn too_large(what: &str, span: Span) -> ImportError {
    ImportError::lasting(format!("a {what} of {} bytes; at most {MODULE_BYTES_MAX} are taken", span.bytes))
}

#[expect(clippy::needless_pass_by_value, reason = "it maps errors")]
fn not_written(error: io::Error) -> ImportError {
    ImportError::passing(format!("failed to write the image: {error}"))
}

/// An archive when it is no longer compressed as a whole.
const ARCHIVE_BYTES_MAX: u64 = 64 << 30;
