//! Content of any kind that tools push: files `blobs/sha256/HEX` in the data folder, and uploads that come in pieces.
//!
//! A blob has its name only once it is whole, verified and durable. Modules are not among them: what turns out to be one is moved to
//! where nodes get it.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    io::{self, SeekFrom},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use dunlin_link::Digest;
use sha2::{Digest as _, Sha256};
use tempfile::TempPath;
use tokio::{
    fs::File,
    io::{AsyncRead, AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _},
    sync::OwnedMutexGuard,
    task::spawn_blocking,
};

use super::room::{self, FREE_BYTES_MIN, has_room};
use crate::folders;

/// The blobs of a data folder; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Blobs {
    folder: PathBuf,
    uploads: Arc<Mutex<HashMap<String, Session>>>,
    /// Which repositories blobs were lately pushed to, until a manifest names them there: whoever knows a digest only has not got the blob.
    given: Arc<Mutex<HashMap<(String, Digest), Instant>>>,
}

/// An upload that somebody has begun.
#[derive(Clone, Debug)]
struct Session {
    repository: String,
    owner: String,
    used: Instant,
    upload: Arc<tokio::sync::Mutex<Upload>>,
}

/// What of a blob has come.
#[derive(Debug)]
pub(crate) struct Upload {
    path: TempPath,
    file: File,
    hash: Sha256,
    bytes: u64,
}

/// Why a blob was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum BlobError {
    /// Nobody has begun this upload here, or it was given up.
    #[error("the upload is unknown")]
    UnknownUpload,
    /// Another request writes to it.
    #[error("another request writes to the upload")]
    Busy,
    /// Too many are under way.
    #[error("{0} uploads are under way already")]
    TooMany(usize),
    /// Too many blobs were pushed that no manifest has named yet.
    #[error("{0} blobs wait for their manifests already")]
    TooManyUnnamed(usize),
    /// A piece does not begin where the last one ended.
    #[error("the piece begins at {start}, and {bytes} bytes have come")]
    OutOfOrder {
        /// As said.
        start: u64,
        /// What there is.
        bytes: u64,
    },
    /// There are too many bytes.
    #[error("the blob is larger than {BLOB_BYTES_MAX} bytes")]
    TooLarge,
    /// The disk is the store's first.
    #[error("the coordinator's disk has less than {FREE_BYTES_MIN} bytes left")]
    NoRoom,
    /// The content is not the one announced.
    #[error("the content has digest {actual}, announced was {expected}")]
    OtherDigest {
        /// As announced.
        expected: Digest,
        /// Of what came.
        actual: Digest,
    },
    /// The sender failed.
    #[error("failed to receive the blob")]
    Receive(#[source] io::Error),
    /// The disk failed.
    #[error("failed to store the blob")]
    Disk(#[source] io::Error),
}

impl Blobs {
    /// The blobs in `folder`; makes it, and removes uploads that were cut off by a crash.
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        folders::make(&folder.join(FINISHED))?;
        let uploads = folder.join(UPLOADS);
        match fs::remove_dir_all(&uploads) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        folders::make(&uploads)?;
        Ok(Self { folder, uploads: Arc::default(), given: Arc::default() })
    }

    /// Begins an upload; answers its id. Those that nobody goes on with are given up.
    pub(crate) async fn begin(&self, repository: &str, owner: &str) -> Result<String, BlobError> {
        let folder = self.folder.join(UPLOADS);
        if !has_room(&folder, 0).map_err(BlobError::Disk)? {
            return Err(BlobError::NoRoom);
        }
        let made = spawn_blocking(move || tempfile::NamedTempFile::new_in(folder)).await;
        let (file, path) = made.map_err(io::Error::other).flatten().map_err(BlobError::Disk)?.into_parts();
        let upload = Upload { path, file: File::from_std(file), hash: Sha256::new(), bytes: 0 };
        let session = Session {
            repository: repository.to_owned(),
            owner: owner.to_owned(),
            used: Instant::now(),
            upload: Arc::new(tokio::sync::Mutex::new(upload)),
        };
        let id = uuid::Uuid::new_v4().to_string();
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is being written to is not idle, however long its piece takes.
        uploads.retain(|_, session| {
            session.used.elapsed() < UPLOAD_IDLE_MAX || session.upload.try_lock().is_err()
        });
        if uploads.len() >= UPLOADS_MAX {
            return Err(BlobError::TooMany(UPLOADS_MAX));
        }
        uploads.insert(id.clone(), session);
        Ok(id)
    }

    /// An upload to write to, for its owner only.
    pub(crate) fn upload(
        &self,
        (repository, owner): (&str, &str),
        id: &str,
    ) -> Result<OwnedMutexGuard<Upload>, BlobError> {
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        let session = uploads.get_mut(id).ok_or(BlobError::UnknownUpload)?;
        if session.repository != repository || session.owner != owner {
            return Err(BlobError::UnknownUpload);
        }
        session.used = Instant::now();
        Arc::clone(&session.upload).try_lock_owned().map_err(|_| BlobError::Busy)
    }

    /// Gives an upload up.
    pub(crate) fn forget(&self, id: &str) {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Makes an upload that is whole the blob of `expected`, durably, and ends it. One that is not stays as it is.
    pub(crate) async fn finish(
        &self,
        id: &str,
        mut upload: OwnedMutexGuard<Upload>,
        expected: Digest,
    ) -> Result<(), BlobError> {
        let actual = Digest::from_bytes(upload.hash.clone().finalize().into());
        if actual != expected {
            return Err(BlobError::OtherDigest { expected, actual });
        }
        let uploads = || self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        let repository = uploads().get(id).map(|session| session.repository.clone());
        self.give(&repository.ok_or(BlobError::UnknownUpload)?, expected)?;
        // From here on nobody writes to it, whatever becomes of this request.
        uploads().remove(id);
        upload.file.flush().await.map_err(BlobError::Disk)?;
        let (to, folder) = (self.path(expected), self.folder.join(FINISHED));
        let place = move || place(&upload, &to, &folder);
        spawn_blocking(place).await.map_err(io::Error::other).flatten().map_err(BlobError::Disk)
    }

    /// Takes note that somebody had this blob for a repository.
    ///
    /// # Errors
    /// When that cannot be remembered of any more.
    pub(crate) fn give(&self, repository: &str, digest: Digest) -> Result<(), BlobError> {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let blob = (repository.to_owned(), digest);
        if given.len() >= GIVEN_MAX && !given.contains_key(&blob) {
            given.retain(|_, since| since.elapsed() < UNNAMED_MIN / 2);
            if given.len() >= GIVEN_MAX {
                return Err(BlobError::TooManyUnnamed(GIVEN_MAX));
            }
        }
        given.insert(blob, Instant::now());
        Ok(())
    }

    /// Whether somebody lately had this blob for a repository.
    pub(crate) fn is_given(&self, repository: &str, digest: Digest) -> bool {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.get(&(repository.to_owned(), digest)).is_some_and(|since| since.elapsed() < UNNAMED_MIN)
    }

    /// Blobs that somebody lately had for any repository: a manifest that names them may be on its way.
    fn lately_given(&self) -> BTreeSet<Digest> {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = given.iter().filter(|(_, since)| since.elapsed() < UNNAMED_MIN);
        lately.map(|((_, digest), _)| *digest).collect()
    }

    /// A blob's length, and its file from `offset` on; `None` when there is none.
    pub(crate) async fn read(&self, digest: Digest, offset: u64) -> io::Result<Option<(u64, File)>> {
        let mut file = match File::open(self.path(digest)).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let bytes = file.metadata().await?.len();
        file.seek(SeekFrom::Start(offset.min(bytes))).await?;
        Ok(Some((bytes, file)))
    }

    /// Removes a blob, if there is one.
    pub(crate) async fn remove(&self, digest: Digest) -> io::Result<()> {
        match tokio::fs::remove_file(self.path(digest)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes blobs that no manifest names, that nobody lately had, and that are older than a push takes; answers how many.
    pub(crate) fn sweep(&self, named: &BTreeSet<Digest>) -> io::Result<usize> {
        let lately = self.lately_given();
        let mut removed = 0;
        for entry in fs::read_dir(self.folder.join(FINISHED))? {
            let entry = entry?;
            let name = entry.file_name();
            let digest = format!("sha256:{}", name.to_string_lossy()).parse::<Digest>().ok();
            let age = SystemTime::now().duration_since(entry.metadata()?.modified()?).unwrap_or_default();
            let is_free = |digest| !named.contains(&digest) && !lately.contains(&digest);
            if digest.is_some_and(is_free) && age >= UNNAMED_MIN {
                fs::remove_file(entry.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// The folder with a file for each blob.
    pub(super) fn path(&self, digest: Digest) -> PathBuf {
        finished_path(&self.folder, digest)
    }
}

impl Upload {
    /// What has come so far.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes a piece. What came of one whose sender failed is kept.
    pub(crate) async fn append(
        &mut self,
        mut content: impl AsyncRead + Send + Unpin,
        start: Option<u64>,
    ) -> Result<(), BlobError> {
        if let Some(start) = start
            && start != self.bytes
        {
            return Err(BlobError::OutOfOrder { start, bytes: self.bytes });
        }
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let length = content.read(&mut chunk).await.map_err(BlobError::Receive)?;
            if length == 0 {
                return Ok(());
            }
            if self.bytes + length as u64 > BLOB_BYTES_MAX {
                return Err(BlobError::TooLarge);
            }
            let is_due = room::is_due(self.bytes, length as u64);
            if is_due && !has_room(&self.path, 0).map_err(BlobError::Disk)? {
                return Err(BlobError::NoRoom);
            }
            self.file.write_all(&chunk[..length]).await.map_err(BlobError::Disk)?;
            // Whether it could be written is known only after this.
            self.file.flush().await.map_err(BlobError::Disk)?;
            self.hash.update(&chunk[..length]);
            self.bytes += length as u64;
        }
    }
}

/// Gives an upload its name, durably. What is not as long as it was counted has lost something.
fn place(upload: &Upload, to: &Path, folder: &Path) -> io::Result<()> {
    let file = fs::File::open(&upload.path)?;
    if file.metadata()?.len() != upload.bytes {
        return Err(io::Error::other("a part of the upload was not written"));
    }
    file.sync_all()?;
    // One that is there is the same.
    if !to.exists() {
        fs::rename(&upload.path, to)?;
    }
    folders::sync(folder)
}

fn finished_path(folder: &Path, digest: Digest) -> PathBuf {
    folder.join(FINISHED).join(digest.hex())
}

/// Folder of whole blobs.
const FINISHED: &str = "sha256";
/// Folder of uploads, on the same file system so that a rename moves them.
const UPLOADS: &str = "uploads";
/// Largest blob: the largest layers of images for small machines are well below.
const BLOB_BYTES_MAX: u64 = 2 << 30;
/// Uploads under way at a time, of all users.
const UPLOADS_MAX: usize = 64;
/// Blobs that wait for their manifests, of all repositories.
const GIVEN_MAX: usize = 16_384;
/// How long an upload may lie before it is given up.
const UPLOAD_IDLE_MAX: Duration = Duration::from_secs(60 * 60);
/// How old a blob is before it goes for want of a manifest: pushing the other layers may take hours on a slow line.
const UNNAMED_MIN: Duration = Duration::from_secs(24 * 60 * 60);
/// Memory of one upload.
const CHUNK_BYTES: usize = 64 << 10;
