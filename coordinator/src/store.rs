//! A key-value map with one global revision, on redb: get, list, transactions with compare, watch.

use bytes::Bytes;
use dunlin_link::Revision;

/// Handle to the store; cheap to clone. Dropping the last handle closes it.
#[derive(Clone, Debug)]
pub struct Store;

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
#[derive(Debug, thiserror::Error)]
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
    #[error("the store at `{path}` failed")]
    Failed {
        /// Where it is.
        path: String,
    },
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
}

/// A stream of changes in revision order.
#[derive(Debug)]
pub struct Watch;

impl Watch {
    /// The next changes: all of one revision or more, never part of one. `None` when the store closed.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] when this reader fell too far behind; it must list again.
    pub async fn next(&mut self) -> Option<Result<Vec<WatchEvent>, StoreError>> {
        unimplemented!()
    }
}

impl Store {
    /// The newest committed revision.
    pub fn revision(&self) -> Revision {
        unimplemented!()
    }

    /// The value of `key` now.
    pub async fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError> {
        unimplemented!("{key}")
    }

    /// A consistent page.
    pub async fn list(&self, options: ListOptions) -> Result<Page, StoreError> {
        unimplemented!("{options:?}")
    }

    /// Commits a transaction durably, sharing the disk's flush with others that arrive meanwhile.
    pub async fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        unimplemented!("{txn:?}")
    }

    /// Changes of keys under `prefix` after `from`.
    pub async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, StoreError> {
        unimplemented!("{prefix} {from}")
    }
}
