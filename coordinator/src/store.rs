//! A key-value map with one global revision, on redb: get, list, transactions with compare, watch.
//!
//! One writer thread commits in groups that share one flush of the write-ahead log; redb itself is made durable when the log is
//! full. Readers run on blocking threads, a bounded number at a time. Formats are in `docs/design/store.md`. This module does not
//! know what a value means; the header that the API service gives its values is in [`value`].

mod ages;
mod entry;
mod export;
mod figures;
mod interest;
mod log;
mod open;
mod read;
mod rebuild;
mod recent;
mod record;
mod shared;
mod stopped;
mod tables;
pub mod value;
mod verify;
mod watch;
mod writer;

#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use bytes::Bytes;
use dunlin_link::Revision;
use tokio::sync::{mpsc, oneshot};

use self::{
    interest::Watched,
    read::Extent,
    shared::Shared,
    writer::{Command, Request},
};

pub use self::{
    export::Export,
    open::{Absent, OpenError, StoreOptions},
    rebuild::{Rebuild, RebuildError},
    watch::Watch,
};
pub(crate) use self::{
    read::{PAGE_BYTES_MAX, PART_BYTES_MAX},
    stopped::read_stopped,
};

/// Handle to the store; cheap to clone. Dropping the last handle closes it.
#[derive(Clone, Debug)]
pub struct Store {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
}

impl Store {
    /// Commits a transaction durably, sharing the disk's flush with others that arrive meanwhile. Waits while the queue is full.
    /// A caller that stops waiting does not take its transaction back.
    ///
    /// # Errors
    /// [`StoreError::Malformed`] when a bound is broken, a key is written twice, or an absent key is deleted; nothing happened.
    /// [`StoreError::Failed`] when the disk failed; the transaction may or may not be found after the next open.
    pub async fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        let bytes = txn.check()?;
        let room = self.shared.queue_room(bytes).await?;
        let (reply, answer) = oneshot::channel();
        let command = Command::Commit(Request { txn, reply, room });
        if self.commands.send(command).await.is_err() {
            return Err(self.shared.ended());
        }
        self.answer(answer).await.unwrap_or_else(|| Err(self.shared.ended()))
    }

    /// Raises the persisted term by one and answers it: the first half of an epoch, taken once per start of a coordinator.
    ///
    /// # Errors
    /// As [`Store::txn`]; [`StoreError::Malformed`] also when the stored term is not a number.
    pub async fn next_term(&self) -> Result<u64, StoreError> {
        loop {
            let stored = self.get(TERM_KEY).await?;
            let (compare, term) = match stored {
                None => (Compare::Absent(TERM_KEY.to_owned()), 1),
                Some(found) => {
                    let term: u64 = std::str::from_utf8(&found.value)
                        .ok()
                        .and_then(|text| text.parse().ok())
                        .ok_or(StoreError::Malformed("the stored term is not a number"))?;
                    (Compare::ModRevision(found.key, found.mod_revision), term + 1)
                }
            };
            let write = Write::Put(TERM_KEY.to_owned(), Bytes::from(term.to_string()));
            let txn = Txn { compares: vec![compare], writes: vec![write] };
            if let TxnOutcome::Committed(_) = self.txn(txn).await? {
                return Ok(term);
            }
        }
    }

    /// Commits what is queued, makes the database file whole, and releases the files. Every later call answers
    /// [`StoreError::Closed`], and watches end.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.commands.send(Command::Close(done)).await.is_ok() {
            // The writer drops `done` only when it has ended, which is as good as an answer.
            let _ = self.answer(closed).await;
        }
    }

    /// Waits for the writer's answer; `None` when it has ended without one. What is sent at the moment of its end stays in the queue,
    /// and the answer with it, for as long as there are handles.
    async fn answer<T>(&self, mut answer: oneshot::Receiver<T>) -> Option<T> {
        tokio::select! {
            biased;
            answered = &mut answer => answered.ok(),
            () = self.shared.over() => answer.try_recv().ok(),
        }
    }

    /// Why there will be no more changes, once watches have ended.
    pub(crate) fn ended(&self) -> StoreError {
        self.shared.ended()
    }

    /// The newest committed revision.
    pub fn revision(&self) -> Revision {
        self.shared.revision()
    }

    /// The oldest revision that lists and watches can still start at.
    pub fn oldest_revision(&self) -> Revision {
        self.shared.floor()
    }

    /// The value of `key` now.
    ///
    /// # Errors
    /// [`StoreError::Failed`] when the disk cannot be read.
    pub async fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError> {
        let key = key.to_owned();
        let (found, revision) = self.shared.read(move |snapshot| snapshot.get(&key)).await?;
        self.shared.published(revision).await?;
        Ok(found)
    }

    /// A consistent page, shorter than its limit where values are large. A list without a limit is wholly in memory, so callers page
    /// what can be large.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] and [`StoreError::Future`] for an `at` outside of what is kept.
    pub async fn list(&self, options: ListOptions) -> Result<Page, StoreError> {
        self.list_to(options, Extent::Page).await
    }

    /// The same for whoever reads on and on: ends after fewer bytes, and counts nothing of what follows.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub async fn list_part(&self, options: ListOptions) -> Result<Page, StoreError> {
        self.list_to(options, Extent::Part).await
    }

    async fn list_to(&self, options: ListOptions, extent: Extent) -> Result<Page, StoreError> {
        if let Some(asked) = options.at {
            self.shared.check_kept(asked)?;
        }
        let (page, revision) = self.shared.read(move |snapshot| snapshot.list(&options, extent)).await?;
        self.shared.published(revision).await?;
        page
    }

    /// Changes of keys under `prefix` after `from`.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] and [`StoreError::Future`] for a `from` outside of what is kept.
    #[expect(clippy::unused_async, reason = "a store that is reached over a network waits here")]
    pub async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, StoreError> {
        Watch::start(&self.shared, Watched::Prefix(prefix), from)
    }

    /// Changes of one key after `from`.
    ///
    /// # Errors
    /// As [`Store::watch`].
    #[expect(clippy::unused_async, reason = "as for a prefix")]
    pub async fn watch_key(&self, key: &str, from: Revision) -> Result<Watch, StoreError> {
        Watch::start(&self.shared, Watched::Key(key), from)
    }
}

/// A key's current value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: String,
    /// The bytes as they were written.
    pub value: Bytes,
    /// Revision of the write that made this value.
    pub mod_revision: Revision,
}

/// A transaction: all compares hold and all writes happen, or nothing does.
#[derive(Clone, Debug, Default)]
pub struct Txn {
    /// What must hold.
    pub compares: Vec<Compare>,
    /// What is then written, at one new revision. A key may appear once.
    pub writes: Vec<Write>,
}

/// A condition on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key does not exist.
    Absent(String),
    /// The key's value was written at this revision.
    ModRevision(String, Revision),
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Set the value.
    Put(String, Bytes),
    /// Remove the key; removing an absent key is an error.
    Delete(String),
}

/// Result of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnOutcome {
    /// Durable at this revision.
    Committed(Revision),
    /// This compare (by index) did not hold; the key's current value, if any.
    Conflict(usize, Option<KeyValue>),
}

/// One page of a consistent list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// In key order.
    pub items: Vec<KeyValue>,
    /// The revision the list is consistent at.
    pub revision: Revision,
    /// Whether keys follow after the last item.
    pub more: bool,
    /// Number of keys that follow, when known.
    pub remaining: Option<u64>,
}

/// What to list.
#[derive(Clone, Debug)]
pub struct ListOptions {
    /// Only keys that start with this.
    pub prefix: String,
    /// Only keys after this one.
    pub after: Option<String>,
    /// At most so many; `None` is all.
    pub limit: Option<usize>,
    /// Consistent at this revision; `None` is the newest.
    pub at: Option<Revision>,
}

/// A change, as a watch tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchEvent {
    /// The key.
    pub key: String,
    /// Revision of the change.
    pub revision: Revision,
    /// The new value; `None` for a deletion.
    pub value: Option<Bytes>,
    /// The value before and its revision; `None` for a creation.
    pub previous: Option<(Bytes, Revision)>,
}

/// Why the store could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The revision asked for was compacted; lists and watches can start at `oldest`.
    #[error("revision {asked} has been compacted, the oldest kept is {oldest}")]
    Compacted {
        /// What was asked.
        asked: Revision,
        /// What is still there.
        oldest: Revision,
    },
    /// The revision asked for is not there yet.
    #[error("revision {asked} is in the future, the newest is {newest}")]
    Future {
        /// What was asked.
        asked: Revision,
        /// What there is.
        newest: Revision,
    },
    /// A transaction broke a bound or named a key twice.
    #[error("malformed transaction: {0}")]
    Malformed(&'static str),
    /// The disk failed; the store takes no more writes.
    #[error("the store at `{path}` failed: {reason}")]
    Failed {
        /// Where it is.
        path: String,
        /// What the system said first.
        reason: String,
    },
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
}

impl Txn {
    /// The bytes this transaction writes, once its bounds are known to hold.
    fn check(&self) -> Result<usize, StoreError> {
        if self.writes.len() > TXN_WRITES_MAX || self.compares.len() > TXN_WRITES_MAX {
            return Err(StoreError::Malformed("too many keys in one transaction"));
        }
        let mut keys: Vec<&str> = self.writes.iter().map(Write::key).collect();
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(StoreError::Malformed("a key is written twice"));
        }
        if keys.iter().any(|key| key.is_empty() || key.len() > KEY_BYTES_MAX) {
            return Err(StoreError::Malformed("a key is empty or too long"));
        }
        if self.writes.iter().any(|write| write.value().map_or(0, Bytes::len) > VALUE_BYTES_MAX) {
            return Err(StoreError::Malformed("a value is too large"));
        }
        let bytes = self.writes.iter().map(Write::bytes).sum();
        if bytes > TXN_BYTES_MAX {
            return Err(StoreError::Malformed("the transaction is too large"));
        }
        Ok(bytes)
    }
}

impl Compare {
    /// The key that is compared.
    fn key(&self) -> &str {
        match self {
            Self::Absent(key) | Self::ModRevision(key, _) => key,
        }
    }

    /// Whether the condition holds of a key whose current value was written at `current`.
    fn holds(&self, current: Option<Revision>) -> bool {
        match self {
            Self::Absent(_) => current.is_none(),
            Self::ModRevision(_, revision) => current == Some(*revision),
        }
    }
}

impl Write {
    /// The key that is written.
    fn key(&self) -> &str {
        match self {
            Self::Put(key, _) | Self::Delete(key) => key,
        }
    }

    /// The value that is set; `None` for a deletion.
    fn value(&self) -> Option<&Bytes> {
        match self {
            Self::Put(_, value) => Some(value),
            Self::Delete(_) => None,
        }
    }

    /// What this write counts against the bounds on bytes.
    fn bytes(&self) -> usize {
        self.key().len() + self.value().map_or(0, Bytes::len) + WRITE_OVERHEAD_BYTES
    }
}

/// Longest key: a registry path with the longest names Kubernetes allows is below 800.
pub const KEY_BYTES_MAX: usize = 1024;

/// Largest value: the largest request body, with room for what defaulting and managed fields add.
pub const VALUE_BYTES_MAX: usize = 4 << 20;

/// Most that one transaction may write.
pub const TXN_BYTES_MAX: usize = 8 << 20;

/// Most keys that one transaction may compare, and may write; a watch delivers them in one piece.
pub const TXN_WRITES_MAX: usize = 1024;

/// What a write costs beside key and value: headers in the log and in the tables.
const WRITE_OVERHEAD_BYTES: usize = 32;

/// Where the term is kept, as decimal digits.
const TERM_KEY: &str = "/dunlin/term";
