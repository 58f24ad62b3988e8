//! Changes as a stream: from memory while the reader keeps up, else from history.

use std::sync::Arc;

use dunlin_link::Revision;
use tokio::sync::watch;

use crate::store::{StoreError, WatchEvent, recent::Changes, shared::Shared};

/// A stream of changes in revision order. Holds no queue of its own: it is a place in the store's history.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    published: watch::Receiver<Revision>,
    prefix: String,
    position: Revision,
    ended: bool,
}

impl Watch {
    pub(super) fn start(shared: &Arc<Shared>, prefix: &str, from: Revision) -> Result<Self, StoreError> {
        if !shared.is_recent(from) {
            shared.check_kept(from)?;
        }
        let newest = shared.revision();
        if from > newest {
            return Err(StoreError::Future { asked: from, newest });
        }
        Ok(Self {
            shared: Arc::clone(shared),
            published: shared.subscribe(),
            prefix: prefix.to_owned(),
            position: from,
            ended: false,
        })
    }

    /// The next changes: all of one revision or more, never part of one. `None` when the store closed, or after an error. Nothing
    /// is lost when the future is dropped.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] when this reader fell too far behind; it must list again.
    pub async fn next(&mut self) -> Option<Result<Vec<WatchEvent>, StoreError>> {
        while !self.ended {
            let newest = *self.published.borrow_and_update();
            if self.position < newest {
                match self.changes().await {
                    Ok(Changes { events, upto }) => {
                        self.position = upto;
                        if !events.is_empty() {
                            return Some(Ok(events));
                        }
                    }
                    Err(error) => {
                        self.ended = true;
                        return Some(Err(error));
                    }
                }
            } else if self.published.changed().await.is_err() {
                self.ended = true;
            }
        }
        None
    }

    /// The changes that are there by now, without waiting for more.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] when this reader fell too far behind; it must list again.
    pub(crate) async fn pending(&mut self) -> Result<Vec<WatchEvent>, StoreError> {
        let newest = self.shared.revision();
        let mut pending = Vec::new();
        while self.position < newest {
            let Changes { events, upto } = self.changes().await?;
            self.position = upto;
            pending.extend(events);
        }
        Ok(pending)
    }

    /// Everything up to this revision has been told: where a bookmark stands, and where another watch can go on.
    pub fn position(&self) -> Revision {
        self.position
    }

    async fn changes(&self) -> Result<Changes, StoreError> {
        if let Some(changes) = self.shared.recent_changes(self.position, &self.prefix) {
            return Ok(changes);
        }
        self.shared.check_kept(self.position)?;
        let (position, prefix) = (self.position, self.prefix.clone());
        self.shared.read(move |snapshot| snapshot.changes(position, &prefix)).await?.0
    }
}
