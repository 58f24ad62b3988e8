//! Images in files: what `skopeo`, `podman save`, `docker save` and `dunlin image export` write. OCI's layout in an archive
//! (`oci-archive`) and Docker's (`docker-archive`) are told apart by what is in them.
//!
//! An archive is read in place: only where its parts are is remembered. One that is compressed as a whole is unpacked into a file first.

mod docker;
mod oci;
mod whole;
mod write;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, Read, Seek as _, SeekFrom, Write as _},
    os::unix::fs::FileExt as _,
    path::{Component, Path},
};

use bytes::Bytes;
use dunlin_link::{Digest, reference::Reference};
use dunlin_zstd::Frames;
use flate2::read::MultiGzDecoder;
use tar::{Archive, EntryType};

pub use self::{
    whole::{WholeBlob, WholeImage, WholeManifest},
    write::{Exported, write},
};
use crate::{
    image::{Content, ImageConfig, ImageError},
    layer::walk::{self, Then, WalkError},
    linux::LinuxImage,
    manifest::{Descriptor, ImageManifest, ManifestError, Platform},
    media::Compression,
};

/// An archive whose parts are known.
#[derive(Debug)]
pub struct ImageArchive {
    file: File,
    files: BTreeMap<String, Span>,
    /// Names that stand for another, as Docker writes layers that it has written before.
    links: BTreeMap<String, String>,
}

/// Where something is in an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    offset: u64,
    /// Its length.
    pub bytes: u64,
}

/// Where an archive is unpacked that is compressed as a whole.
pub trait Scratch {
    /// A file for so many bytes, as far as they can be told.
    ///
    /// # Errors
    /// When there is no room for them, or the disk fails.
    fn file(&self, expected_bytes: u64) -> io::Result<File>;

    /// Whether there is room for more.
    ///
    /// # Errors
    /// When there is not.
    fn check(&self) -> io::Result<()>;
}

/// An image as an archive lists it.
#[derive(Debug)]
pub struct ListedImage {
    /// What it is called there; perhaps nothing.
    pub names: Vec<Reference>,
    listed: Listed,
}

#[derive(Debug)]
enum Listed {
    Oci(Descriptor),
    Docker(docker::Listed),
}

/// One image of an archive.
#[derive(Clone, Debug)]
pub struct ArchivedImage {
    /// What it is called there; perhaps nothing.
    pub names: Vec<Reference>,
    /// Of its index or manifest.
    pub digest: Digest,
    /// What it holds.
    pub content: Archived,
}

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
    /// Layers with a module in them, the lowest first.
    Wasm {
        /// Says which file is the module.
        config: Box<ImageConfig>,
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

/// Why an archive has no image that could be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// It cannot be read.
    #[error("it cannot be read as an archive (tar, also compressed): {}", shown(.0))]
    Read(#[from] io::Error),
    /// The disk has no room for what it unpacks to, or failed.
    #[error("it cannot be unpacked: {0}")]
    Disk(#[source] io::Error),
    /// It has more than any archive of images.
    #[error("it has more than {0}")]
    TooLarge(String),
    /// It is another archive.
    #[error("it is no archive of images: it has neither `index.json` nor `manifest.json`")]
    NoImages,
    /// One of its own lists makes no sense.
    #[error("its `{file}` cannot be used: {why}")]
    List {
        /// Which.
        file: &'static str,
        /// Why.
        why: String,
    },
    /// It names something that is not in it.
    #[error("it names `{0}`, which is not in it")]
    Missing(String),
    /// It has content under a wrong digest.
    #[error("what it has as {expected} has digest {actual}")]
    OtherDigest {
        /// As named.
        expected: Digest,
        /// As it is.
        actual: Digest,
    },
    /// A manifest cannot be used.
    #[error("a manifest in it cannot be used: {0}")]
    Manifest(#[from] ManifestError),
    /// An image cannot be used.
    #[error("an image in it cannot run: {0}")]
    Image(#[from] ImageError),
    /// There is nothing for this machine.
    #[error("no match for platform in manifest: it is there for {offered}, and this node runs {wanted}")]
    Platform {
        /// What there is.
        offered: String,
        /// What runs here.
        wanted: String,
    },
}

impl ImageArchive {
    /// Finds out what is in a file. One that is compressed as a whole is unpacked into `scratch`, to at most `bytes_max` bytes.
    ///
    /// # Errors
    /// When it cannot be read, is no archive, or has too much in it.
    pub fn open(file: File, scratch: &impl Scratch, bytes_max: u64) -> Result<Self, ArchiveError> {
        let file = plain(file, scratch, bytes_max)?;
        let mut found = Self { file: file.try_clone()?, files: BTreeMap::new(), links: BTreeMap::new() };
        let (mut entries_left, mut name_bytes) = (ENTRIES_MAX, 0);
        let mut archive = Archive::new(BufReader::with_capacity(CHUNK_BYTES, file));
        walk::walk(&mut archive, &mut entries_left, |path, entry| {
            let Some(path) = name(path) else { return Ok(Then::Next) };
            name_bytes += path.len();
            if name_bytes > NAMES_BYTES_MAX {
                return Err(ArchiveError::TooLarge(format!("{NAMES_BYTES_MAX} bytes of names")));
            }
            match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous => {
                    let span = Span { offset: entry.raw_file_position(), bytes: entry.size() };
                    found.files.insert(path, span);
                }
                EntryType::Symlink | EntryType::Link => {
                    let is_symlink = entry.header().entry_type() == EntryType::Symlink;
                    let folder = Path::new(&path).parent().filter(|_| is_symlink);
                    let target = entry.header().link_name().ok().flatten();
                    let target = target.map(|target| folder.unwrap_or_else(|| Path::new("")).join(target));
                    if let Some(target) = target.as_deref().and_then(name) {
                        name_bytes += target.len();
                        found.links.insert(path, target);
                    }
                }
                _ => {}
            }
            Ok::<_, ArchiveError>(Then::Next)
        })?;
        Ok(found)
    }

    /// The images that the archive lists.
    ///
    /// # Errors
    /// When it lists none, or more than anybody has.
    pub fn list(&self) -> Result<Vec<ListedImage>, ArchiveError> {
        if self.find(oci::INDEX).is_ok() {
            return oci::list(self);
        }
        if self.find(docker::MANIFEST).is_ok() {
            return docker::list(self);
        }
        Err(ArchiveError::NoImages)
    }

    /// Hands over each image that one of `wanted` runs, the best of it, one after another: all of them may be more than fits into memory.
    /// One that is not for this machine is passed over as long as there is another.
    ///
    /// # Errors
    /// When there is none, one of them is not whole, or `take` fails.
    pub fn each<E: From<ArchiveError>>(
        &self,
        images: Vec<ListedImage>,
        wanted: &[Platform],
        mut take: impl FnMut(ArchivedImage) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut taken, mut unfit) = (0, None);
        for ListedImage { names, listed } in images {
            let image = match &listed {
                Listed::Oci(entry) => oci::image(self, entry, wanted),
                Listed::Docker(listed) => docker::image(self, listed, wanted),
            };
            match image {
                Ok((digest, content)) => {
                    take(ArchivedImage { names, digest, content })?;
                    taken += 1;
                }
                Err(error @ ArchiveError::Platform { .. }) => unfit = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        match unfit {
            Some(error) if taken == 0 => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Reads a part.
    pub fn reader(&self, span: Span) -> impl Read + '_ {
        SpanReader { file: &self.file, span }
    }

    /// Where something is, behind links as well.
    fn find(&self, name: &str) -> Result<Span, ArchiveError> {
        let mut at = name;
        for _ in 0..LINKS_MAX {
            if let Some(span) = self.files.get(at) {
                return Ok(*span);
            }
            match self.links.get(at) {
                Some(target) => at = target,
                None => break,
            }
        }
        Err(ArchiveError::Missing(name.to_owned()))
    }

    /// The whole of a small part.
    fn read(&self, span: Span, bytes_max: u64) -> Result<Bytes, ArchiveError> {
        if span.bytes > bytes_max {
            return Err(ArchiveError::TooLarge(format!("{bytes_max} bytes in a list, manifest or config")));
        }
        let mut bytes = Vec::new();
        self.reader(span).read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }

    /// What an archive is compressed with says its beginning.
    fn compression(&self, span: Span) -> Result<Compression, ArchiveError> {
        let mut magic = [0; MAGIC_BYTES];
        let length = self.reader(span).read(&mut magic)?;
        Ok(compression(&magic[..length]))
    }
}

/// For which machines an image may be.
#[derive(Clone, Copy)]
enum Platforms<'a> {
    /// Whoever takes it does not run it.
    All,
    /// One of these.
    OneOf(&'a [Platform]),
}

/// What a manifest and its config describe; `find` says where a layer is by its place in the manifest.
fn content(
    archive: &ImageArchive,
    manifest: &ImageManifest,
    config: impl FnOnce() -> Result<Bytes, ArchiveError>,
    wanted: Platforms<'_>,
    find: impl Fn(usize) -> Result<Span, ArchiveError>,
) -> Result<Archived, ArchiveError> {
    if let Content::Module(module) = Content::of(manifest)? {
        let at = manifest.layers.iter().position(|layer| layer == module).unwrap_or_default();
        return Ok(Archived::Module { digest: module.digest, span: find(at)? });
    }
    let text = config()?;
    let config = ImageConfig::parse(&text)?;
    let spans = (0..manifest.layers.len()).map(&find).collect::<Result<Vec<_>, _>>()?;
    let compressions = spans.iter().map(|span| archive.compression(*span)).collect::<Result<Vec<_>, _>>()?;
    if config.platform.is_wasm() {
        let layers = spans.into_iter().zip(compressions).collect();
        return Ok(Archived::Wasm { config: Box::new(config), layers });
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

/// What went wrong, on one line: it may hold a part of what was read.
fn shown(error: &io::Error) -> String {
    error.to_string().chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect()
}

fn no_platform<'a>(offered: impl IntoIterator<Item = &'a Platform>, wanted: &[Platform]) -> ArchiveError {
    let offered: Vec<_> = offered.into_iter().take(NAMED_MAX).map(ToString::to_string).collect();
    let wanted: Vec<_> = wanted.iter().map(ToString::to_string).collect();
    ArchiveError::Platform { offered: offered.join(", "), wanted: wanted.join(", ") }
}

/// The archive itself, out of what it is compressed with.
fn plain(mut file: File, scratch: &impl Scratch, bytes_max: u64) -> Result<File, ArchiveError> {
    let mut magic = [0; MAGIC_BYTES];
    let length = file.read_at(&mut magic, 0)?;
    file.seek(SeekFrom::Start(0))?;
    let expected_bytes = file.metadata()?.len().saturating_mul(EXPECTED_TIMES).min(bytes_max);
    let content = BufReader::with_capacity(CHUNK_BYTES, file);
    let content: Box<dyn Read> = match compression(&magic[..length]) {
        Compression::None => return Ok(content.into_inner()),
        Compression::Gzip => Box::new(MultiGzDecoder::new(content)),
        Compression::Zstd => Box::new(Frames::new(content)),
    };
    let mut unpacked = scratch.file(expected_bytes).map_err(ArchiveError::Disk)?;
    let mut content = content.take(bytes_max + 1);
    let (mut chunk, mut bytes, mut checked) = (vec![0; CHUNK_BYTES], 0, 0);
    loop {
        let length = content.read(&mut chunk)?;
        if length == 0 {
            break;
        }
        bytes += length as u64;
        if bytes > bytes_max {
            return Err(ArchiveError::TooLarge(format!("{bytes_max} bytes when it is unpacked")));
        }
        if bytes - checked >= CHECK_BYTES {
            scratch.check().map_err(ArchiveError::Disk)?;
            checked = bytes;
        }
        unpacked.write_all(&chunk[..length]).map_err(ArchiveError::Disk)?;
    }
    unpacked.seek(SeekFrom::Start(0))?;
    Ok(unpacked)
}

fn compression(magic: &[u8]) -> Compression {
    match magic {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        _ => Compression::None,
    }
}

/// A name within the archive, from its root; `None` for one that leads out of it or is longer than any tool writes.
fn name(path: &Path) -> Option<String> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir => drop(parts.pop()?),
            Component::Prefix(_) => return None,
        }
    }
    let name = parts.join("/");
    (!name.is_empty() && name.len() <= NAME_BYTES_MAX).then_some(name)
}

impl From<WalkError> for ArchiveError {
    fn from(error: WalkError) -> Self {
        match error {
            WalkError::Archive(error) => Self::Read(error),
            WalkError::TooMany => Self::TooLarge(format!("{ENTRIES_MAX} entries")),
        }
    }
}

/// Reads a part without moving anybody else's place in the file.
struct SpanReader<'a> {
    file: &'a File,
    span: Span,
}

impl Read for SpanReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.span.bytes).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(&mut buffer[..length], self.span.offset)?;
        if read == 0 && length > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.span.offset += read as u64;
        self.span.bytes -= read as u64;
        Ok(read)
    }
}

/// Of an error's text.
const SHOWN_CHARS_MAX: usize = 120;
/// Entries of an archive: several files for each layer of many images.
const ENTRIES_MAX: usize = 100_000;
/// All names within an archive: they are kept while it is read.
const NAMES_BYTES_MAX: usize = 16 << 20;
/// What an archive usually comes to that is compressed as a whole, in its own length.
const EXPECTED_TIMES: u64 = 2;
/// How much is unpacked until the disk is looked at again.
const CHECK_BYTES: u64 = 16 << 20;
/// A name within an archive.
const NAME_BYTES_MAX: usize = 1024;
/// Links to links.
const LINKS_MAX: usize = 4;
/// Images of one archive.
const IMAGES_MAX: usize = 1024;
/// Platforms that a message names.
const NAMED_MAX: usize = 12;
/// Tells how something is compressed.
const MAGIC_BYTES: usize = 4;
/// Read at a time.
const CHUNK_BYTES: usize = 64 << 10;
