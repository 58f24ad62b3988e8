//! The buckets of guests, in a file of their own: see `docs/design/keyvalue.md`. It belongs to the process that runs the guests.

mod namespaces;
mod tables;

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use dunlin_edge_node_core::sandbox::stream::BucketVerdicts;
use dunlin_wasm_host::{Answer, Buckets, KeyValueError, Operation, Pending};
use redb::Database;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

pub(crate) use self::namespaces::Judged;
use self::tables::Place;

type Outcome = Result<Answer, KeyValueError>;

/// The files that guests of this process have buckets in: one for each node. They are opened when they are needed.
#[derive(Debug)]
pub(crate) struct KeyValues {
    /// What all buckets of a namespace may have.
    quota_bytes: u64,
    files: Mutex<HashMap<PathBuf, Arc<File>>>,
}

impl KeyValues {
    /// None is open. `quota_bytes` is what all buckets of a namespace may have; `None` is [`NAMESPACE_BYTES_DEFAULT`].
    pub(crate) fn new(quota_bytes: Option<u64>) -> Self {
        Self { quota_bytes: quota_bytes.unwrap_or(NAMESPACE_BYTES_DEFAULT), files: Mutex::default() }
    }

    /// A namespace's buckets in the file at `path`.
    pub(crate) fn buckets(&self, path: PathBuf, namespace: &str) -> Arc<dyn Buckets> {
        Arc::new(Namespace { file: self.file(path), name: namespace.to_owned() })
    }

    /// Which namespaces have buckets in the file at `path`.
    pub(crate) async fn namespaces(&self, path: PathBuf) -> Result<Vec<String>, KeyValueError> {
        let file = self.file(path);
        in_background(move || match file.path.exists() {
            true => file.with_database(namespaces::with_buckets),
            false => Ok(Vec::new()),
        })
        .await
    }

    /// Removes the buckets of namespaces in the file at `path` that were deleted; answers what was done.
    pub(crate) async fn judge(&self, path: PathBuf, said: BucketVerdicts) -> Result<Judged, KeyValueError> {
        let file = self.file(path);
        in_background(move || file.with_database(|database| namespaces::judge(database, &said))).await
    }

    fn file(&self, path: PathBuf) -> Arc<File> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let file = files.entry(path.clone()).or_insert_with(|| Arc::new(File::new(path, self.quota_bytes)));
        Arc::clone(file)
    }
}

async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KeyValueError> + Send + 'static,
) -> Result<T, KeyValueError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_panic| Err(failed("it could not be read")))
}

/// One namespace's part of a file.
#[derive(Debug)]
struct Namespace {
    file: Arc<File>,
    name: String,
}

impl Buckets for Namespace {
    fn call(&self, bucket: &str, operation: Operation) -> Pending {
        let place = Place { namespace: self.name.clone(), bucket: bucket.to_owned() };
        let file = Arc::clone(&self.file);
        Box::pin(async move {
            tables::check(&operation)?;
            match operation {
                Operation::Get(_) | Operation::List { .. } => {
                    in_background(move || file.read(&place, &operation)).await
                }
                _ => file.write(place, operation).await,
            }
        })
    }
}

/// A change on its way to the writer.
struct Change {
    place: Place,
    operation: Operation,
    answer: oneshot::Sender<Outcome>,
    /// For its bytes; given back when it is written.
    _room: OwnedSemaphorePermit,
}

/// One file, and its writer's thread once something was changed.
struct File {
    path: PathBuf,
    quota_bytes: u64,
    /// `None` before it was opened, and after an error.
    database: Mutex<Option<Arc<Database>>>,
    writer: Mutex<Option<mpsc::Sender<Change>>>,
    /// Bytes that changes on their way may have.
    room: Arc<Semaphore>,
}

impl File {
    fn new(path: PathBuf, quota_bytes: u64) -> Self {
        let room = Arc::new(Semaphore::new(CHANGES_BYTES_MAX));
        Self { path, quota_bytes, database: Mutex::default(), writer: Mutex::default(), room }
    }

    fn read(&self, place: &Place, operation: &Operation) -> Outcome {
        self.with_database(|database| tables::read(database, place, operation))?
    }

    async fn write(self: Arc<Self>, place: Place, operation: Operation) -> Outcome {
        let (answer, answered) = oneshot::channel();
        let bytes = (place.bucket.len() + bytes_of(&operation)).min(CHANGES_BYTES_MAX);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(bytes).await;
        let room = room.expect("never closed");
        let writer = self.writer()?;
        let gone = || failed("its writer has ended");
        writer.send(Change { place, operation, answer, _room: room }).await.map_err(|_closed| gone())?;
        answered.await.unwrap_or_else(|_dropped| Err(gone()))
    }

    fn writer(self: &Arc<Self>) -> Result<mpsc::Sender<Change>, KeyValueError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(writer) = &*writer
            && !writer.is_closed()
        {
            return Ok(writer.clone());
        }
        let (changes, waiting) = mpsc::channel(CHANGES_MAX);
        // It ends with the last of those who could send it something, and so with the file.
        let file = Arc::downgrade(self);
        let spawned = thread::Builder::new().name("keyvalue".to_owned()).spawn(move || {
            write_all(waiting, |batch| {
                let file = file.upgrade().ok_or_else(|| failed("it is closed"))?;
                file.with_database(|database| {
                    let changes = batch.iter().map(|change| (&change.place, &change.operation));
                    tables::write(database, file.quota_bytes, changes)
                })
            });
        });
        spawned.map_err(|error| failed(&error.to_string()))?;
        *writer = Some(changes.clone());
        Ok(changes)
    }

    /// Does something with the open file; after an error of it, it is opened anew by the next.
    fn with_database<T>(
        &self,
        act: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, KeyValueError> {
        let database = self.open().map_err(|error| {
            tracing::warn!(%error, path = %self.path.display(), "the key-value store does not open");
            failed(&error)
        })?;
        // redb's panics are about what the disk did, as its errors are.
        let acted = catch_unwind(AssertUnwindSafe(|| act(&database)));
        let error = match acted {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) => error.to_string(),
            Err(_panic) => "its pages do not fit together".to_owned(),
        };
        tracing::warn!(error, path = %self.path.display(), "the key-value store failed; it is opened anew");
        *self.database() = None;
        Err(failed(&error))
    }

    fn open(&self) -> Result<Arc<Database>, String> {
        let mut open = self.database();
        if let Some(database) = &*open {
            return Ok(Arc::clone(database));
        }
        let opened = catch_unwind(AssertUnwindSafe(|| tables::open(&self.path)));
        let opened = opened.unwrap_or_else(|_panic| Err("its pages do not fit together".to_owned()))?;
        Ok(Arc::clone(open.insert(Arc::new(opened))))
    }

    fn database(&self) -> MutexGuard<'_, Option<Arc<Database>>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What all buckets of a namespace may have where nothing else is said.
const NAMESPACE_BYTES_DEFAULT: u64 = 64 << 20;

/// Writes what comes, together what waits together, until nobody can send more.
fn write_all(
    mut waiting: mpsc::Receiver<Change>,
    mut write: impl FnMut(&[Change]) -> Result<Vec<Outcome>, KeyValueError>,
) {
    let mut batch = Vec::new();
    while waiting.blocking_recv_many(&mut batch, CHANGES_MAX) > 0 {
        let outcomes =
            write(&batch).unwrap_or_else(|error| batch.iter().map(|_| Err(error.clone())).collect());
        for (change, outcome) in batch.drain(..).zip(outcomes) {
            // A guest that has ended does not wait any more.
            let _ = change.answer.send(outcome);
        }
    }
}

/// What a change has of keys and values.
fn bytes_of(operation: &Operation) -> usize {
    match operation {
        Operation::Get(keys) | Operation::Delete(keys) => keys.iter().map(String::len).sum(),
        Operation::Set(pairs) => pairs.iter().map(|(key, value)| key.len() + value.len()).sum(),
        Operation::List { after, .. } => after.as_ref().map_or(0, String::len),
        Operation::Increment { key, .. } => key.len(),
        Operation::Swap { key, expected, value } => {
            key.len() + expected.as_ref().map_or(0, Vec::len) + value.len()
        }
    }
}

fn failed(why: &str) -> KeyValueError {
    KeyValueError(format!("the node's key-value store failed: {why}"))
}

/// Makes the file if there is none; nobody else may read what guests keep.
fn private_file(path: &std::path::Path) -> io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Changes that wait for the writer, and the most that share a flush; more wait with their guests.
const CHANGES_MAX: usize = 256;

/// Keys and values of the changes that wait for the writer, or are being written, together; a change of more has all of it.
const CHANGES_BYTES_MAX: usize = 16 << 20;
