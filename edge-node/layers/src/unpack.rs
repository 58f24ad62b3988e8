//! Unpacks one layer into a folder of its own, as overlayfs wants it.

pub(crate) mod entry;
pub(crate) mod tree;

#[cfg(test)]
mod tests;

use std::{
    cell::RefCell,
    fs,
    io::{self, BufReader, Read},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    rc::Rc,
};

use dunlin_link::Digest;
use dunlin_zstd::Frames;
use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};
use tar::Archive;

use self::{
    entry::{Entries, Entry, Kind},
    tree::Tree,
};
use crate::recipe::Recorder;

/// How an archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// With gzip.
    Gzip,
    /// With zstd.
    Zstd,
}

/// How much a layer may be. A small archive can say that it is very large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Of the archive when it is no longer compressed.
    pub bytes_max: u64,
    /// Files, folders, links and whatever else has a name.
    pub entries_max: u64,
}

impl Bounds {
    /// More than any image has that a small machine could run.
    pub const DEFAULT: Self = Self { bytes_max: 32 << 30, entries_max: 1_000_000 };
}

/// What was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Of the archive when it is no longer compressed.
    pub bytes: u64,
    /// Whatever has a name.
    pub entries: u64,
}

/// Why a layer was not unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// It is damaged, or no archive.
    #[error("the layer cannot be read: {0}")]
    Archive(#[source] io::Error),
    /// It is larger than anybody needs.
    #[error("the layer has more than {0}")]
    TooLarge(String),
    /// Something in it makes no sense, or is there to do harm.
    #[error("the layer has an entry `{}` that is refused: {why}", path.display())]
    Refused {
        /// Its name.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It is not what its image's config names.
    #[error("the layer's content is {found}, and {expected} was expected")]
    Digest {
        /// What the image says.
        expected: Digest,
        /// What there is.
        found: Digest,
    },
    /// The disk failed, or is full.
    #[error("failed to write `{}` of a layer: {source}", path.display())]
    Write {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Unpacks an archive into the new folder `into`, and sees that it is what `diff_id` names; `recipe` is a new file that tells how the
/// archive is put together again. On failure something may be left of both.
///
/// # Errors
/// When it is damaged, too large, or not what it should be; when something in it is there to do harm; when the disk fails.
pub fn unpack(
    archive: impl Read,
    compression: Compression,
    (into, recipe): (&Path, &Path),
    diff_id: &Digest,
    bounds: Bounds,
) -> Result<Unpacked, UnpackError> {
    let recipe_error = |source| UnpackError::Write { path: recipe.to_owned(), source };
    let recorder = fs::File::create_new(recipe).and_then(Recorder::new).map_err(recipe_error)?;
    let recorder = Rc::new(RefCell::new(recorder));
    let content = plain(archive, compression);
    let mut archive = Archive::new(Watched {
        content,
        hash: Sha256::new(),
        bytes: 0,
        bounds,
        recorder: Rc::clone(&recorder),
    });
    fs::DirBuilder::new()
        .mode(0o755)
        .create(into)
        .map_err(|source| UnpackError::Write { path: into.to_owned(), source })?;
    let mut tree = Tree::open(into)?;
    let mut entries = Entries::new(archive.entries().map_err(UnpackError::Archive)?);
    let mut count = 0;
    while let Some((entry, mut content)) = entries.next_entry().map_err(|error| read_error(error, bounds))? {
        count += 1;
        if count > bounds.entries_max {
            return Err(UnpackError::TooLarge(format!("{} entries", bounds.entries_max)));
        }
        if entry.kind == Kind::File {
            recorder.borrow_mut().begin(&entry.path);
        }
        let written = write(&mut tree, &entry, &mut content);
        recorder.borrow_mut().end();
        written.map_err(|error| match error {
            UnpackError::Archive(error) => read_error(error, bounds),
            other => other,
        })?;
    }
    let mut watched = archive.into_inner();
    // What follows the end of the archive belongs to what is hashed.
    io::copy(&mut watched, &mut io::sink()).map_err(|error| read_error(error, bounds))?;
    let found = Digest::from_bytes(watched.hash.finalize().into());
    if found != *diff_id {
        return Err(UnpackError::Digest { expected: *diff_id, found });
    }
    drop(watched.recorder);
    let recorder = Rc::into_inner(recorder).expect("nothing else reads any more").into_inner();
    recorder.finish().map_err(recipe_error)?;
    tree.finish()?;
    Ok(Unpacked { bytes: watched.bytes, entries: count })
}

/// An archive out of what it is compressed with.
pub(crate) fn plain<'a>(archive: impl Read + 'a, compression: Compression) -> Box<dyn Read + 'a> {
    let archive = BufReader::with_capacity(CHUNK_BYTES, archive);
    match compression {
        Compression::None => Box::new(archive),
        Compression::Gzip => Box::new(MultiGzDecoder::new(archive)),
        Compression::Zstd => Box::new(Frames::new(archive)),
    }
}

/// An entry, or what it says about the layers below.
fn write(tree: &mut Tree, entry: &Entry, content: &mut impl Read) -> Result<(), UnpackError> {
    let name = entry.path.file_name().unwrap_or_default().as_encoded_bytes();
    match name.strip_prefix(WHITEOUT) {
        None => tree.write(entry, content),
        Some(b".wh..opq") => tree.hide_all(&entry.path),
        // What older tools kept for themselves.
        Some(hidden) if hidden.starts_with(WHITEOUT) => Ok(()),
        Some(hidden) => tree.hide(&entry.path, hidden),
    }
}

fn read_error(error: io::Error, bounds: Bounds) -> UnpackError {
    if error.kind() == io::ErrorKind::FileTooLarge {
        return UnpackError::TooLarge(format!("{} bytes", bounds.bytes_max));
    }
    UnpackError::Archive(error)
}

/// Hashes and counts what is read.
struct Watched<R> {
    content: R,
    hash: Sha256,
    bytes: u64,
    bounds: Bounds,
    recorder: Rc<RefCell<Recorder>>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.content.read(buffer)?;
        self.hash.update(&buffer[..length]);
        self.recorder.borrow_mut().read(&buffer[..length]);
        self.bytes += length as u64;
        if self.bytes > self.bounds.bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(length)
    }
}

/// Begins the name of a file that stands for one which is gone.
const WHITEOUT: &[u8] = b".wh.";

/// Read at a time.
const CHUNK_BYTES: usize = 64 << 10;
