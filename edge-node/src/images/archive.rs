//! Images out of archives and into them, for sites without a network. All of it takes its time, on a thread that may.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::PathBuf,
};

use dunlin_link::{Digest, limits::MODULE_BYTES_MAX, reference::Reference};
use dunlin_registry::{
    archive::{Archived, ArchivedImage, Exported, ImageArchive, Span, write},
    image::ImageConfig,
    layer::{self, Layer},
    linux::LinuxImage as Found,
    media::Compression,
};
use sha2::{Digest as _, Sha256};

use super::{
    Brought, BroughtContent, ImageContent, Images, ModuleFiles, Pin, STAGING, file,
    meanings::{Holds, Meaning},
    platforms,
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

impl Images {
    /// Takes all images of an archive; the only one under the name `rename`, if there is one.
    ///
    /// # Errors
    /// In words, when the archive is none, an image in it cannot run here or has no name, or the disk fails. Images before it stay.
    pub(crate) fn import(
        &self,
        archive: File,
        rename: Option<&Reference>,
        modules: &ModuleFiles,
    ) -> Result<Vec<Imported>, String> {
        let scratch = || tempfile::tempfile_in(self.store.folder());
        let archive =
            ImageArchive::open(archive, scratch, ARCHIVE_BYTES_MAX).map_err(|error| error.to_string())?;
        let mut images = archive.images(&platforms(&self.containers)).map_err(|error| error.to_string())?;
        if let Some(name) = rename {
            match &mut images[..] {
                [only] => only.names = vec![name.clone()],
                several => {
                    return Err(format!("it has {} images, which cannot all have one name", several.len()));
                }
            }
        }
        if images.iter().any(|image| image.names.is_empty()) {
            return Err("an image in it has no name; give it one with --name".to_owned());
        }
        images.into_iter().map(|image| self.take(&archive, image, modules)).collect()
    }

    /// Writes an image into an archive.
    ///
    /// # Errors
    /// In words, when it is not here or cannot be read. What was written until then is no archive.
    pub(crate) fn export(
        &self,
        name: &Reference,
        modules: &ModuleFiles,
        out: impl io::Write,
    ) -> Result<(), String> {
        let found = {
            let known = self.known();
            let meaning = known.meanings.of(name);
            meaning.and_then(|Meaning { holds, .. }| Some((holds, known.content(holds)?)))
        };
        let Some((holds, content)) = found else { return Err(format!("{name}: no such image")) };
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
            (ImageContent::Linux(_), Holds::Module(_)) => Err(format!("{name}: no such image")),
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
    ) -> Result<Imported, String> {
        let (content, bytes, mut pins) = match content {
            Archived::Module { digest, span } => {
                let pin = modules.pins.hold(digest);
                self.take_module(archive, (digest, span), modules).map_err(|error| not_written(&error))?;
                (BroughtContent::Module(digest), span.bytes, vec![pin])
            }
            Archived::Wasm { config, layers } => {
                let (module, bytes, pin) = self.extract(archive, &config, &layers, (digest, modules))?;
                (BroughtContent::Module(module), bytes, vec![pin])
            }
            Archived::Linux { image, layers } => {
                let pins = self.store.hold(&image);
                self.take_layers(archive, &image, &layers)?;
                (BroughtContent::Linux(image.text.clone()), image.bytes(), pins)
            }
        };
        let module = match &content {
            BroughtContent::Module(module) => Some((*module, bytes)),
            BroughtContent::Linux(_) => None,
        };
        for name in &names {
            let brought = Brought { image: digest, bytes, content: content.clone(), pins: Vec::new() };
            let remembered = self.known().remember(name, brought);
            remembered.map_err(|error| format!("failed to keep the image's name: {error}"))?;
        }
        pins.shrink_to_fit();
        Ok(Imported { names: names.iter().map(ToString::to_string).collect(), image: digest, module, pins })
    }

    fn take_layers(&self, archive: &ImageArchive, image: &Found, spans: &[Span]) -> Result<(), String> {
        let name = "the image in the archive";
        self.store.check_room(name, image).map_err(|error| error.to_string())?;
        for (layer, span) in image.layers.iter().zip(spans) {
            let taken = self.store.take(archive.reader(*span), layer);
            taken.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn take_module(
        &self,
        archive: &ImageArchive,
        (digest, span): (Digest, Span),
        modules: &ModuleFiles,
    ) -> io::Result<()> {
        let turn = self.turns.of(digest);
        let _turn = turn.blocking_lock();
        let path = file(&modules.folder, digest);
        if path.is_file() {
            return Ok(());
        }
        if span.bytes > MODULE_BYTES_MAX {
            return Err(io::Error::other(format!(
                "a module of {} bytes; at most {MODULE_BYTES_MAX} are taken",
                span.bytes
            )));
        }
        let staging = modules.folder.join(format!("{}.{STAGING}", digest.hex()));
        let mut out = Hashing { file: File::create(&staging)?, hash: Sha256::new() };
        io::copy(&mut archive.reader(span), &mut out)?;
        out.file.sync_all()?;
        let actual = Digest::from_bytes(out.hash.finalize().into());
        if actual != digest {
            fs::remove_file(staging)?;
            return Err(io::Error::other(format!("a module has digest {actual} instead of {digest}")));
        }
        fs::rename(staging, path)?;
        folders::flush(&modules.folder)
    }

    /// Finds the module in layers; answers it with its length.
    fn extract(
        &self,
        archive: &ImageArchive,
        config: &ImageConfig,
        layers: &[(Span, Compression)],
        (image, modules): (Digest, &ModuleFiles),
    ) -> Result<(Digest, u64, Pin), String> {
        let turn = self.turns.of(image);
        let _turn = turn.blocking_lock();
        let _staged = modules.pins.hold(image);
        let mut copies = Vec::new();
        let mut copied = Vec::new();
        for (span, compression) in layers {
            if span.bytes > MODULE_BYTES_MAX {
                return Err(format!("a layer of {} bytes; at most {MODULE_BYTES_MAX} are taken", span.bytes));
            }
            let copy = self.copy(archive, *span).map_err(|error| not_written(&error))?;
            copied.push(Layer { file: copy.path().to_owned(), compression: *compression });
            copies.push(copy);
        }
        let staging: PathBuf = modules.folder.join(format!("{}.{STAGING}", image.hex()));
        let found = layer::extract(&copied, config.config.program(), &staging, MODULE_BYTES_MAX);
        let module = found.map_err(|error| format!("an image in it cannot run: {error}"))?;
        let pin = modules.pins.hold(module);
        let path = file(&modules.folder, module);
        let placed = fs::rename(staging, &path).and_then(|()| folders::flush(&modules.folder));
        let length = placed.and_then(|()| fs::metadata(path)).map_err(|error| not_written(&error))?.len();
        Ok((module, length, pin))
    }

    fn copy(&self, archive: &ImageArchive, span: Span) -> io::Result<tempfile::NamedTempFile> {
        let mut copy = tempfile::Builder::new()
            .prefix("copy-")
            .suffix(&format!(".{STAGING}"))
            .tempfile_in(self.store.folder())?;
        io::copy(&mut archive.reader(span), &mut copy)?;
        copy.flush()?;
        Ok(copy)
    }
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

fn not_written(error: &io::Error) -> String {
    format!("failed to write the image: {error}")
}

/// An archive when it is no longer compressed as a whole.
const ARCHIVE_BYTES_MAX: u64 = 64 << 30;
