//! Watches: changes as a stream of events.

use std::{collections::VecDeque, io, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use dunlin_api::Status;
use dunlin_link::Revision;
use futures_util::stream;
use rand::Rng as _;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::{
    ApiService,
    event::EventShape,
    list::Range,
    options::{Bookmarks, WatchRequest, WatchStart},
    path::ResourceRequest,
    response::ByteStream,
    seats::Seat,
    store_failed, stored,
};
use crate::{
    metrics::Counter,
    store::{KeyValue, ListOptions, StoreError, Watch, WatchEvent},
};

/// One watch: first the objects that are there, when asked for, then changes, until its time is over.
struct Watcher {
    service: ApiService,
    request: ResourceRequest,
    options: WatchRequest,
    shape: EventShape,
    range: Range,
    changes: Option<Watch>,
    initial: Option<Initial>,
    /// Changes up to here are known to the caller.
    seen: Revision,
    /// What is to be told: as it lies in the store, and written only when the caller takes it.
    waiting: VecDeque<Waiting>,
    /// Counts events.
    told: Option<Arc<Counter>>,
    ends_at: Instant,
    bookmark_at: Instant,
    /// Until the end or the next bookmark. Kept over all events, of which each would else set a timer and cancel it.
    alarm: Pin<Box<Sleep>>,
    /// Until the coordinator is about to stop.
    draining: Pin<Box<WaitForCancellationFutureOwned>>,
    is_over: bool,
    /// Held as long as the watch is served.
    _seat: Option<Seat>,
}

/// Something that is to be told.
enum Waiting {
    /// An event that is written already.
    Line(Bytes),
    /// What happened to an object.
    Object { what: EventKind, value: Bytes, revision: Revision },
    /// How far the watch is.
    Bookmark { revision: Revision, annotation: Option<&'static str> },
}

/// How far the objects that were there have been told.
struct Initial {
    revision: Revision,
    after: Option<String>,
}

/// What happened to an object, in the words of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventKind {
    Added,
    Modified,
    Deleted,
}

impl EventKind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

impl ApiService {
    /// Starts a watch.
    pub(super) async fn watch(
        &self,
        request: ResourceRequest,
        mut options: WatchRequest,
        shape: EventShape,
        seat: Option<Seat>,
    ) -> Result<ByteStream, Status> {
        let kind = request.kind;
        let range = Range::new(&request, &options.selection, stored::prefix(kind, &request.namespace));
        if range.is_one {
            // The key says as much, and needs no object to be decoded.
            options.selection.fields.forget_exact("metadata.name");
        }
        let newest = self.store().revision();
        let (from, initial) = match options.start {
            WatchStart::Initial(asked) => {
                self.check_reached(asked)?;
                (newest, Some(Initial { revision: newest, after: None }))
            }
            WatchStart::Now(asked) => {
                self.check_reached(asked)?;
                (newest, None)
            }
            // What lies in the future is waited for: changes up to it are left out.
            WatchStart::After(revision) => (revision.min(newest), None),
        };
        let seen = match options.start {
            WatchStart::After(revision) => revision,
            WatchStart::Initial(_) | WatchStart::Now(_) => newest,
        };
        let changes = if range.is_one {
            self.store().watch_key(&range.prefix, from).await
        } else {
            self.store().watch(&range.prefix, from).await
        };
        let (changes, first_line) = match changes {
            Ok(changes) => (Some(changes), None),
            Err(error @ StoreError::Compacted { .. }) => {
                (None, Some(shape.error(&too_old(from, newest, &error))))
            }
            Err(error) => return Err(store_failed(error)),
        };
        let now = Instant::now();
        let (ends_at, bookmark_at) =
            (now + options.timeout.unwrap_or_else(default_timeout), now + BOOKMARK_INTERVAL);
        let watcher = Watcher {
            service: self.clone(),
            request,
            shape,
            range,
            is_over: changes.is_none(),
            changes,
            initial,
            seen,
            waiting: first_line.into_iter().map(Waiting::Line).collect(),
            told: self.inner.figures.watch_events(kind),
            ends_at,
            bookmark_at,
            alarm: Box::pin(sleep_until(alarm_at(ends_at, bookmark_at, options.bookmarks))),
            draining: Box::pin(self.inner.draining.clone().cancelled_owned()),
            options,
            _seat: seat,
        };
        Ok(ByteStream::new(stream::unfold(watcher, |mut watcher| async {
            watcher.next().await.map(|lines| (io::Result::Ok(lines), watcher))
        })))
    }
}

impl Watcher {
    /// The next lines, together as far as they are there; `None` when the watch is over.
    async fn next(&mut self) -> Option<Bytes> {
        while self.waiting.is_empty() {
            if self.is_over {
                return None;
            }
            if let Err(status) = self.advance().await {
                self.fail(&status);
            }
        }
        let mut batch = Vec::new();
        while batch.len() < BATCH_BYTES
            && let Some(next) = self.waiting.pop_front()
        {
            match self.written(next) {
                Ok(line) => batch.extend_from_slice(&line),
                Err(status) => self.fail(&status),
            }
        }
        Some(batch.into())
    }

    /// Ends the watch with the event that says why.
    fn fail(&mut self, status: &Status) {
        self.waiting.clear();
        self.waiting.push_back(Waiting::Line(self.shape.error(status)));
        self.is_over = true;
    }

    fn written(&mut self, waiting: Waiting) -> Result<Bytes, Status> {
        match waiting {
            Waiting::Line(line) => Ok(line),
            Waiting::Bookmark { revision, annotation } => {
                self.shape.bookmark(self.request.kind, revision, annotation)
            }
            Waiting::Object { what, value, revision } => {
                if let Some(told) = &self.told {
                    told.increment();
                }
                let now = self.service.clock().now();
                self.shape.event(self.request.kind, what, &value, revision, now)
            }
        }
    }

    async fn advance(&mut self) -> Result<(), Status> {
        if let Some(initial) = self.initial.take() {
            return self.tell_initial(initial).await;
        }
        let Some(changes) = &mut self.changes else {
            self.is_over = true;
            return Ok(());
        };
        tokio::select! {
            biased;
            () = self.alarm.as_mut() => {
                if Instant::now() >= self.ends_at {
                    self.is_over = true;
                    return Ok(());
                }
                self.bookmark_at = Instant::now() + BOOKMARK_INTERVAL;
                self.alarm.as_mut().reset(alarm_at(self.ends_at, self.bookmark_at, self.options.bookmarks));
                let revision = changes.position().max(self.seen);
                self.waiting.push_back(Waiting::Bookmark { revision, annotation: None });
            }
            () = self.draining.as_mut() => self.is_over = true,
            events = changes.next() => match events {
                Some(Ok(events)) => self.tell_changes(events)?,
                Some(Err(error)) => return Err(store_failed(error)),
                None => self.is_over = true,
            },
        }
        Ok(())
    }

    async fn tell_initial(&mut self, initial: Initial) -> Result<(), Status> {
        let options = ListOptions {
            prefix: self.range.prefix.clone(),
            after: initial.after,
            limit: Some(INITIAL_CHUNK),
            at: Some(initial.revision),
        };
        let mut page = self.service.store().list_part(options).await.map_err(store_failed)?;
        page.items.iter_mut().for_each(|item| self.service.renew_lease(self.request.kind, item));
        let after = page.items.last().map(|item| item.key.clone());
        let range = &self.range;
        for item in page.items.into_iter().filter(|item| !range.is_one || item.key == range.prefix) {
            if self.options.selection.matches_stored(self.request.kind, &item)? {
                let KeyValue { value, mod_revision: revision, .. } = item;
                self.waiting.push_back(Waiting::Object { what: EventKind::Added, value, revision });
            }
        }
        if page.more {
            self.initial = Some(Initial { revision: initial.revision, after });
        } else if self.options.bookmarks == Bookmarks::InitialEnd {
            let annotation = Some(INITIAL_EVENTS_END);
            self.waiting.push_back(Waiting::Bookmark { revision: initial.revision, annotation });
        }
        Ok(())
    }

    fn tell_changes(&mut self, events: Vec<WatchEvent>) -> Result<(), Status> {
        let (seen, kind) = (self.seen, self.request.kind);
        for WatchEvent { value, previous, revision, .. } in events {
            if revision <= seen {
                continue;
            }
            let selection = &self.options.selection;
            let before = match previous {
                Some((value, revision)) if selection.matches_value(kind, &value, revision)? => Some(value),
                _ => None,
            };
            let after = match value {
                Some(value) if selection.matches_value(kind, &value, revision)? => Some(value),
                _ => None,
            };
            let (what, value) = match (before, after) {
                (None, Some(value)) => (EventKind::Added, value),
                (Some(_), Some(value)) => (EventKind::Modified, value),
                // What leaves the selection is told as it was when it was still in it.
                (Some(value), None) => (EventKind::Deleted, value),
                (None, None) => continue,
            };
            self.waiting.push_back(Waiting::Object { what, value, revision });
        }
        Ok(())
    }
}

/// When a watch has to look at the clock.
fn alarm_at(ends_at: Instant, bookmark_at: Instant, bookmarks: Bookmarks) -> Instant {
    if bookmarks == Bookmarks::None { ends_at } else { ends_at.min(bookmark_at) }
}

fn too_old(asked: Revision, newest: Revision, error: &StoreError) -> Status {
    let oldest = match error {
        StoreError::Compacted { oldest, .. } => *oldest,
        _ => newest,
    };
    Status::expired(format!("too old resource version: {asked} ({oldest})"))
}

/// Watches without a timeout end at different times, so that their clients do not come back together.
fn default_timeout() -> Duration {
    Duration::from_secs(rand::rng().random_range(TIMEOUT_SECONDS_MIN..2 * TIMEOUT_SECONDS_MIN))
}

/// Marks the end of the objects that were there when a watch began.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";
/// Kubernetes' own interval.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// Kubernetes' own default.
const TIMEOUT_SECONDS_MIN: u64 = 1800;
/// Objects read at once at the start of a watch.
const INITIAL_CHUNK: usize = 500;
/// Lines are sent together up to about this size.
const BATCH_BYTES: usize = 64 << 10;
