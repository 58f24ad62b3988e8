//! What the body of a backup consists of: files, values of the store and modules, and at last how many there were.

use std::{
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

use bytes::{BufMut as _, Bytes};
use dunlin_link::{Digest, Revision, limits::MODULE_BYTES_MAX};

use super::{
    BackupError, Manifest, Passphrase,
    chunks::ChunkReader,
    header::{Header, Opened},
};
use crate::store::{KEY_BYTES_MAX, KeyValue, VALUE_BYTES_MAX};

/// One record of a backup.
#[derive(Debug)]
pub enum Record {
    /// A small file of the folder `pki/`, by its name.
    File(String, Vec<u8>),
    /// A value of the store.
    Value(KeyValue),
    /// A module of this digest and length, whose content is read with [`BackupReader::module_part`].
    Module(Digest, u64),
}

/// How many records of each kind there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) files: u64,
    pub(super) values: u64,
    pub(super) modules: u64,
}

/// Reads a backup record by record; what it answers has been verified.
pub struct BackupReader<R = BufReader<File>> {
    manifest: Manifest,
    chunks: ChunkReader<R>,
    counts: Counts,
    /// Bytes of the current module that were not read yet.
    module_rest: u64,
}

impl BackupReader {
    /// Opens a backup file.
    ///
    /// # Errors
    /// When it is no backup, is damaged, or has another passphrase.
    pub fn open(path: &Path, passphrase: Option<&Passphrase>) -> Result<Self, BackupError> {
        let file = File::open(path);
        let file = file.map_err(|source| BackupError::File { path: path.to_owned(), source })?;
        Self::new(BufReader::new(file), passphrase)
    }
}

impl<R: Read> BackupReader<R> {
    /// Reads a backup from anywhere.
    ///
    /// # Errors
    /// As [`BackupReader::open`].
    pub fn new(mut input: R, passphrase: Option<&Passphrase>) -> Result<Self, BackupError> {
        let Opened { header, digest } = Header::read(&mut input)?;
        let chunks = match (&header.encryption, passphrase) {
            (None, _) => ChunkReader::new(input, digest, None),
            (Some(_), None) => return Err(BackupError::PassphraseNeeded),
            (Some(encryption), Some(passphrase)) => {
                let key = encryption.open(passphrase)?;
                ChunkReader::new(input, digest, Some((&key, &encryption.nonce)))
            }
        };
        Ok(Self { manifest: header.manifest, chunks, counts: Counts::default(), module_rest: 0 })
    }

    /// What the backup is of.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The next record; `None` once all were there and nothing follows. The rest of a module that was not read is skipped.
    ///
    /// # Errors
    /// When the backup is damaged or cut off.
    pub fn next_record(&mut self) -> Result<Option<Record>, BackupError> {
        while self.module_rest > 0 {
            self.module_part()?;
        }
        let [kind] = self.array()?;
        match kind {
            KIND_FILE => {
                let name = self.text(FILE_NAME_BYTES_MAX)?;
                self.counts.files += 1;
                Ok(Some(Record::File(name, self.bytes(FILE_BYTES_MAX)?)))
            }
            KIND_VALUE => {
                let key = self.text(KEY_BYTES_MAX)?;
                let mod_revision = Revision(u64::from_le_bytes(self.array()?));
                let value = Bytes::from(self.bytes(VALUE_BYTES_MAX)?);
                self.counts.values += 1;
                if mod_revision > self.manifest.revision {
                    return Err(BackupError::Damaged("a value is newer than the backup"));
                }
                Ok(Some(Record::Value(KeyValue { key, value, mod_revision })))
            }
            KIND_MODULE => {
                let digest = Digest::from_bytes(self.array()?);
                let bytes = u64::from_le_bytes(self.array()?);
                if bytes > MODULE_BYTES_MAX {
                    return Err(BackupError::Damaged("a module is larger than modules can be"));
                }
                self.counts.modules += 1;
                self.module_rest = bytes;
                Ok(Some(Record::Module(digest, bytes)))
            }
            KIND_END => {
                let mut number = || self.array().map(u64::from_le_bytes);
                let counts = Counts { files: number()?, values: number()?, modules: number()? };
                if counts != self.counts {
                    return Err(BackupError::Damaged("records are missing"));
                }
                self.chunks.check_end()?;
                Ok(None)
            }
            _ => Err(BackupError::Damaged("it holds a record of an unknown kind")),
        }
    }

    /// Some bytes of the module that was met last; empty at its end.
    ///
    /// # Errors
    /// When the backup is damaged or cut off.
    pub fn module_part(&mut self) -> Result<&[u8], BackupError> {
        if self.module_rest == 0 {
            return Ok(&[]);
        }
        let most = usize::try_from(self.module_rest).unwrap_or(usize::MAX);
        let part = self.chunks.read_some(most)?;
        self.module_rest -= part.len() as u64;
        Ok(part)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BackupError> {
        let mut bytes = [0; N];
        self.chunks.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn bytes(&mut self, most: usize) -> Result<Vec<u8>, BackupError> {
        let length = usize::try_from(u32::from_le_bytes(self.array()?)).unwrap_or(usize::MAX);
        if length > most {
            return Err(BackupError::Damaged("a record is longer than such records can be"));
        }
        let mut bytes = vec![0; length];
        self.chunks.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn text(&mut self, most: usize) -> Result<String, BackupError> {
        let bytes = self.bytes(most)?;
        String::from_utf8(bytes).map_err(|_| BackupError::Damaged("a name is not text"))
    }
}

impl<R> std::fmt::Debug for BackupReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackupReader").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}

/// A file's record.
pub(super) fn encode_file(name: &str, content: &[u8], out: &mut Vec<u8>) {
    out.put_u8(KIND_FILE);
    put_bytes(name.as_bytes(), out);
    put_bytes(content, out);
}

/// A value's record.
pub(super) fn encode_value(value: &KeyValue, out: &mut Vec<u8>) {
    out.put_u8(KIND_VALUE);
    put_bytes(value.key.as_bytes(), out);
    out.put_u64_le(value.mod_revision.0);
    put_bytes(&value.value, out);
}

/// The start of a module's record; its content follows.
pub(super) fn encode_module(digest: &Digest, bytes: u64, out: &mut Vec<u8>) {
    out.put_u8(KIND_MODULE);
    out.extend_from_slice(digest.as_bytes());
    out.put_u64_le(bytes);
}

/// The last record.
pub(super) fn encode_end(counts: Counts, out: &mut Vec<u8>) {
    out.put_u8(KIND_END);
    for count in [counts.files, counts.values, counts.modules] {
        out.put_u64_le(count);
    }
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.put_u32_le(u32::try_from(bytes.len()).expect("keys, values and files are bounded far below 4 GiB"));
    out.extend_from_slice(bytes);
}

const KIND_FILE: u8 = 1;
const KIND_VALUE: u8 = 2;
const KIND_MODULE: u8 = 3;
const KIND_END: u8 = 4;

const FILE_NAME_BYTES_MAX: usize = 255;

/// A certificate authority's file is a few KiB.
pub(super) const FILE_BYTES_MAX: usize = 1 << 20;
