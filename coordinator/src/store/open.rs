//! Opening a store: its files, what the log holds beyond the database, and the writer's thread.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use redb::{Builder, Database, StorageBackend, backends::FileBackend};
use tokio::sync::{mpsc, watch};

use crate::{
    folders,
    store::{
        Store,
        entry::Meta,
        log::{Found, Log, ScanError},
        shared::Shared,
        tables::Tables,
        verify,
        writer::{self, COMMANDS_MAX, End, Writer, checkpoint},
    },
};

/// Where a store is and what it may use.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Folder of the store's files, made when absent.
    pub path: PathBuf,
    /// Memory for pages of the database.
    pub cache_bytes: usize,
    /// Memory for the newest changes, which watches read.
    pub recent_bytes: usize,
    /// How long old versions are kept for watches and paged lists.
    pub history_age: Duration,
    /// How much of them is kept at most.
    pub history_bytes: u64,
    /// Size of the log: what can be committed between two flushes of the database, and is read again after a crash.
    pub log_bytes: u64,
    /// What to do when the folder holds no store.
    pub absent: Absent,
}

/// What to do when the folder holds no store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// Make an empty one.
    Make,
    /// Take it for damage: what else is there says that there was one.
    Refuse,
}

impl StoreOptions {
    /// The values for a coordinator of any size, with the files in `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            cache_bytes: 8 << 20,
            recent_bytes: 2 << 20,
            history_age: Duration::from_secs(300),
            history_bytes: 64 << 20,
            log_bytes: 8 << 20,
            absent: Absent::Make,
        }
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A file or the folder could not be made or opened.
    #[error("failed to open `{path}`")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has the store open.
    #[error("the store at `{path}` is in use by another process")]
    InUse {
        /// Where it is.
        path: PathBuf,
    },
    /// The database cannot be read, or is of a newer format.
    #[error("failed to open the database of the store at `{path}`")]
    Database {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: Box<redb::Error>,
    },
    /// The database or the log is not what was written. Nothing of it is served.
    #[error("the store at `{path}` is damaged: {what}")]
    Damaged {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The log cannot be read or written.
    #[error("failed to recover the log of the store at `{path}`")]
    Log {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system refused a thread.
    #[error("failed to start the writer of the store")]
    Thread(#[source] io::Error),
}

impl Store {
    /// Opens the store in a folder, making it when absent and that is allowed, and recovers what a crash left in the log. Blocks on
    /// the disk.
    ///
    /// # Errors
    /// When the files cannot be opened, are damaged, or are in use by another process.
    pub fn open(options: &StoreOptions) -> Result<Self, OpenError> {
        let folder = &options.path;
        // Before anything is made: a refusal changes nothing.
        if options.absent == Absent::Refuse && options.database_bytes()?.is_none() {
            return Err(options.damaged("its database is missing".to_owned()));
        }
        folders::make(folder).map_err(file_error(folder))?;
        let log = options.open_file(LOG_FILE)?;
        match log.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: folder.clone() }),
            Err(TryLockError::Error(source)) => return Err(file_error(&folder.join(LOG_FILE))(source)),
        }
        let log_bytes = log.metadata().map_err(file_error(&folder.join(LOG_FILE)))?.len();
        options.make_database(log_bytes)?;
        if log_bytes == 0 {
            // The new names last as long as what will be acknowledged in the files: both in the folder, and the folder's own.
            for folder in [folder, folders::parent(folder)] {
                folders::sync(folder).map_err(file_error(folder))?;
            }
        }
        let backend = |file| FileBackend::new(file).map_err(|source| options.database_error(source.into()));
        let database = options.open_file(DATABASE_FILE)?;
        Self::open_with_backend(options, backend(database)?, backend(log)?)
    }

    /// Opens the store on storage of the caller's: one for the database, one for the log. The path only names it in errors.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with_backend(
        options: &StoreOptions,
        database: impl StorageBackend,
        log: impl StorageBackend,
    ) -> Result<Self, OpenError> {
        let database = verify::open_verified(options, database)?;
        let log_error = |source| OpenError::Log { path: options.path.clone(), source };
        let mut log = Log::open(Box::new(log)).map_err(log_error)?;
        let meta = recover(options, &database, &mut log)?;
        Self::start(options, Arc::new(database), log, meta)
    }

    fn start(
        options: &StoreOptions,
        database: Arc<Database>,
        log: Log,
        meta: Meta,
    ) -> Result<Self, OpenError> {
        let (published, revision) = watch::channel(meta.revision);
        let (commands, queue) = mpsc::channel(COMMANDS_MAX);
        let shared = Arc::new(Shared::new(options, Arc::clone(&database), meta, revision));
        let writer = Writer {
            shared: Arc::clone(&shared),
            database,
            log,
            meta,
            history_bytes_max: options.history_bytes,
            commands: queue,
            published,
            _end: End(Arc::clone(&shared)),
        };
        // The thread ends when the last handle is dropped; `Store::close` waits for it.
        let thread = thread::Builder::new().name("store-writer".to_owned());
        thread.spawn(move || writer.run()).map_err(OpenError::Thread)?;
        Ok(Self { commands, shared })
    }
}

impl StoreOptions {
    /// Makes an empty database unless there is one. A database whose making was cut off could not be opened again, so it gets its
    /// name when it is whole. The log is given its length after that name is durable, so a database that is empty, or absent beside a
    /// log that is not, was lost.
    fn make_database(&self, log_bytes: u64) -> Result<(), OpenError> {
        let path = self.path.join(DATABASE_FILE);
        match self.database_bytes()? {
            // redb would take it for a new one.
            Some(0) => return Err(self.damaged("its database is empty".to_owned())),
            Some(_) => return Ok(()),
            None if log_bytes > 0 => {
                return Err(self.damaged("its database is missing, and its log is not".to_owned()));
            }
            None => {}
        }
        let unfinished = self.path.join(UNFINISHED_FILE);
        // One whose making was cut off is begun anew.
        let file = self.open_file(UNFINISHED_FILE)?;
        file.set_len(0).map_err(file_error(&unfinished))?;
        let database =
            Builder::new().create_file(file).map_err(|source| self.database_error(source.into()))?;
        load(&database).map_err(|error| self.database_error(error))?;
        drop(database);
        fs::rename(&unfinished, &path).map_err(file_error(&path))
    }

    /// How long the database's file is; `None` when there is none.
    fn database_bytes(&self) -> Result<Option<u64>, OpenError> {
        let path = self.path.join(DATABASE_FILE);
        match fs::metadata(&path) {
            Ok(found) => Ok(Some(found.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(file_error(&path)(error)),
        }
    }

    fn open_file(&self, name: &str) -> Result<File, OpenError> {
        let path = self.path.join(name);
        open_private(&path).map_err(file_error(&path))
    }

    pub(super) fn database_error(&self, source: redb::Error) -> OpenError {
        let path = self.path.clone();
        match source {
            redb::Error::DatabaseAlreadyOpen => OpenError::InUse { path },
            redb::Error::Corrupted(what) => OpenError::Damaged { path, what },
            source => OpenError::Database { path, source: Box::new(source) },
        }
    }

    pub(super) fn damaged(&self, what: String) -> OpenError {
        OpenError::Damaged { path: self.path.clone(), what }
    }

    fn scan_error(&self, source: ScanError) -> OpenError {
        match source {
            ScanError::Read(source) => OpenError::Log { path: self.path.clone(), source },
            ScanError::Malformed(damaged) => self.damaged(damaged.to_string()),
            ScanError::Damaged(what) => self.damaged(what.to_owned()),
        }
    }
}

/// Opens or makes a file that only its owner can read: Secrets are in it, and the folder may be copied to where others can look.
pub(super) fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    // One that was made before this was so.
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    |source| OpenError::File { path: path.to_owned(), source }
}

/// Brings the database up to what the log says was acknowledged, and the log to where the next record follows.
pub(super) fn recover(options: &StoreOptions, database: &Database, log: &mut Log) -> Result<Meta, OpenError> {
    let database_error = |error| options.database_error(error);
    let log_error = |source| OpenError::Log { path: options.path.clone(), source };
    let mut meta = load(database).map_err(database_error)?;
    let records = log.scan(&meta).map_err(|error| options.scan_error(error))?;
    let count = records.iter().filter(|record| !record.txns.is_empty()).count();
    let is_marked = !records.is_empty() && meta.log_bytes != 0;
    if count > 0 {
        replay(database, records, &mut meta).map_err(database_error)?;
        let revision = meta.revision.0;
        tracing::info!(records = count, revision, "recovered commits from the log of the store");
    }
    let bytes = Log::whole_blocks(options.log_bytes);
    if meta.log_bytes != bytes {
        if meta.log_bytes != 0 {
            meta.log_bytes = 0;
            checkpoint(database, &mut meta).map_err(database_error)?;
        }
        log.allocate(bytes).map_err(log_error)?;
        // First the log, which is believed only when the database says that it is whole.
        log.restart(meta.log_epoch + 1, meta.revision).map_err(log_error)?;
        meta.log_bytes = log.bytes();
        checkpoint(database, &mut meta).map_err(database_error)?;
    } else if count > 0 || !is_marked {
        log.restart(meta.log_epoch, meta.revision).map_err(log_error)?;
    }
    Ok(meta)
}

/// The state in the database; makes the tables of a new one.
fn load(database: &Database) -> Result<Meta, redb::Error> {
    let txn = database.begin_write()?;
    let stored = Tables::open(&txn)?.load()?;
    if let Some(meta) = stored {
        txn.abort()?;
        return Ok(meta);
    }
    let meta = Meta::default();
    Tables::open(&txn)?.save(&meta)?;
    writer::commit_to_disk(txn)?;
    Ok(meta)
}

/// Applies records that follow on `meta`, durably, and retires them.
fn replay(database: &Database, records: Vec<Found>, meta: &mut Meta) -> Result<(), redb::Error> {
    let txn = database.begin_write()?;
    let mut tables = Tables::open(&txn)?;
    for record in records {
        let mut revision = record.first;
        for writes in &record.txns {
            if revision.0 > meta.revision.0 + 1 {
                return Err(redb::Error::Corrupted("the log does not follow on the database".to_owned()));
            }
            // The database may hold a record already when it was closed without retiring the log.
            if revision.0 == meta.revision.0 + 1 {
                tables.apply(writes, meta)?;
            }
            revision.0 += 1;
        }
    }
    meta.log_epoch += 1;
    tables.save(meta)?;
    drop(tables);
    writer::commit_to_disk(txn)
}

/// The database's file in the store's folder.
pub(super) const DATABASE_FILE: &str = "store.redb";

/// A database that is being made.
const UNFINISHED_FILE: &str = "store.redb.new";

/// The log's file beside it, which is locked while the store is open; the two belong together.
pub(super) const LOG_FILE: &str = "store.log";
