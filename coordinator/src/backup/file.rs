//! Writing a backup's file: beside its place, verified by reading it again, and only then given its name.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufWriter, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use super::{
    BackupError, BackupReader, Manifest, Passphrase, Record,
    chunks::ChunkWriter,
    header::{Encryption, Header},
};
use crate::service::stored::StoredKey;

/// A backup that is being written; nothing is left of it unless it is finished.
pub struct BackupFile {
    path: PathBuf,
    passphrase: Option<Passphrase>,
    chunks: ChunkWriter<BufWriter<NamedTempFile>>,
}

/// What a backup holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// API objects, by resource.
    pub objects: BTreeMap<String, u64>,
    /// The coordinator's own records: tokens, node keys, tombstones, image names.
    pub records: u64,
    /// Modules.
    pub modules: u64,
    /// Bytes of their content.
    pub module_bytes: u64,
    /// Files of the certificate authority.
    pub authority_files: u64,
}

impl BackupFile {
    /// Begins a file that will be at `path`, readable by its owner only; sealed when there is a passphrase.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(
        path: &Path,
        manifest: &Manifest,
        passphrase: Option<Passphrase>,
    ) -> Result<Self, BackupError> {
        let file_error = |source| BackupError::File { path: path.to_owned(), source };
        // Made with mode 0600.
        let file = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempfile_in(folder_of(path));
        let file = file.map_err(file_error)?;
        // Tells a file that is being written from one that a crash left, which the schedule of snapshots removes.
        let _ = file.as_file().try_lock();
        let mut output = BufWriter::new(file);
        let sealed = passphrase.as_ref().map(Encryption::new).transpose()?;
        let (encryption, key) = sealed.unzip();
        let header = Header { manifest: manifest.clone(), encryption };
        let (bytes, digest) = header.encode();
        output.write_all(&bytes).map_err(file_error)?;
        let key = key.as_ref().zip(header.encryption.as_ref().map(|encryption| &encryption.nonce));
        let chunks = ChunkWriter::new(output, digest, key);
        Ok(Self { path: path.to_owned(), passphrase, chunks })
    }

    /// Adds bytes of records.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.chunks.write(bytes).map_err(|source| BackupError::File { path: self.path.clone(), source })
    }

    /// Makes the file durable, verifies it, and gives it its name. Answers what it holds.
    ///
    /// # Errors
    /// When the disk fails, or what was written is not a whole backup.
    pub fn finish(self) -> Result<Contents, BackupError> {
        let Self { path, passphrase, chunks } = self;
        let file_error = |source| BackupError::File { path: path.clone(), source };
        let output = chunks.finish().map_err(file_error)?;
        let file = output.into_inner().map_err(|error| file_error(error.into_error()))?;
        file.as_file().sync_all().map_err(file_error)?;
        let mut written = file.reopen().map_err(file_error)?;
        written.rewind().map_err(file_error)?;
        let mut reader = BackupReader::new(io::BufReader::new(written), passphrase.as_ref())?;
        let contents = Contents::read(&mut reader)?;
        file.persist(&path).map_err(|error| file_error(error.error))?;
        fs::File::open(folder_of(&path)).and_then(|folder| folder.sync_all()).map_err(file_error)?;
        Ok(contents)
    }
}

impl std::fmt::Debug for BackupFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackupFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Reads a backup to its end: what it is of and what it holds.
///
/// # Errors
/// When it is damaged, cut off, no backup, or has another passphrase.
pub fn inspect(path: &Path, passphrase: Option<&Passphrase>) -> Result<(Manifest, Contents), BackupError> {
    let mut reader = BackupReader::open(path, passphrase)?;
    let contents = Contents::read(&mut reader)?;
    Ok((reader.manifest().clone(), contents))
}

impl Contents {
    /// Reads a backup to its end; every module is compared with its digest.
    fn read<R: io::Read>(reader: &mut BackupReader<R>) -> Result<Self, BackupError> {
        let mut contents = Self::default();
        while let Some(record) = reader.next_record()? {
            contents.add(&record);
            if let Record::Module(digest, _) = record {
                super::restore::read_module(reader, digest, |_| Ok(()))?;
            }
        }
        Ok(contents)
    }

    /// Counts one record.
    pub(super) fn add(&mut self, record: &Record) {
        match record {
            Record::File(..) => self.authority_files += 1,
            Record::Value(value) => match StoredKey::parse(&value.key) {
                Some(key) => *self.objects.entry(key.kind.plural.to_owned()).or_default() += 1,
                None => self.records += 1,
            },
            Record::Module(_, bytes) => {
                self.modules += 1;
                self.module_bytes += bytes;
            }
        }
    }

    /// How many API objects there are.
    pub fn object_count(&self) -> u64 {
        self.objects.values().sum()
    }
}

/// The folder that a file is in.
pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// What the names of unfinished backups begin with.
pub(super) const TEMPORARY_PREFIX: &str = ".dunlin-backup-";
