//! The one thread that writes: takes what is queued as a group, applies it, makes it durable, then answers.

use std::{io, sync::Arc, time::Instant};

use redb::{Database, Durability, WriteTransaction};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use dunlin_link::Revision;

use crate::store::{
    StoreError, Txn, TxnOutcome,
    entry::Meta,
    log::Log,
    record::RecordBuilder,
    shared::{Shared, root_cause},
    tables::{Pruning, Tables},
};

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    Commit(Request),
    /// Commit what came before, close the files, then answer.
    Close(oneshot::Sender<()>),
}

/// A transaction in the queue.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) txn: Txn,
    pub(super) reply: oneshot::Sender<Result<TxnOutcome, StoreError>>,
    /// Given back when the request is answered.
    pub(super) room: OwnedSemaphorePermit,
}

/// Why a group could not be committed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommitError {
    #[error("the database failed")]
    Database(#[from] redb::Error),
    #[error("the log failed")]
    Log(#[from] io::Error),
}

/// Owns the files' contents; see [`Writer::run`].
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) database: Arc<Database>,
    pub(super) log: Log,
    pub(super) meta: Meta,
    pub(super) history_bytes_max: u64,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) published: watch::Sender<Revision>,
    /// After the queue, which nobody empties from then on.
    pub(super) _end: End,
}

/// Tells everyone that the writer has ended, whatever ended it.
#[derive(Debug)]
pub(super) struct End(pub(super) Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.finish();
    }
}

impl Writer {
    /// Commits until every handle is gone, the store is closed, or the disk fails.
    pub(super) fn run(mut self) {
        let unwinding = FailOnUnwind(Arc::clone(&self.shared));
        let mut closing = None;
        while closing.is_none()
            && let Some(command) = self.commands.blocking_recv()
        {
            let group;
            (group, closing) = self.gather(command);
            if let Err(error) = self.commit(group) {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the store failed and takes no more writes"
                );
                break;
            }
        }
        std::mem::forget(unwinding);
        self.close();
        drop(closing);
    }

    /// The command and those that wait behind it, up to a bound; and the end of the store, when it is asked for.
    fn gather(&mut self, first: Command) -> (Vec<Request>, Option<oneshot::Sender<()>>) {
        let mut group = Vec::new();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(command) = next {
            match command {
                Command::Close(done) => return (group, Some(done)),
                Command::Commit(request) => {
                    bytes += request.room.num_permits();
                    group.push(request);
                }
            }
            let full = group.len() >= GROUP_TXNS_MAX || bytes >= GROUP_UNITS_MAX;
            next = if full { None } else { self.commands.try_recv().ok() };
        }
        (group, None)
    }

    /// Writes a group and answers everyone in it.
    fn commit(&mut self, group: Vec<Request>) -> Result<(), CommitError> {
        let started = Instant::now();
        match self.write(&group) {
            Ok(outcomes) => {
                self.shared.figures().written(group.len(), started.elapsed());
                for (request, outcome) in group.into_iter().zip(outcomes) {
                    // A caller that went away does not want the answer.
                    let _ = request.reply.send(outcome);
                }
                Ok(())
            }
            Err(error) => {
                // The state comes first: whoever is refused may ask again at once.
                self.shared.fail(root_cause(&error));
                for request in group {
                    let _ = request.reply.send(Err(self.shared.ended()));
                }
                Err(error)
            }
        }
    }

    /// Applies a group and makes it durable; when this returns, readers and watches see it.
    fn write(&mut self, group: &[Request]) -> Result<Vec<Result<TxnOutcome, StoreError>>, CommitError> {
        let txn = self.database.begin_write().map_err(redb::Error::from)?;
        let mut meta = self.meta;
        let mut record = RecordBuilder::new(meta.log_epoch, Revision(meta.revision.0 + 1));
        let mut outcomes = Vec::with_capacity(group.len());
        let mut events = Vec::new();
        let mut tables = Tables::open(&txn)?;
        for Request { txn, .. } in group {
            let before = meta.revision;
            outcomes.push(tables.execute(txn, &mut meta, &mut events)?);
            if meta.revision > before {
                record.push(&txn.writes);
            }
        }
        if meta.revision == self.meta.revision {
            drop(tables);
            txn.abort().map_err(redb::Error::from)?;
            return Ok(outcomes);
        }
        let pruning = Pruning {
            aged: self.shared.floor(),
            history_bytes_max: self.history_bytes_max,
            changes_max: PRUNED_MIN + PRUNED_PER_CHANGE * events.len(),
        };
        tables.prune(pruning, &mut meta)?;
        if self.log.fits(record.len()) {
            tables.save(&meta)?;
            drop(tables);
            self.log.append(record.finish())?;
            commit_to_memory(txn)?;
        } else {
            meta.log_epoch += 1;
            tables.save(&meta)?;
            drop(tables);
            commit_to_disk(txn)?;
            self.log.restart(meta.log_epoch, meta.revision)?;
        }
        self.meta = meta;
        self.shared.committed(&meta, events, &self.published).wake();
        Ok(outcomes)
    }

    fn checkpoint(&mut self) -> Result<(), CommitError> {
        checkpoint(&self.database, &mut self.meta)?;
        Ok(self.log.restart(self.meta.log_epoch, self.meta.revision)?)
    }

    /// Makes the database whole without the log, and gives up the files.
    fn close(mut self) {
        if matches!(self.shared.ended(), StoreError::Closed)
            && !self.log.is_empty()
            && let Err(error) = self.checkpoint()
        {
            // Everything acknowledged is in the log, from which the next open takes it.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "writing the store's last checkpoint failed"
            );
        }
        drop(self.shared.release());
        drop(self.database);
        if let Err(error) = self.log.close() {
            tracing::warn!(error = &error as &dyn std::error::Error, "closing the store's log failed");
        }
    }
}

/// Makes everything in the database durable, so that the log is not needed.
pub(super) fn checkpoint(database: &Database, meta: &mut Meta) -> Result<(), redb::Error> {
    let txn = database.begin_write()?;
    meta.log_epoch += 1;
    Tables::open(&txn)?.save(meta)?;
    commit_to_disk(txn)
}

/// Makes a transaction visible; the log has made it durable.
fn commit_to_memory(mut txn: WriteTransaction) -> Result<(), redb::Error> {
    txn.set_durability(Durability::None)?;
    Ok(txn.commit()?)
}

/// Makes a transaction and all before it durable, such that opening after a crash need not read the whole file.
pub(super) fn commit_to_disk(mut txn: WriteTransaction) -> Result<(), redb::Error> {
    txn.set_quick_repair(true);
    Ok(txn.commit()?)
}

/// Marks the store failed when the writer's thread unwinds, so that nobody takes it for closed.
struct FailOnUnwind(Arc<Shared>);

impl Drop for FailOnUnwind {
    fn drop(&mut self) {
        self.0.fail("its writer panicked".to_owned());
    }
}

/// Commands that wait for the writer, beside the bound on their bytes.
pub(super) const COMMANDS_MAX: usize = 1024;

/// Transactions in one group: more would make the first of them wait for the last.
const GROUP_TXNS_MAX: usize = 512;

/// Kibibytes of transactions in one group.
const GROUP_UNITS_MAX: usize = 4 << 10;

/// Old changes that any commit may remove.
const PRUNED_MIN: usize = 16;

/// Old changes removed per change made, so that history shrinks while it is written.
const PRUNED_PER_CHANGE: usize = 2;
