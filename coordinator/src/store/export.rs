//! Reading all of the store at one revision, for a backup: one read transaction, a bounded part in memory.

use std::{ops::ControlFlow, sync::Arc};

use dunlin_link::Revision;
use redb::ReadableDatabase;
use tokio::sync::{mpsc, oneshot};

use super::{KeyValue, Store, StoreError, read::Snapshot};

/// All current values at one revision, as they are read. While it lives, pages that writers replace are kept; dropping it ends that.
#[derive(Debug)]
pub struct Export {
    /// Of all values.
    pub revision: Revision,
    parts: mpsc::Receiver<Result<Vec<KeyValue>, StoreError>>,
}

impl Store {
    /// Begins to read everything, in key order.
    ///
    /// # Errors
    /// [`StoreError::Failed`] when the disk cannot be read, [`StoreError::Closed`] when the store is.
    pub async fn export(&self) -> Result<Export, StoreError> {
        let (permit, database) = self.shared.reader().await?;
        let (start, started) = oneshot::channel();
        let (parts, received) = mpsc::channel(PARTS_MAX);
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let read = || {
                let snapshot = Snapshot::new(&database.begin_read()?)?;
                // Whoever asked may have gone away, which the first part finds out.
                let _ = start.send(snapshot.revision());
                send_all(&snapshot, &parts)
            };
            if let Err(error) = read() {
                let _ = parts.blocking_send(Err(shared.read_failed(&error)));
            }
        });
        let mut export = Export { revision: Revision::default(), parts: received };
        match started.await {
            Ok(revision) => {
                export.revision = revision;
                self.shared.published(revision).await?;
                Ok(export)
            }
            Err(_) => {
                let told = export.next().await.and_then(Result::err);
                Err(told.unwrap_or_else(|| self.shared.read_panicked()))
            }
        }
    }
}

impl Export {
    /// The next values; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<Vec<KeyValue>, StoreError>> {
        self.parts.recv().await
    }
}

fn send_all(
    snapshot: &Snapshot,
    parts: &mpsc::Sender<Result<Vec<KeyValue>, StoreError>>,
) -> Result<(), redb::Error> {
    let mut part = Vec::new();
    let mut bytes = 0;
    snapshot.walk(|found| {
        bytes += found.key.len() + found.value.len();
        part.push(found);
        if bytes < PART_BYTES {
            return ControlFlow::Continue(());
        }
        bytes = 0;
        // Nobody listens any more: there is nothing left to do.
        match parts.blocking_send(Ok(std::mem::take(&mut part))) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    if !part.is_empty() {
        let _ = parts.blocking_send(Ok(part));
    }
    Ok(())
}

/// Bytes of keys and values after which a part is handed over.
const PART_BYTES: usize = 256 << 10;

/// Parts that wait for who reads them.
const PARTS_MAX: usize = 2;
