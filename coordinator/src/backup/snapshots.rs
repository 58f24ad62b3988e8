//! Scheduled backups on the coordinator's own disk: for a store that was damaged, not for a disk that was lost.
//!
//! They leave modules out, which are on the same disk, and are not encrypted: the keys lie beside them. Nothing is written when
//! nothing changed since the last. Files of anybody else in their folder are not theirs to count or remove.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use dunlin_link::{Revision, UnixMillis, with_causes};
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    BackupError, BackupFile, CollectError, Manifest, Modules, Source, collect,
    file::TEMPORARY_PREFIX,
    header::{Header, Opened},
};
use crate::{folders, sessions::wall};

/// When snapshots are made, and where they are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotOptions {
    /// Between two; zero for none at all.
    pub every: Duration,
    /// How many are kept.
    pub keep: usize,
    /// Where.
    pub folder: PathBuf,
}

/// How the schedule fares; cheap to clone.
#[derive(Clone, Debug)]
pub struct Snapshots {
    options: SnapshotOptions,
    cluster_id: String,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// What is known to be in a snapshot.
    saved: Option<Saved>,
    failure: Option<Failure>,
}

#[derive(Clone, Debug)]
struct Saved {
    path: PathBuf,
    at: UnixMillis,
    /// Writes after this are not in it.
    revision: Revision,
}

#[derive(Clone, Debug)]
struct Failure {
    at: UnixMillis,
    why: String,
}

/// What is told of the schedule.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SnapshotStatus {
    folder: PathBuf,
    every_seconds: u64,
    keep: usize,
    newest_at: Option<UnixMillis>,
    newest_revision: Option<Revision>,
    failed_at: Option<UnixMillis>,
    failure: Option<String>,
}

/// Why no snapshot was made.
#[derive(Debug, thiserror::Error)]
enum SnapshotError {
    #[error("failed to use the folder of snapshots `{path}`")]
    Folder { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Collect(#[from] CollectError),
    #[error(transparent)]
    Write(#[from] BackupError),
    #[error("the snapshot's writer panicked")]
    Panicked,
}

impl Snapshots {
    /// A schedule for the cluster that is not kept yet.
    pub fn new(options: SnapshotOptions, cluster_id: String) -> Self {
        Self { options, cluster_id, state: Arc::default() }
    }

    /// Makes snapshots when they are due, until `stop`.
    pub async fn run(self, source: Source, stop: CancellationToken) {
        if self.options.every.is_zero() {
            return;
        }
        self.look_for_newest(source.store.revision());
        let saved = self.state().saved.clone();
        let first = match saved {
            Some(saved) => {
                let age = Duration::from_millis(u64::try_from(wall().0 - saved.at.0).unwrap_or(0));
                self.options.every.saturating_sub(age)
            }
            None => FIRST_AFTER.min(self.options.every),
        };
        let mut due = Instant::now() + first;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(due) => {}
            }
            due = Instant::now() + self.options.every;
            let saved = self.state().saved.clone();
            if saved.is_some_and(|saved| saved.revision == source.store.revision() && saved.path.exists()) {
                continue;
            }
            let made = tokio::select! {
                () = stop.cancelled() => return,
                made = self.make(&source) => made,
            };
            self.note(made);
        }
    }

    /// How the schedule fares, and what of it is on disk now.
    pub(crate) fn status(&self) -> SnapshotStatus {
        let newest = self.list().pop().map(|(_, manifest)| manifest);
        let state = self.state();
        SnapshotStatus {
            folder: self.options.folder.clone(),
            every_seconds: self.options.every.as_secs(),
            keep: self.options.keep,
            newest_at: newest.as_ref().map(|manifest| manifest.created_at),
            newest_revision: newest.as_ref().map(|manifest| manifest.revision),
            failed_at: state.failure.as_ref().map(|failure| failure.at),
            failure: state.failure.as_ref().map(|failure| failure.why.clone()),
        }
    }

    /// Takes the newest snapshot on disk for current when nothing but this start has been written since. One from after `now` is of
    /// a disk that was put back to an older state, and holds nothing of this one.
    fn look_for_newest(&self, now: Revision) {
        let newest = self.list().into_iter().rfind(|(_, manifest)| manifest.revision <= now);
        let Some((path, manifest)) = newest else { return };
        let unchanged = now.0 <= manifest.revision.0 + WRITES_OF_A_START;
        let revision = if unchanged { now } else { manifest.revision };
        self.state().saved = Some(Saved { path, at: manifest.created_at, revision });
    }

    fn list(&self) -> Vec<(PathBuf, Manifest)> {
        list(&self.options.folder, &self.cluster_id)
    }

    async fn make(&self, source: &Source) -> Result<Saved, SnapshotError> {
        let folder = self.options.folder.clone();
        let folder_error = |source| SnapshotError::Folder { path: folder.clone(), source };
        prepare(&folder).map_err(folder_error)?;
        let mut collected = collect(source.clone(), Modules::LeftOut, wall()).await?;
        let manifest = collected.manifest.clone();
        let made = folder.join(file_name(&manifest));
        let mut file = BackupFile::create(&made, &manifest, None)?;
        while let Some(part) = collected.next().await {
            let part = part?;
            // Written by a thread that may wait for the disk.
            let written = tokio::task::spawn_blocking(move || file.write(&part).map(|()| file)).await;
            file = written.map_err(|_| SnapshotError::Panicked)??;
        }
        let finished = tokio::task::spawn_blocking(move || file.finish()).await;
        finished.map_err(|_| SnapshotError::Panicked)??;
        self.remove_oldest(&made)?;
        Ok(Saved { path: made, at: manifest.created_at, revision: manifest.revision })
    }

    /// Keeps as many as there shall be, `made` among them, whatever its revision.
    fn remove_oldest(&self, made: &Path) -> Result<(), SnapshotError> {
        let found = self.list();
        let excess = found.len().saturating_sub(self.options.keep);
        let others = found.into_iter().map(|(path, _)| path).filter(|path| path != made);
        for path in others.take(excess) {
            fs::remove_file(&path).map_err(|source| SnapshotError::Folder { path, source })?;
        }
        Ok(())
    }

    fn note(&self, made: Result<Saved, SnapshotError>) {
        match made {
            Ok(saved) => {
                tracing::info!(revision = saved.revision.0, "made a snapshot of the store");
                *self.state() = State { saved: Some(saved), failure: None };
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "no snapshot of the store was made"
                );
                self.state().failure = Some(Failure { at: wall(), why: with_causes(&error) });
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The snapshots of a cluster in a folder, the newest last. A backup that somebody put there, or one of another cluster, has
/// another name or another header.
pub fn list(folder: &Path, cluster_id: &str) -> Vec<(PathBuf, Manifest)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let named = paths.filter(|path| path.extension().is_some_and(|extension| extension == EXTENSION));
    let mut found: Vec<_> = named
        .filter_map(|path| {
            let Opened { header: Header { manifest, .. }, .. } =
                Header::read(&mut fs::File::open(&path).ok()?).ok()?;
            let is_own =
                manifest.cluster_id == cluster_id && path.file_name()? == file_name(&manifest).as_str();
            is_own.then_some((path, manifest))
        })
        .collect();
    found.sort_by_key(|(path, manifest)| (manifest.restore_generation, manifest.revision, path.clone()));
    found
}

/// Makes the folder, and removes what a crash left in it.
fn prepare(folder: &Path) -> io::Result<()> {
    folders::make(folder)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_temporary = entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX);
        // One that somebody writes now is locked.
        if is_temporary && fs::File::open(entry.path())?.try_lock().is_ok() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn file_name(manifest: &Manifest) -> String {
    let at = Timestamp::from_millisecond(manifest.created_at.0).unwrap_or_default();
    format!("{}-r{}.{EXTENSION}", at.strftime("%Y%m%dT%H%M%SZ"), manifest.revision)
}

/// Of snapshots' names.
const EXTENSION: &str = "backup";

/// The first snapshot of a cluster waits until it is set up.
const FIRST_AFTER: Duration = Duration::from_secs(300);

/// What every start of a coordinator writes: its time and its term.
const WRITES_OF_A_START: u64 = 2;
