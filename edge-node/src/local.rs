//! What a node keeps on disk: its assignments, tombstones and configuration, and what it remembers of pods. Alone names redb;
//! [`keyvalue`] has a file of its own.
//!
//! One file, one writer thread. Batches that wait together share one durable transaction, and nothing is written when nothing
//! changes: an idle node leaves its disk alone. Every value begins with a kind byte.

pub(crate) mod keyvalue;
mod records;
mod reserve;
pub mod reset;
mod tables;
mod writer;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
};

use dunlin_edge_node_core::{
    content::Seal,
    node::{Batch, Loaded},
};
use tokio::sync::oneshot;

pub use self::records::MalformedRecord;

use self::writer::Writer;
use crate::server_time::ServerTime;

/// The open store; writes go through its thread.
#[derive(Debug)]
pub(crate) struct Local {
    jobs: mpsc::SyncSender<Job>,
}

/// Why the local state cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file cannot be opened, or is not ours.
    #[error("failed to open the local state at `{path}`")]
    Database {
        /// The file.
        path: PathBuf,
        /// What redb found.
        #[source]
        source: Box<redb::Error>,
    },
    /// What is in the file cannot be trusted.
    #[error(
        "the local state at `{path}` is damaged ({what}), so the node does not start: guessing could bring deleted pods back. To begin \
         anew from the coordinator, run `dunlin local reset --state {dir}`; the file is set aside, and no pod starts before the \
         coordinator has told which"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Its folder, as the command wants it.
        dir: PathBuf,
        /// What was found.
        what: String,
    },
    /// Another node process has it open.
    #[error("another node process uses the state folder `{path}`")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A record is of a kind that this version does not know.
    #[error(
        "failed to read the local state at `{path}`: was it written by a later version? If not, `dunlin local reset` lets the node begin \
         anew from its coordinator"
    )]
    Record {
        /// The file.
        path: PathBuf,
        /// Which record.
        #[source]
        source: MalformedRecord,
    },
    /// Its file cannot be replaced by one in which Secrets are sealed.
    #[error("failed to replace the local state at `{path}` by one with sealed secrets")]
    Replace {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No thread for it.
    #[error("failed to start the local state's writer")]
    Thread(#[source] io::Error),
}

impl OpenError {
    /// The same of the file at `of`: what is wrong with a copy is wrong with that.
    fn at(mut self, of: &Path) -> Self {
        match &mut self {
            Self::Database { path, .. }
            | Self::Damaged { path, .. }
            | Self::Record { path, .. }
            | Self::Replace { path, .. } => of.clone_into(path),
            // A folder, or nothing.
            Self::InUse { .. } | Self::Thread(_) => {}
        }
        self
    }
}

/// A batch and who waits for it.
struct Job {
    batch: Batch,
    done: oneshot::Sender<io::Result<()>>,
}

impl Local {
    /// Opens the state in `dir`, counts this start, and reads everything. Secrets lie there sealed to the key of `seal`.
    ///
    /// # Errors
    /// When the file is damaged, locked by another agent, or of a later version.
    pub(crate) fn open(
        dir: &Path,
        (seal, server_time): (&Arc<Seal>, &Arc<ServerTime>),
    ) -> Result<(Self, Loaded), OpenError> {
        let path = dir.join(FILE);
        let (database, loaded, known) = tables::open(&path, CACHE_BYTES)?;
        let database = tables::seal_all(database, &path, CACHE_BYTES, (&loaded.objects, seal))?;
        if let Some(time) = known {
            server_time.kept(time);
        }
        let (jobs, queue) = mpsc::sync_channel(QUEUE_JOBS_MAX);
        thread::Builder::new()
            .name("local-state".to_owned())
            .stack_size(STACK_BYTES)
            .spawn({
                let (seal, server_time) = (Arc::clone(seal), Arc::clone(server_time));
                let writer = Writer::new(database, path, (seal, server_time));
                move || write_all(writer, &queue)
            })
            .map_err(OpenError::Thread)?;
        Ok((Self { jobs }, loaded))
    }

    /// Writes a batch; ready once it is durable. Batches become durable in the order of the calls.
    pub(crate) fn write(&self, batch: Batch) -> impl Future<Output = io::Result<()>> + Send + use<> {
        let (done, written) = oneshot::channel();
        let sent = self.jobs.try_send(Job { batch, done });
        async move {
            sent.map_err(|_| io::Error::other("the local state's writer is overloaded or gone"))?;
            written.await.unwrap_or_else(|_| Err(io::Error::other("the local state's writer ended")))
        }
    }
}

/// Commits what waits, all of it in one transaction, until the store is dropped.
fn write_all(mut writer: Writer, queue: &mpsc::Receiver<Job>) {
    while let Ok(first) = queue.recv() {
        let mut jobs = vec![first];
        jobs.extend(queue.try_iter().take(QUEUE_JOBS_MAX));
        let (batches, waiting): (Vec<_>, Vec<_>) = jobs.into_iter().map(|job| (job.batch, job.done)).unzip();
        for (result, done) in writer.write(&batches).into_iter().zip(waiting) {
            // Whoever asked may be gone; the batch is durable all the same.
            let _ = done.send(result);
        }
    }
}

/// Name of the file in the node's state folder.
const FILE: &str = "node.redb";

/// Everything is read once at the start and kept by the agent; the cache serves commits only.
const CACHE_BYTES: usize = 512 << 10;

/// Batches that may wait: the agent has one for assignments and one for memories in flight.
const QUEUE_JOBS_MAX: usize = 64;

/// redb's commit needs little, opening the file again after an error somewhat more; the default of 2 MiB would count against an idle
/// node where the kernel does not overcommit.
const STACK_BYTES: usize = 512 << 10;

#[cfg(test)]
mod tests;
