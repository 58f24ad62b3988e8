//! The tables, how they are read at the start, and how a batch is committed.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use dunlin_edge_node_core::{
    content::Seal,
    node::{Batch, Change, Loaded, record_id},
};
use dunlin_link::{Digest, PodUid, UnixMillis, pod::ConfigKind, sealed::Content};
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition, TableHandle,
};

use super::{
    OpenError,
    records::{
        MalformedRecord, decode, decode_content, decode_memory, decode_pod, encode, encode_content,
        encode_memory, encode_pod,
    },
};
use crate::folders;

/// Opens or creates the file, verifies all of it, and reads it, with what it knows of the coordinator's clock. Whatever damage makes redb do is this file's failure and not the
/// process's.
pub(super) fn open(
    path: &Path,
    cache_bytes: usize,
) -> Result<(Database, Loaded, Option<UnixMillis>), OpenError> {
    let opened = catch_unwind(AssertUnwindSafe(|| open_verified(path, cache_bytes)));
    opened.unwrap_or_else(|_| Err(damaged(path, "its pages do not fit together".to_owned())))
}

/// Whether another process has the file open.
pub(super) fn is_in_use(path: &Path) -> bool {
    // redb's own lock, tried as redb does; a file that cannot be opened is not in use.
    fs::File::open(path).is_ok_and(|file| matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)))
}

/// Opens the file again after a commit that failed: redb goes no further with one that had an error. A file that is gone is not
/// begun anew.
pub(super) fn reopen(path: &Path, cache_bytes: usize) -> Result<Database, OpenError> {
    let open = || {
        let opened = Database::builder().set_cache_size(cache_bytes).open(path);
        verify(opened.map_err(|error| not_opened(path, error))?, path)
    };
    let opened = catch_unwind(AssertUnwindSafe(open));
    opened.unwrap_or_else(|_| Err(damaged(path, "its pages do not fit together".to_owned())))
}

fn open_verified(
    path: &Path,
    cache_bytes: usize,
) -> Result<(Database, Loaded, Option<UnixMillis>), OpenError> {
    let failed = |error: redb::Error| match error {
        redb::Error::Corrupted(what) => damaged(path, what),
        source => OpenError::Database { path: path.to_owned(), source: Box::new(source) },
    };
    let known = fs::metadata(path);
    if known.as_ref().is_ok_and(|file| file.len() == 0) {
        // redb would begin a new one, as for no file at all.
        return Err(damaged(path, "it is empty".to_owned()));
    }
    let file = open_private(path).map_err(|error| DatabaseError::Storage(StorageError::Io(error)));
    let opened = file.and_then(|file| Database::builder().set_cache_size(cache_bytes).create_file(file));
    let database = verify(opened.map_err(|error| not_opened(path, error))?, path)?;
    let starts = count_start(&database).map_err(failed)?;
    if known.is_err() {
        // A new file is an entry of its folder, which redb does not flush.
        let flushed = folders::flush(path.parent().unwrap_or(path));
        flushed.map_err(|error| failed(redb::Error::Io(error)))?;
    }
    let malformed = |source| OpenError::Record { path: path.to_owned(), source };
    let rows = |table| read_rows(&database, table).map_err(failed);
    let meta = rows(META)?;
    let applied = meta.iter().find(|(key, _)| key == APPLIED);
    let applied = applied.map(|(key, value)| decode("meta", key, value)).transpose().map_err(malformed)?;
    let protocol = meta.iter().find(|(key, _)| key == PROTOCOL);
    // A damaged one means that everything is sent again.
    let protocol = protocol.and_then(|(key, value)| decode("meta", key, value).ok()).unwrap_or(0);
    let time = meta.iter().find(|(key, _)| key == SERVER_TIME);
    // A damaged one is no reason not to start: it is learned again.
    let server_time = time.and_then(|(key, value)| decode("meta", key, value).ok());
    let mut objects = BTreeMap::new();
    for (key, value) in rows(OBJECTS)? {
        // A key that is no digest was not written by any version; its content could not be asked for.
        let Ok(digest) = key.parse() else { continue };
        objects.insert(digest, decode_content("objects", &key, &value).map_err(malformed)?);
    }
    let loaded = Loaded {
        starts,
        applied: applied.unwrap_or_default(),
        protocol,
        pods: by_uid("pods", rows(PODS)?, decode_pod).map_err(malformed)?,
        statics: by_uid("statics", rows(STATICS)?, decode_pod).map_err(malformed)?,
        memories: by_uid("memories", rows(MEMORIES)?, decode_memory).map_err(malformed)?,
        tombstones: by_uid("tombstones", rows(TOMBSTONES)?, decode).map_err(malformed)?,
        objects,
        tokens: by_uid("tokens", rows(TOKENS)?, decode_content).map_err(malformed)?,
    };
    Ok((database, loaded, server_time))
}

/// Every checksum. What a crash left half done was repaired by opening; a commit that was durable and does not verify is damage, never
/// rolled back: commits have two phases, so that the two can be told apart.
fn verify(mut database: Database, path: &Path) -> Result<Database, OpenError> {
    let verified = database.check_integrity().map_err(|error| not_opened(path, error))?;
    if !verified {
        tracing::warn!(path = %path.display(), "the local state's free space was counted anew; its records are whole");
    }
    Ok(database)
}

fn is_clear_secret(content: &Content) -> bool {
    matches!(content, Content::Clear(object) if object.kind == ConfigKind::Secret)
}

/// Seals Secrets that an earlier version wrote in clear: everything is written into a new file, which takes the place of the old one,
/// whose free pages would go on holding what was replaced.
pub(super) fn seal_all(
    database: Database,
    path: &Path,
    cache_bytes: usize,
    (objects, seal): (&BTreeMap<Digest, Content>, &Seal),
) -> Result<Database, OpenError> {
    if !objects.values().any(is_clear_secret) {
        return Ok(database);
    }
    let fresh_path = path.with_extension("new");
    let file_error = |source: io::Error| OpenError::Replace { path: path.to_owned(), source };
    match fs::remove_file(&fresh_path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(file_error(error)),
        _ => {}
    }
    let copy = || -> Result<Database, redb::Error> {
        let file = open_private(&fresh_path).map_err(redb::Error::Io)?;
        let fresh = Database::builder().set_cache_size(cache_bytes).create_file(file)?;
        let transaction = begin(&fresh)?;
        for table in [META, PODS, MEMORIES, TOMBSTONES, TOKENS] {
            let mut to = transaction.open_table(table)?;
            for (key, value) in read_rows(&database, table)? {
                to.insert(key.as_str(), value.as_slice())?;
            }
        }
        let mut to = transaction.open_table(OBJECTS)?;
        for (id, content) in objects {
            to.insert(id.to_string().as_str(), encode_content(id, content, seal).as_slice())?;
        }
        drop(to);
        transaction.commit()?;
        Ok(fresh)
    };
    let fresh = copy()
        .map_err(|source| OpenError::Database { path: fresh_path.clone(), source: Box::new(source) })?;
    fs::rename(&fresh_path, path).map_err(file_error)?;
    let folder = path.parent().unwrap_or(path);
    folders::flush(folder).map_err(file_error)?;
    // The old file stays locked until here, the new one from its start, so that no other agent gets in between.
    drop(database);
    Ok(fresh)
}

/// Opens or makes a file that only its owner can read, also one that was made before this was so.
fn open_private(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// What redb's refusal to open a file means.
fn not_opened(path: &Path, error: DatabaseError) -> OpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => {
            OpenError::InUse { path: path.parent().unwrap_or(path).to_owned() }
        }
        DatabaseError::Storage(StorageError::Corrupted(what)) => damaged(path, what),
        // redb reads what it expects to be there: a file that is too short, or that was never one.
        DatabaseError::Storage(StorageError::Io(error))
            if matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
            ) =>
        {
            damaged(path, error.to_string())
        }
        error => OpenError::Database { path: path.to_owned(), source: Box::new(error.into()) },
    }
}

fn damaged(path: &Path, what: String) -> OpenError {
    OpenError::Damaged { path: path.to_owned(), dir: path.parent().unwrap_or(path).to_owned(), what }
}

/// A transaction whose commit, once durable, can be told from a torn one.
fn begin(database: &Database) -> Result<redb::WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    Ok(transaction)
}

/// What rows held before a commit that failed, which may be in the file all the same: nobody may find it there, for nobody was told.
///
/// Its size follows what the batches touched that failed since the last that did not; most of that was not there before.
#[derive(Debug, Default)]
pub(super) struct Undo(BTreeMap<(String, String), Option<Vec<u8>>>);

impl Undo {
    fn keep(&mut self, table: Table, key: &str, before: Option<Vec<u8>>) {
        self.0.entry((table.name().to_owned(), key.to_owned())).or_insert(before);
    }

    fn apply(&self, transaction: &redb::WriteTransaction) -> Result<(), redb::Error> {
        for ((table, key), before) in &self.0 {
            let mut table = transaction.open_table(TableDefinition::<&str, &[u8]>::new(table))?;
            match before {
                Some(value) => table.insert(key.as_str(), value.as_slice())?,
                None => table.remove(key.as_str())?,
            };
        }
        Ok(())
    }
}

/// Commits batches in one durable transaction, and along with them that it is `server_time` or later by the coordinator's clock. What
/// earlier ones left that failed is undone first; `undo` is empty when this has succeeded.
pub(super) fn commit<'a>(
    database: &Database,
    batches: impl Iterator<Item = &'a Batch>,
    (seal, server_time): (&Seal, Option<UnixMillis>),
    undo: &mut Undo,
) -> Result<(), redb::Error> {
    let transaction = begin(database)?;
    undo.apply(&transaction)?;
    let mut to = Rows { transaction: &transaction, undo: &mut *undo };
    if let Some(time) = server_time {
        to.write(META, &[(SERVER_TIME, Change::Put(time))], |_, time| encode(time))?;
    }
    for batch in batches {
        if let Some(applied) = batch.applied {
            to.write(META, &[(APPLIED, Change::Put(applied))], |_, applied| encode(applied))?;
        }
        if let Some(protocol) = batch.protocol {
            to.write(META, &[(PROTOCOL, Change::Put(protocol))], |_, protocol| encode(protocol))?;
        }
        to.write(PODS, &batch.pods, |_, record| encode_pod(record))?;
        to.write(STATICS, &batch.statics, |_, record| encode_pod(record))?;
        to.write(MEMORIES, &batch.memories, |_, memory| encode_memory(memory))?;
        to.write(TOMBSTONES, &batch.tombstones, |_, record| encode(record))?;
        to.write(OBJECTS, &batch.objects, |id, content| encode_content(id, content, seal))?;
        to.write(TOKENS, &batch.tokens, |uid, content| encode_content(&record_id(uid), content, seal))?;
    }
    transaction.commit()?;
    undo.0.clear();
    Ok(())
}

/// Where a commit's rows go.
struct Rows<'a> {
    transaction: &'a redb::WriteTransaction,
    undo: &'a mut Undo,
}

impl Rows<'_> {
    fn write<K: ToString, T>(
        &mut self,
        table: Table,
        changes: &[(K, Change<T>)],
        encode: impl Fn(&K, &T) -> Vec<u8>,
    ) -> Result<(), redb::Error> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut rows = self.transaction.open_table(table)?;
        for (key, change) in changes {
            let name = key.to_string();
            let before = match change {
                Change::Put(record) => rows.insert(name.as_str(), encode(key, record).as_slice())?,
                Change::Remove => rows.remove(name.as_str())?,
            };
            self.undo.keep(table, &name, before.map(|value| value.value().to_owned()));
        }
        Ok(())
    }
}

/// Raises the count of starts and creates the tables of a new file.
fn count_start(database: &Database) -> Result<u64, redb::Error> {
    let transaction = begin(database)?;
    let starts = {
        let mut meta = transaction.open_table(META)?;
        let known = meta.get(STARTS)?.map(|value| decode("meta", STARTS, value.value()));
        // A damaged count must not stop a node from starting its pods: beginning high keeps sequences rising.
        let starts: u64 = known.map_or(0, |known| known.unwrap_or(1 << 30)) + 1;
        meta.insert(STARTS, encode(&starts).as_slice())?;
        starts
    };
    for table in [PODS, STATICS, MEMORIES, TOMBSTONES, OBJECTS, TOKENS] {
        transaction.open_table(table)?;
    }
    transaction.commit()?;
    Ok(starts)
}

fn read_rows(database: &Database, table: Table) -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = transaction.open_table(table)?;
    let mut rows = Vec::new();
    for row in table.iter()? {
        let (key, value) = row?;
        rows.push((key.value().to_owned(), value.value().to_owned()));
    }
    Ok(rows)
}

fn by_uid<T>(
    table: &'static str,
    rows: Vec<(String, Vec<u8>)>,
    decode: impl Fn(&'static str, &str, &[u8]) -> Result<T, MalformedRecord>,
) -> Result<BTreeMap<PodUid, T>, MalformedRecord> {
    rows.into_iter().map(|(key, value)| Ok((PodUid::new(&*key), decode(table, &key, &value)?))).collect()
}

type Table = TableDefinition<'static, &'static str, &'static [u8]>;

const META: Table = TableDefinition::new("meta");
const PODS: Table = TableDefinition::new("pods");
const STATICS: Table = TableDefinition::new("statics");
const MEMORIES: Table = TableDefinition::new("memories");
const TOMBSTONES: Table = TableDefinition::new("tombstones");
const OBJECTS: Table = TableDefinition::new("objects");
const TOKENS: Table = TableDefinition::new("tokens");

const STARTS: &str = "starts";
const APPLIED: &str = "applied";
const SERVER_TIME: &str = "server_time";
const PROTOCOL: &str = "protocol";

#[cfg(test)]
pub(super) mod tests {
    use dunlin_link::pod::ConfigObject;

    use super::*;

    /// Writes content as it was written before Secrets were sealed.
    pub(crate) fn put_as_version_1(path: &Path, id: &Digest, object: &ConfigObject) {
        let database = loop {
            match Database::create(path) {
                // The writer of a store that was dropped a moment ago lets go of it soon.
                Err(DatabaseError::DatabaseAlreadyOpen) => std::thread::yield_now(),
                opened => break opened.unwrap(),
            }
        };
        let transaction = database.begin_write().unwrap();
        transaction
            .open_table(OBJECTS)
            .unwrap()
            .insert(id.to_string().as_str(), encode(object).as_slice())
            .unwrap();
        transaction.commit().unwrap();
    }
}
