//! The writer's thread: commits batches, and goes on after an error of the disk.
//!
//! redb does nothing more with a file that had an error, and a full disk is no reason to lose the node: the file is opened again for the
//! next batch. What a failed commit may have left is undone with it.

use std::{
    error::Error as _,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
};

use dunlin_edge_node_core::{
    content::Seal,
    node::{Batch, Change},
};
use redb::Database;

use super::{
    CACHE_BYTES,
    reserve::Reserve,
    tables::{self, Undo},
};
use crate::server_time::ServerTime;

/// The owner of the open file.
#[derive(Debug)]
pub(super) struct Writer {
    /// `None` after an error.
    database: Option<Database>,
    path: PathBuf,
    seal: Arc<Seal>,
    server_time: Arc<ServerTime>,
    undo: Undo,
    reserve: Reserve,
}

impl Writer {
    /// The writer of an open file.
    pub(super) fn new(
        database: Database,
        path: PathBuf,
        (seal, server_time): (Arc<Seal>, Arc<ServerTime>),
    ) -> Self {
        let mut reserve = Reserve::beside(&path);
        reserve.take(&path);
        Self { database: Some(database), path, seal, server_time, undo: Undo::default(), reserve }
    }

    /// Writes batches in their order; answers for each whether it is durable. One that is not does not keep others from it.
    pub(super) fn write(&mut self, batches: &[Batch]) -> Vec<io::Result<()>> {
        let results = match self.write_together(batches) {
            Err(error) if batches.len() == 1 => vec![Err(error)],
            Err(_) => batches.iter().map(|batch| self.write_together(std::slice::from_ref(batch))).collect(),
            Ok(()) => batches.iter().map(|_| Ok(())).collect(),
        };
        if self.database.is_some() {
            self.reserve.take(&self.path);
        }
        results
    }

    fn write_together(&mut self, batches: &[Batch]) -> io::Result<()> {
        let result = self.commit(batches);
        if result.is_err() && batches.iter().all(ends_something) && self.reserve.give_up() {
            return self.commit(batches);
        }
        result
    }

    fn commit(&mut self, batches: &[Batch]) -> io::Result<()> {
        let database = match self.database.take() {
            Some(database) => database,
            None => tables::reopen(&self.path, CACHE_BYTES).map_err(|error| {
                let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                io::Error::other(format!("{error}{cause}"))
            })?,
        };
        let time = self.server_time.worth_keeping();
        let undo = &mut self.undo;
        // redb's panics are about what the disk did, as its errors are.
        let commit = || tables::commit(&database, batches.iter(), (&self.seal, time), undo);
        let error = match catch_unwind(AssertUnwindSafe(commit)) {
            Ok(Ok(())) => {
                self.database = Some(database);
                if let Some(time) = time {
                    self.server_time.kept(time);
                }
                return Ok(());
            }
            Ok(Err(redb::Error::Io(error))) => error,
            Ok(Err(error)) => io::Error::other(error),
            Err(_) => io::Error::other("the local state's pages do not fit together"),
        };
        // Closing it may find the same.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
        Err(error)
    }
}

/// Whether a batch only stops, forgets or remembers: it needs little, and leads to room.
fn ends_something(batch: &Batch) -> bool {
    let adds = batch.pods.iter().any(|(_, change)| matches!(change, Change::Put(_)))
        || batch.statics.iter().any(|(_, change)| matches!(change, Change::Put(_)));
    let ends = batch.pods.len() + batch.statics.len() + batch.tombstones.len() + batch.memories.len() > 0;
    (ends && !adds) || !batch.tombstones.is_empty()
}
