//! Files of modules: written beside, verified, made durable, and only then given the name of their digest.

use std::{
    fs,
    io::{self, SeekFrom},
    path::{Path, PathBuf},
};

use dunlin_link::Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tempfile::TempPath;
use tokio::{
    fs::File,
    io::{AsyncRead, AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _},
    task::spawn_blocking,
};

use super::{
    check::{self, CheckError},
    room::{self, FREE_BYTES_MIN, has_room},
};
use crate::folders;

/// A module that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Of its whole content.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
    /// What its header says it is.
    pub kind: ModuleKind,
}

/// The two kinds of WASM binaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModuleKind {
    /// A core module.
    Core,
    /// A component.
    Component,
}

/// A module's content from some offset on.
#[derive(Debug)]
pub struct OpenModule<R> {
    /// Length of the whole module.
    pub bytes: u64,
    /// Reads the rest of it.
    pub content: R,
}

/// Why an upload was not kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UploadError {
    /// The bytes are no WASM binary.
    #[error("the content is not a WASM module or component: {found}")]
    NotWasm {
        /// What the first bytes look like instead.
        found: &'static str,
    },
    /// The bytes start like a WASM binary and are none: cut off, damaged, or against the rules.
    #[error("the module is malformed or cut off: {why}")]
    Malformed {
        /// What is wrong, and at which byte.
        why: String,
    },
    /// There are too many bytes.
    #[error("the module is larger than {bytes_max} bytes")]
    TooLarge {
        /// The bound.
        bytes_max: u64,
    },
    /// The content is not the one announced.
    #[error("the content has digest {actual}, announced was {expected}")]
    OtherDigest {
        /// As announced.
        expected: Digest,
        /// Of what came.
        actual: Digest,
    },
    /// The disk is the store's first.
    #[error("the coordinator's disk has less than {FREE_BYTES_MIN} bytes left")]
    NoRoom,
    /// The sender failed.
    #[error("failed to receive the module")]
    Receive(#[source] io::Error),
    /// The disk failed.
    #[error("failed to store the module")]
    Write(#[source] io::Error),
}

/// Makes the folders and removes unfinished uploads.
pub(super) fn prepare(modules: &Path) -> io::Result<()> {
    folders::make(&modules.join(FINISHED))?;
    let uploads = uploads_path(modules);
    match fs::remove_dir_all(&uploads) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir(uploads)
}

/// Receives, verifies and keeps a module of at most `bytes_max` bytes.
pub(super) async fn upload(
    modules: &Path,
    content: impl AsyncRead + Send + Unpin,
    expected: Option<Digest>,
    bytes_max: u64,
) -> Result<Module, UploadError> {
    let uploads = uploads_path(modules);
    let begin = move || match has_room(&uploads, 0)? {
        true => tempfile::NamedTempFile::new_in(uploads).map(Some),
        false => Ok(None),
    };
    let begun = run_blocking(begin).await.map_err(UploadError::Write)?;
    let (file, path) = begun.ok_or(UploadError::NoRoom)?.into_parts();
    let mut file = File::from_std(file);
    let module = receive(content, (&mut file, &path), bytes_max).await?;
    if let Some(expected) = expected
        && expected != module.digest
    {
        return Err(UploadError::OtherDigest { expected, actual: module.digest });
    }
    file.sync_all().await.map_err(UploadError::Write)?;
    let received = path.to_path_buf();
    validate(received).await?;
    let finished = finished_path(modules, module.digest);
    run_blocking(move || keep(path, &finished)).await.map_err(UploadError::Write)?;
    Ok(module)
}

/// The module of this digest; `None` when there is none.
pub(super) async fn inspect(modules: &Path, digest: Digest) -> io::Result<Option<Module>> {
    let Some(mut open) = open(modules, digest, 0).await? else { return Ok(None) };
    let mut header = [0; HEADER_BYTES];
    open.content.read_exact(&mut header).await?;
    let kind = kind_of(&header).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(Some(Module { digest, bytes: open.bytes, kind }))
}

/// The module's file at an offset; `None` when there is none.
pub(super) async fn open(
    modules: &Path,
    digest: Digest,
    offset: u64,
) -> io::Result<Option<OpenModule<File>>> {
    let mut content = match File::open(finished_path(modules, digest)).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let bytes = content.metadata().await?.len();
    content.seek(SeekFrom::Start(offset.min(bytes))).await?;
    Ok(Some(OpenModule { bytes, content }))
}

/// Digests of all modules, in order; none when there is no folder.
pub(super) fn stored(modules: &Path) -> io::Result<Vec<Digest>> {
    let entries = match fs::read_dir(modules.join(FINISHED)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut digests = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        digests.extend(name.to_str().and_then(|name| format!("sha256:{name}").parse::<Digest>().ok()));
    }
    digests.sort();
    Ok(digests)
}

/// Links every module whose content is that of its digest into another folder; answers how many.
pub(super) fn keep_all(from: &Path, to: &Path) -> io::Result<u64> {
    let mut kept = 0;
    for digest in stored(from)? {
        let (old, new) = (finished_path(from, digest), finished_path(to, digest));
        let mut hash = Sha256::new();
        io::copy(&mut fs::File::open(&old)?, &mut hash)?;
        if Digest::from_bytes(hash.finalize().into()) != digest || new.exists() {
            continue;
        }
        folders::make(&to.join(FINISHED))?;
        fs::hard_link(old, new)?;
        kept += 1;
    }
    if kept > 0 {
        folders::sync(&to.join(FINISHED))?;
    }
    Ok(kept)
}

async fn receive(
    mut content: impl AsyncRead + Send + Unpin,
    (file, path): (&mut File, &Path),
    bytes_max: u64,
) -> Result<Module, UploadError> {
    let mut hash = Sha256::new();
    let mut bytes = 0_u64;
    let mut header = Vec::with_capacity(HEADER_BYTES);
    let mut kind = None;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let length = content.read(&mut chunk).await.map_err(UploadError::Receive)?;
        if length == 0 {
            break;
        }
        let chunk = &chunk[..length];
        bytes += length as u64;
        if bytes > bytes_max {
            return Err(UploadError::TooLarge { bytes_max });
        }
        if kind.is_none() {
            header.extend_from_slice(&chunk[..length.min(HEADER_BYTES - header.len())]);
            // What cannot become a module is refused before it fills the disk.
            if let Ok(whole) = header.as_slice().try_into() {
                kind = Some(kind_of(whole)?);
            }
        }
        let is_due = room::is_due(bytes - length as u64, length as u64);
        if is_due && !has_room(path, 0).map_err(UploadError::Write)? {
            return Err(UploadError::NoRoom);
        }
        hash.update(chunk);
        file.write_all(chunk).await.map_err(UploadError::Write)?;
    }
    file.flush().await.map_err(UploadError::Write)?;
    let found = if bytes == 0 { "it is empty" } else { "it is shorter than a header" };
    let kind = kind.ok_or(UploadError::NotWasm { found })?;
    Ok(Module { digest: Digest::from_bytes(hash.finalize().into()), bytes, kind })
}

/// Refuses what no runtime can run, before anything refers to it.
async fn validate(received: PathBuf) -> Result<(), UploadError> {
    let checked = run_blocking(move || fs::File::open(received).map(check::check)).await;
    match checked.map_err(UploadError::Write)? {
        Ok(()) => Ok(()),
        Err(CheckError::Invalid(error)) => Err(UploadError::Malformed { why: error.to_string() }),
        Err(CheckError::Read(error)) => Err(UploadError::Write(error)),
    }
}

/// What the first eight bytes announce: the magic number, then a version and a layer of 16 bits each.
fn kind_of(header: &[u8; HEADER_BYTES]) -> Result<ModuleKind, UploadError> {
    let found = match header {
        [0, b'a', b's', b'm', 1, 0, 0, 0] => return Ok(ModuleKind::Core),
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0] => return Ok(ModuleKind::Component),
        [0, b'a', b's', b'm', ..] => "a WASM binary of an unknown version",
        [0x7f, b'E', b'L', b'F', ..] => "an ELF file, compiled for a machine instead of WASM",
        [b'(', ..] => "it looks like WASM text; convert it with `wasm-tools parse`",
        [0x1f, 0x8b, ..] => "it is compressed with gzip",
        _ => "it does not start with the WASM magic number",
    };
    Err(UploadError::NotWasm { found })
}

/// Gives a verified upload its name, durably.
fn keep(upload: TempPath, finished: &Path) -> io::Result<()> {
    upload.persist(finished).map_err(|error| error.error)?;
    let folder = finished.parent().expect("the path was made by joining a folder and a name");
    folders::sync(folder)
}

/// Where content lies until it is whole.
pub(super) fn uploads_path(modules: &Path) -> PathBuf {
    modules.join(UPLOADS)
}

pub(super) fn finished_path(modules: &Path, digest: Digest) -> PathBuf {
    modules.join(FINISHED).join(digest.hex())
}

async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Folder of verified modules.
const FINISHED: &str = "sha256";
/// Folder of uploads, on the same file system so that a rename moves them.
const UPLOADS: &str = "uploads";
/// Magic number, version, layer.
const HEADER_BYTES: usize = 8;
/// Memory of one upload.
const CHUNK_BYTES: usize = 64 << 10;
