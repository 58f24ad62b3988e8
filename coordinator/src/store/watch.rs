//! Changes as a stream: from memory while the reader keeps up, else from history.

use std::sync::Arc;

use dunlin_link::Revision;

use crate::store::{
    StoreError, WatchEvent,
    interest::{Place, Watched},
    recent::Changes,
    shared::Shared,
};

/// A stream of changes in revision order. Holds no queue of its own: it is a place in the store's history.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    place: Place,
    prefix: String,
    /// Whether the prefix is the one key that is watched.
    is_key: bool,
    /// Everything up to here was told, or does not concern this watch.
    position: Revision,
    /// Between the position and this, changes may concern it.
    target: Revision,
    ended: bool,
}

impl Watch {
    pub(super) fn start(
        shared: &Arc<Shared>,
        watched: Watched<'_>,
        from: Revision,
    ) -> Result<Self, StoreError> {
        if !shared.is_recent(from) {
            shared.check_kept(from)?;
        }
        let newest = shared.revision();
        if from > newest {
            return Err(StoreError::Future { asked: from, newest });
        }
        let (place, target) = shared.enter(watched);
        let (prefix, is_key) = (watched.prefix().to_owned(), matches!(watched, Watched::Key(_)));
        Ok(Self { shared: Arc::clone(shared), place, prefix, is_key, position: from, target, ended: false })
    }

    /// The next changes: all of one revision or more, never part of one. `None` when the store closed, or after an error. Nothing
    /// is lost when the future is dropped.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] when this reader fell too far behind; it must list again.
    pub async fn next(&mut self) -> Option<Result<Vec<WatchEvent>, StoreError>> {
        while !self.ended {
            // Before looking, so that changes made before the end are told.
            let over = self.shared.is_over();
            if self.look() {
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
            } else if over {
                self.ended = true;
            } else {
                self.place.woken().await;
            }
        }
        None
    }

    /// The changes that are there by now, without waiting for more.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] when this reader fell too far behind; it must list again.
    pub(crate) async fn pending(&mut self) -> Result<Vec<WatchEvent>, StoreError> {
        let mut pending = Vec::new();
        if !self.look() {
            return Ok(pending);
        }
        let newest = self.target;
        while self.position < newest {
            let Changes { events, upto } = self.changes().await?;
            self.position = upto;
            pending.extend(events);
        }
        Ok(pending)
    }

    /// Everything up to this revision has been told: where a bookmark stands, and where another watch can go on.
    pub fn position(&self) -> Revision {
        if self.position < self.target {
            return self.position;
        }
        self.shared.quiet_until(&self.place).map_or(self.position, |newest| newest.max(self.position))
    }

    /// Whether there are changes to read; if not, the position is the newest revision.
    fn look(&mut self) -> bool {
        if self.position < self.target {
            return true;
        }
        let (from, newest) = self.shared.take_interest(&self.place);
        match from {
            // What was told beyond the target may have been noted meanwhile.
            Some(from) => {
                self.position = self.position.max(Revision(from.0.saturating_sub(1)));
                self.target = newest;
            }
            None => self.position = self.position.max(newest),
        }
        self.position < self.target
    }

    async fn changes(&self) -> Result<Changes, StoreError> {
        let mut changes = match self.shared.recent_changes(self.position, &self.prefix) {
            Some(changes) => changes,
            None => self.older_changes().await?,
        };
        if self.is_key {
            changes.events.retain(|event| event.key == self.prefix);
        }
        Ok(changes)
    }

    async fn older_changes(&self) -> Result<Changes, StoreError> {
        self.shared.check_kept(self.position)?;
        let (position, prefix) = (self.position, self.prefix.clone());
        self.shared.read(move |snapshot| snapshot.changes(position, &prefix)).await?.0
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.leave(&self.place);
    }
}
