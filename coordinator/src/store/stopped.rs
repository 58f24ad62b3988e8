//! Reading some of a store that no process uses, without serving it: for a restore, which takes its place.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    ops::ControlFlow,
    path::Path,
};

use redb::{ReadableDatabase, backends::FileBackend};

use super::{
    KeyValue, OpenError, StoreOptions,
    log::Log,
    open::{DATABASE_FILE, LOG_FILE, recover},
    read::Snapshot,
    verify,
};

/// The current values whose keys begin with one of the prefixes, after all of the store was verified and brought to what it had
/// acknowledged. Makes no file. Blocks on the disk.
///
/// # Errors
/// As [`super::Store::open`], and when a file is not there.
pub(crate) fn read_stopped(folder: &Path, prefixes: &[&str]) -> Result<Vec<KeyValue>, OpenError> {
    let options = StoreOptions::new(folder);
    let log = open_present(&folder.join(LOG_FILE))?;
    match log.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: folder.to_owned() }),
        Err(TryLockError::Error(source)) => {
            return Err(OpenError::File { path: folder.join(LOG_FILE), source });
        }
    }
    let path = folder.join(DATABASE_FILE);
    let database = open_present(&path)?;
    let length = database.metadata().map_err(|source| OpenError::File { path, source })?.len();
    if length == 0 {
        // Which redb would make a new one of.
        return Err(options.damaged("its database is empty".to_owned()));
    }
    let backend = |file| FileBackend::new(file).map_err(|source| options.database_error(source.into()));
    let database = verify::open_verified(&options, backend(database)?)?;
    let log_error = |source| OpenError::Log { path: folder.to_owned(), source };
    let mut log = Log::open(Box::new(backend(log)?)).map_err(log_error)?;
    recover(&options, &database, &mut log)?;
    let read = || -> Result<Vec<KeyValue>, redb::Error> {
        let mut values = Vec::new();
        Snapshot::new(&database.begin_read()?)?.walk(|value| {
            if prefixes.iter().any(|prefix| value.key.starts_with(prefix)) {
                values.push(value);
            }
            ControlFlow::Continue(())
        })?;
        Ok(values)
    };
    read().map_err(|error| options.database_error(error))
}

fn open_present(path: &Path) -> Result<File, OpenError> {
    let opened: io::Result<File> = OpenOptions::new().read(true).write(true).open(path);
    opened.map_err(|source| OpenError::File { path: path.to_owned(), source })
}
