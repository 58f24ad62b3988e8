//! Finds the module in the layers of an ordinary image for WASM.

pub(crate) mod walk;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, Read, Write},
    path::{Component, Path, PathBuf},
};

use dunlin_link::Digest;
use dunlin_zstd::Frames;
use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};
use tar::{Archive, EntryType};

use self::walk::{Then, WalkError};
use crate::media::Compression;

/// One layer, on disk.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The archive.
    pub file: PathBuf,
    /// How it is compressed.
    pub compression: Compression,
}

/// Why no module was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// An archive is damaged, or no archive.
    #[error("a layer cannot be read: {0}")]
    Archive(#[source] io::Error),
    /// Too many files, or more content than anybody needs.
    #[error("a layer unpacks to more than {0}")]
    TooLarge(String),
    /// There is no file of that name.
    #[error("its program `{program}` is not in it; its WASM modules are {found}")]
    NoProgram {
        /// What the image starts.
        program: String,
        /// What there is.
        found: String,
    },
    /// It says nothing of what it starts.
    #[error("it names no program, and its WASM modules are {found}")]
    NotOne {
        /// What there is.
        found: String,
    },
    /// The disk failed.
    #[error("failed to write the module: {0}")]
    Write(#[source] io::Error),
}

/// Writes the module that an image starts into `output`, durably; answers its digest. Without a `program` it is the only one.
///
/// # Errors
/// When there is none, or too much.
pub fn extract(
    layers: &[Layer],
    program: Option<&str>,
    output: &Path,
    bytes_max: u64,
) -> Result<Digest, ExtractError> {
    let files = files(layers)?;
    let is_module = |path: &&PathBuf| path.extension().is_some_and(|end| end == "wasm");
    let modules = || files.keys().filter(is_module);
    let named = || {
        let named: Vec<_> = modules().take(NAMED_MAX).map(|path| format!("`/{}`", path.display())).collect();
        if named.is_empty() { "none".to_owned() } else { named.join(", ") }
    };
    let path = match program {
        Some(program) => {
            let wanted = normal(Path::new(program));
            let path = wanted.filter(|path| files.contains_key(path));
            path.ok_or_else(|| ExtractError::NoProgram { program: program.to_owned(), found: named() })?
        }
        None => match modules().collect::<Vec<_>>().as_slice() {
            [only] => (*only).clone(),
            _ => return Err(ExtractError::NotOne { found: named() }),
        },
    };
    write(&layers[files[&path]], &path, output, bytes_max)
}

/// Every regular file, and the layer that it is in: later ones hide and remove what is in earlier ones.
fn files(layers: &[Layer]) -> Result<BTreeMap<PathBuf, usize>, ExtractError> {
    let mut files = BTreeMap::new();
    let (mut entries_left, mut path_bytes) = (ENTRIES_MAX, 0);
    for (number, layer) in layers.iter().enumerate() {
        let mut added = Vec::new();
        walk::walk(&mut open(layer)?, &mut entries_left, |path, entry| {
            let Some(path) = normal(path) else { return Ok(Then::Next) };
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let folder = path.parent().unwrap_or_else(|| Path::new("")).to_owned();
            if name == OPAQUE {
                remove_below(&mut files, &folder);
            } else if let Some(hidden) = name.strip_prefix(WHITEOUT) {
                remove_below(&mut files, &folder.join(hidden));
            } else if entry.header().entry_type() != EntryType::Directory {
                // Links are no modules, and hide what was in their place.
                files.remove(&path);
                if entry.header().entry_type().is_file() {
                    path_bytes += path.as_os_str().len();
                    added.push(path);
                }
            }
            if path_bytes > PATH_BYTES_MAX {
                return Err(ExtractError::TooLarge(format!("{PATH_BYTES_MAX} bytes of names")));
            }
            Ok(Then::Next)
        })?;
        files.extend(added.into_iter().map(|path| (path, number)));
    }
    Ok(files)
}

/// Removes a path and all that is below it, which follows it in order.
fn remove_below(files: &mut BTreeMap<PathBuf, usize>, top: &Path) {
    let below = files.range(top.to_owned()..).map(|(path, _)| path);
    let below: Vec<PathBuf> = below.take_while(|path| path.starts_with(top)).cloned().collect();
    for path in below {
        files.remove(&path);
    }
}

fn write(layer: &Layer, wanted: &Path, output: &Path, bytes_max: u64) -> Result<Digest, ExtractError> {
    let mut written = None;
    let mut entries_left = ENTRIES_MAX;
    walk::walk(&mut open(layer)?, &mut entries_left, |path, entry| {
        if normal(path).is_none_or(|path| path != wanted) || !entry.header().entry_type().is_file() {
            return Ok(Then::Next);
        }
        if entry.size() > bytes_max {
            return Err(ExtractError::TooLarge(format!("{bytes_max} bytes for a module")));
        }
        let mut file = File::create(output).map_err(ExtractError::Write)?;
        let digest = copy(entry, &mut file)?;
        file.sync_all().map_err(ExtractError::Write)?;
        written = Some(digest);
        Ok(Then::Stop)
    })?;
    written.ok_or_else(|| ExtractError::Archive(io::ErrorKind::NotFound.into()))
}

impl From<WalkError> for ExtractError {
    fn from(error: WalkError) -> Self {
        match error {
            WalkError::Archive(error) => Self::Archive(error),
            WalkError::TooMany => Self::TooLarge(format!("{ENTRIES_MAX} entries")),
        }
    }
}

/// Answers the digest of what was copied.
fn copy(from: &mut impl Read, to: &mut impl Write) -> Result<Digest, ExtractError> {
    let (mut chunk, mut hash) = (vec![0; CHUNK_BYTES], Sha256::new());
    loop {
        match from.read(&mut chunk).map_err(ExtractError::Archive)? {
            0 => return Ok(Digest::from_bytes(hash.finalize().into())),
            count => {
                hash.update(&chunk[..count]);
                to.write_all(&chunk[..count]).map_err(ExtractError::Write)?;
            }
        }
    }
}

fn open(layer: &Layer) -> Result<Archive<Box<dyn Read>>, ExtractError> {
    let file = BufReader::new(File::open(&layer.file).map_err(ExtractError::Archive)?);
    let content: Box<dyn Read> = match layer.compression {
        Compression::None => Box::new(file),
        Compression::Gzip => Box::new(MultiGzDecoder::new(file)),
        Compression::Zstd => Box::new(Frames::new(file)),
    };
    Ok(Archive::new(Box::new(content.take(UNPACKED_BYTES_MAX))))
}

/// A path within an image without its root, `None` for one that leads out of it.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => normal.push(part),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    (!normal.as_os_str().is_empty()).then_some(normal)
}

const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";
/// Entries of all archives of one image for WASM, whatever they are: what comes with a language's whole library.
const ENTRIES_MAX: usize = 200_000;
/// Names of the files of one image together.
const PATH_BYTES_MAX: usize = 32 << 20;
/// What a layer may unpack to; nothing of it but the module is kept.
const UNPACKED_BYTES_MAX: u64 = 4 << 30;
/// Read and written at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// Modules that a message names.
const NAMED_MAX: usize = 5;

#[cfg(test)]
mod tests;
