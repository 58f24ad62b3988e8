//! What the handles, the writer and the watches of one store have in common.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use dunlin_link::Revision;
use redb::{Database, ReadableDatabase};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::store::{
    StoreError, StoreOptions, WatchEvent,
    ages::Ages,
    entry::Meta,
    figures::Figures,
    interest::{Concerned, Interests, Place, Watched},
    read::Snapshot,
    recent::{Changes, Recent},
};

/// The part of a store that outlives no file handle: the database is given up when the store closes.
#[derive(Debug)]
pub(super) struct Shared {
    path: PathBuf,
    published: watch::Receiver<Revision>,
    /// Bounds the readers at work, and with them threads and memory.
    readers: Arc<Semaphore>,
    /// Bounds the bytes that wait for the writer, in units of [`QUEUE_UNIT_BYTES`].
    queue: Arc<Semaphore>,
    /// Cancelled when the writer has ended and takes nothing from its queue any more.
    over: CancellationToken,
    figures: Figures,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Gone when the store is closed, so that the files are released though handles remain.
    database: Option<Arc<Database>>,
    /// Set for ever when the disk failed: what it said first.
    failed: Option<String>,
    /// For watches that keep up.
    recent: Recent,
    /// Whom a commit concerns.
    interests: Interests,
    /// Tells which revisions are too old to be served.
    ages: Ages,
    /// What history on disk reaches back to.
    floor: Revision,
}

impl Shared {
    /// The state of a store that was just opened at `meta`.
    pub(super) fn new(
        options: &StoreOptions,
        database: Arc<Database>,
        meta: Meta,
        published: watch::Receiver<Revision>,
    ) -> Self {
        let state = State {
            database: Some(database),
            failed: None,
            recent: Recent::new(meta.revision, options.recent_bytes),
            interests: Interests::default(),
            ages: Ages::new(options.history_age, Instant::now(), meta.revision),
            floor: meta.floor,
        };
        Self {
            path: options.path.clone(),
            published,
            readers: Arc::new(Semaphore::new(READERS_MAX)),
            queue: Arc::new(Semaphore::new(QUEUE_UNITS_MAX)),
            over: CancellationToken::new(),
            figures: Figures::new(),
            state: Mutex::new(state),
        }
    }

    /// The newest revision that is durable, readable, and told to watches.
    pub(super) fn revision(&self) -> Revision {
        *self.published.borrow()
    }

    /// Waits until `revision`, which a reader saw in the database, is told to watches as well.
    pub(super) async fn published(&self, revision: Revision) -> Result<(), StoreError> {
        if self.revision() >= revision {
            return Ok(());
        }
        let mut published = self.published.clone();
        let reached = published.wait_for(|published| *published >= revision).await;
        reached.map(|_| ()).map_err(|_| self.ended())
    }

    /// The oldest revision that lists and watches can start at.
    pub(super) fn floor(&self) -> Revision {
        let mut state = self.lock();
        let aged = state.ages.floor(Instant::now());
        state.floor.max(aged)
    }

    /// Answers an error unless `asked` is neither compacted nor in the future.
    pub(super) fn check_kept(&self, asked: Revision) -> Result<(), StoreError> {
        let newest = self.revision();
        if asked > newest {
            return Err(StoreError::Future { asked, newest });
        }
        let oldest = self.floor();
        if asked < oldest { Err(StoreError::Compacted { asked, oldest }) } else { Ok(()) }
    }

    /// Whether every change after `revision` is in memory.
    pub(super) fn is_recent(&self, revision: Revision) -> bool {
        self.lock().recent.start() <= revision
    }

    /// Changes after `after` from memory; `None` when memory does not reach back so far.
    pub(super) fn recent_changes(&self, after: Revision, prefix: &str) -> Option<Changes> {
        self.lock().recent.changes(after, prefix)
    }

    /// What the writer committed: makes it known to watches and publishes the revision, in one step for whoever asks for both. Those
    /// whom it concerns are to be woken after this.
    pub(super) fn committed(
        &self,
        meta: &Meta,
        events: Vec<WatchEvent>,
        published: &watch::Sender<Revision>,
    ) -> Concerned {
        let mut state = self.lock();
        let concerned = state.interests.note(&events);
        state.recent.push(events);
        state.ages.record(Instant::now(), meta.revision);
        state.floor = meta.floor;
        published.send_replace(meta.revision);
        concerned
    }

    /// A place for a watch, which will be woken for all changes after the revision that is answered.
    pub(super) fn enter(&self, watched: Watched<'_>) -> (Place, Revision) {
        let mut state = self.lock();
        (state.interests.enter(watched), self.revision())
    }

    /// Gives a place back.
    pub(super) fn leave(&self, place: &Place) {
        self.lock().interests.leave(place);
    }

    /// The first change that concerns a watch and that it did not take before, and the newest revision.
    pub(super) fn take_interest(&self, place: &Place) -> (Option<Revision>, Revision) {
        let mut state = self.lock();
        (state.interests.take(place), self.revision())
    }

    /// The newest revision, when no change up to it concerns a watch that it did not take.
    pub(super) fn quiet_until(&self, place: &Place) -> Option<Revision> {
        let state = self.lock();
        state.interests.is_quiet(place).then(|| self.revision())
    }

    /// Runs `read` on a blocking thread in a read transaction of its own; answers what it answered and the revision it saw.
    pub(super) async fn read<T, F>(&self, read: F) -> Result<(T, Revision), StoreError>
    where
        F: FnOnce(&Snapshot) -> Result<T, redb::Error> + Send + 'static,
        T: Send + 'static,
    {
        let (permit, database) = self.reader().await?;
        let reading = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let snapshot = Snapshot::new(&database.begin_read()?)?;
            Ok::<_, redb::Error>((read(&snapshot)?, snapshot.revision()))
        });
        match reading.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.read_failed(&error)),
            Err(panicked) => {
                tracing::error!(error = &panicked as &dyn std::error::Error, "reading the store failed");
                Err(self.read_panicked())
            }
        }
    }

    /// A place among the readers, and what to read.
    pub(super) async fn reader(&self) -> Result<(OwnedSemaphorePermit, Arc<Database>), StoreError> {
        let permit = Arc::clone(&self.readers).acquire_owned().await.map_err(|_| self.ended())?;
        let database = self.lock().database.clone();
        Ok((permit, database.ok_or_else(|| self.ended())?))
    }

    /// Room in the queue for a transaction of `bytes`; waits while others fill it.
    pub(super) async fn queue_room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, StoreError> {
        let units =
            u32::try_from(bytes.div_ceil(QUEUE_UNIT_BYTES)).expect("a transaction's bytes are bounded");
        Arc::clone(&self.queue).acquire_many_owned(units).await.map_err(|_| self.ended())
    }

    /// What the writer counts.
    pub(super) fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Bytes of the files in the store's folder.
    pub(super) fn file_bytes(&self) -> u64 {
        let Ok(files) = std::fs::read_dir(&self.path) else { return 0 };
        files.flatten().filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
    }

    /// The disk failed; nothing more is written. The first reason is kept: later ones follow from it.
    pub(super) fn fail(&self, reason: String) {
        self.lock().failed.get_or_insert(reason);
    }

    /// The writer has ended: nobody who waits for it, or for room in its queue, waits any longer.
    pub(super) fn finish(&self) {
        self.over.cancel();
        self.queue.close();
        let watches = self.lock().interests.everyone();
        watches.wake();
    }

    /// Whether the writer has ended.
    pub(super) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Waits until the writer has ended.
    pub(super) async fn over(&self) {
        self.over.cancelled().await;
    }

    /// Gives up the database; it is closed when the last reader is done.
    pub(super) fn release(&self) -> Option<Arc<Database>> {
        self.lock().database.take()
    }

    /// Why the writer does not take commands any more.
    pub(super) fn ended(&self) -> StoreError {
        let failed = self.lock().failed.clone();
        failed.map_or(StoreError::Closed, |reason| self.failure(reason))
    }

    /// The error of a read that failed; writes may go on.
    pub(super) fn read_failed(&self, error: &redb::Error) -> StoreError {
        tracing::error!(error = error as &dyn std::error::Error, "reading the store failed");
        self.failure(root_cause(error))
    }

    /// The error of a read that panicked, which was told when it happened.
    pub(super) fn read_panicked(&self) -> StoreError {
        self.failure("reading it panicked".to_owned())
    }

    fn failure(&self, reason: String) -> StoreError {
        StoreError::Failed { path: self.path.display().to_string(), reason }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every critical section leaves the state whole, so that a panic elsewhere does not matter.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What began an error, as the system says it: the rest of its chain only says where.
pub(super) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// More readers than this would not make a small machine's disk faster.
const READERS_MAX: usize = 8;

/// Transactions wait for room in steps of this size.
const QUEUE_UNIT_BYTES: usize = 1024;

/// 16 MiB may wait for the writer: two of the largest transactions.
const QUEUE_UNITS_MAX: usize = 16 << 10;
