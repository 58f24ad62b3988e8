//! Images in files: what `skopeo`, `podman save`, `docker save` and `dunlin image export` write. OCI's layout in an archive
//! (`oci-archive`) and Docker's (`docker-archive`) are told apart by what is in them.
//!
//! An archive is read in place: only where its parts are is remembered. One that is compressed as a whole is unpacked into a file first.

mod content;
mod docker;
mod error;
mod oci;
mod plain;
mod whole;
mod write;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, Read},
    os::unix::fs::FileExt as _,
    path::{Component, Path},
};

use bytes::Bytes;
use dunlin_link::{Digest, reference::Reference};
use tar::{Archive, EntryType};

pub use self::{
    content::Archived,
    error::ArchiveError,
    plain::Scratch,
    whole::{WholeBlob, WholeImage, WholeManifest},
    write::{Exported, write},
};
use self::{
    content::{Platforms, content},
    error::no_platform,
    plain::{MAGIC_BYTES, compression, plain},
};
use crate::{
    layer::walk::{self, Then},
    manifest::{Descriptor, Platform},
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
                Err(error @ (ArchiveError::Platform { .. } | ArchiveError::NotIncluded(_))) => {
                    unfit = Some(error)
                }
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

/// Entries of an archive: several files for each layer of many images.
const ENTRIES_MAX: usize = 100_000;
/// All names within an archive: they are kept while it is read.
const NAMES_BYTES_MAX: usize = 16 << 20;
/// A name within an archive.
const NAME_BYTES_MAX: usize = 1024;
/// Links to links.
const LINKS_MAX: usize = 4;
/// Images of one archive.
const IMAGES_MAX: usize = 1024;
/// Read at a time.
const CHUNK_BYTES: usize = 64 << 10;
