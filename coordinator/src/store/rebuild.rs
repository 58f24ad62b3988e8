//! Making a store from values that come from elsewhere, for a restore. It is not opened before it is whole.

use std::{
    io,
    path::{Path, PathBuf},
};

use dunlin_link::Revision;
use redb::{Builder, Database, Durability};

use super::{
    KeyValue,
    entry::{Meta, Version},
    open, tables,
    writer::commit_to_disk,
};
use crate::folders;

/// A store that is being filled.
#[derive(Debug)]
pub struct Rebuild {
    folder: PathBuf,
    database: Database,
    waiting: Vec<KeyValue>,
    bytes: usize,
}

/// Why a store cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RebuildError {
    /// The folder or a file cannot be made.
    #[error("failed to make the store in `{path}`")]
    File {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database cannot be written.
    #[error("failed to write the database in `{path}`")]
    Database {
        /// Where.
        path: PathBuf,
        /// Why.
        source: Box<redb::Error>,
    },
}

impl Rebuild {
    /// An empty store in a folder that has none.
    ///
    /// # Errors
    /// When there is one already, or it cannot be made.
    pub fn create(folder: &Path) -> Result<Self, RebuildError> {
        let file = |source| RebuildError::File { path: folder.to_owned(), source };
        folders::make(folder).map_err(file)?;
        let path = folder.join(open::DATABASE_FILE);
        if path.try_exists().map_err(file)? {
            return Err(file(io::ErrorKind::AlreadyExists.into()));
        }
        let database = Builder::new().create_file(open::open_private(&path).map_err(file)?);
        let database = database.map_err(|source| database_error(folder, source.into()))?;
        Ok(Self { folder: folder.to_owned(), database, waiting: Vec::new(), bytes: 0 })
    }

    /// Adds a value with its revision; keys may come in any order, each once.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn put(&mut self, value: KeyValue) -> Result<(), RebuildError> {
        self.bytes += value.key.len() + value.value.len();
        self.waiting.push(value);
        if self.bytes < BATCH_BYTES { Ok(()) } else { self.flush() }
    }

    /// Makes the store one of `revision`, which no value is newer than, and makes it durable. Lists and watches begin there.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn finish(mut self, revision: Revision) -> Result<(), RebuildError> {
        self.flush()?;
        let meta = Meta { revision, floor: revision, ..Meta::default() };
        let write = || {
            let txn = self.database.begin_write()?;
            tables::Tables::open(&txn)?.save(&meta)?;
            commit_to_disk(txn)
        };
        write().map_err(|source| database_error(&self.folder, source))?;
        drop(self.database);
        folders::sync(&self.folder).map_err(|source| RebuildError::File { path: self.folder, source })
    }

    fn flush(&mut self) -> Result<(), RebuildError> {
        self.bytes = 0;
        let values = std::mem::take(&mut self.waiting);
        let write = || -> Result<(), redb::Error> {
            let mut txn = self.database.begin_write()?;
            txn.set_durability(Durability::None)?;
            let mut objects = txn.open_table(tables::OBJECTS)?;
            for value in &values {
                objects.insert(value.key.as_str(), &*Version::encode(value.mod_revision, &value.value))?;
            }
            drop(objects);
            Ok(txn.commit()?)
        };
        write().map_err(|source| database_error(&self.folder, source))
    }
}

fn database_error(folder: &Path, source: redb::Error) -> RebuildError {
    RebuildError::Database { path: folder.to_owned(), source: Box::new(source) }
}

/// Bytes of keys and values in one transaction.
const BATCH_BYTES: usize = 4 << 20;
