//! What is kept in memory of the objects under a prefix, brought up to date whenever it is looked at.
//!
//! No task feeds it: a look first folds in what the store has committed since the last one, so that nothing that was acknowledged, a
//! right that was taken above all, is ever missed, and nothing runs while nobody asks.

use std::sync::{
    PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use dunlin_link::Revision;
use tokio::sync::Mutex;

use super::stored::{self, StoredKey};
use crate::store::{ListOptions, Store, StoreError, Watch, WatchEvent};

/// Something lean that follows from objects.
pub(super) trait Projection: Default {
    /// Folds in an object as stored.
    fn put(&mut self, key: StoredKey<'_>, json: &[u8]);
    /// Forgets an object.
    fn remove(&mut self, key: StoredKey<'_>);
}

/// A projection of the objects under a prefix.
#[derive(Debug)]
pub(super) struct Followed<T> {
    prefix: String,
    /// The revision that the projection is of, and one more, so that zero is before everything.
    seen: AtomicU64,
    /// Where to go on; one look at a time does.
    feed: Mutex<Option<Watch>>,
    value: RwLock<T>,
}

impl<T: Projection> Followed<T> {
    /// Follows the objects whose keys start with `prefix`. Nothing is read yet.
    pub(super) fn new(prefix: String) -> Self {
        Self { prefix, seen: AtomicU64::new(0), feed: Mutex::new(None), value: RwLock::default() }
    }

    /// Looks at the projection as of now.
    pub(super) async fn look<R>(&self, store: &Store, look: impl FnOnce(&T) -> R) -> Result<R, StoreError> {
        self.catch_up(store).await?;
        Ok(self.peek(look))
    }

    /// Looks at the projection as of the last look.
    pub(super) fn peek<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        // What is folded in is whole after each object, so that a panic elsewhere does not matter.
        look(&self.value.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn catch_up(&self, store: &Store) -> Result<(), StoreError> {
        let newest = store.revision();
        if self.seen.load(Ordering::Acquire) > newest.0 {
            return Ok(());
        }
        let mut feed = self.feed.lock().await;
        if let Some(watch) = feed.as_mut() {
            match watch.pending().await {
                Ok(events) => {
                    self.fold(&events);
                    self.reached(watch.position());
                    return Ok(());
                }
                // It was not asked for so long that the changes are gone.
                Err(StoreError::Compacted { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let revision = self.load(store).await?;
        *feed = Some(store.watch(&self.prefix, revision).await?);
        self.reached(revision);
        Ok(())
    }

    async fn load(&self, store: &Store) -> Result<Revision, StoreError> {
        let mut fresh = T::default();
        let mut options =
            ListOptions { prefix: self.prefix.clone(), after: None, limit: Some(PAGE), at: None };
        loop {
            let page = store.list_part(options.clone()).await?;
            for item in &page.items {
                put(&mut fresh, &item.key, &item.value);
            }
            options.at = Some(page.revision);
            options.after = page.items.last().map(|item| item.key.clone());
            if !page.more {
                *self.value.write().unwrap_or_else(PoisonError::into_inner) = fresh;
                return Ok(page.revision);
            }
        }
    }

    fn fold(&self, events: &[WatchEvent]) {
        if events.is_empty() {
            return;
        }
        let mut value = self.value.write().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            match &event.value {
                Some(bytes) => put(&mut *value, &event.key, bytes),
                None => StoredKey::parse(&event.key).into_iter().for_each(|key| value.remove(key)),
            }
        }
    }

    fn reached(&self, revision: Revision) {
        self.seen.store(revision.0.saturating_add(1), Ordering::Release);
    }
}

fn put(value: &mut impl Projection, key: &str, bytes: &[u8]) {
    let Some(parsed) = StoredKey::parse(key) else { return };
    match stored::json(bytes) {
        Ok(json) => value.put(parsed, json),
        Err(error) => {
            tracing::error!(key, %error, "a stored object is malformed");
            value.remove(parsed);
        }
    }
}

/// Objects read at once.
const PAGE: usize = 500;
