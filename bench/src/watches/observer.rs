//! Reads the lines of one watch and keeps what they say.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::Deserialize;

use super::{
    SharedSeen,
    record::{Sequence, Told, What},
};

/// Cuts bytes into lines.
#[derive(Debug)]
pub(super) struct Observer {
    epoch: Instant,
    partial: Vec<u8>,
    seen: SharedSeen,
}

/// What a watch has told so far.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<State>);

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) sequence: Sequence,
    pub(super) told: usize,
    /// Kept of watches of everything only.
    pub(super) list: Option<Vec<Told>>,
    last: u64,
    /// When each write was sent, and how long after that it was told.
    pub(super) delays: Vec<(Duration, Duration)>,
    /// What no watch should do.
    pub(super) fault: Option<String>,
    /// How the watch ended.
    pub(super) end: Option<End>,
}

/// Why nothing more comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// An ERROR event of this code.
    Error(u16),
    /// The connection broke, or the answer was over.
    Closed,
}

impl Seen {
    /// Nothing yet; events will be kept one by one.
    pub(super) fn listing() -> Self {
        Self(Mutex::new(State { list: Some(Vec::new()), ..State::default() }))
    }

    pub(super) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Observer {
    pub(super) const fn new(epoch: Instant, seen: SharedSeen) -> Self {
        Self { epoch, partial: Vec::new(), seen }
    }

    /// Takes in what came.
    pub(super) fn take(&mut self, mut bytes: &[u8]) {
        let now = self.epoch.elapsed();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            if self.partial.is_empty() {
                self.line(line, now);
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(line);
                self.line(&whole, now);
            }
            bytes = &rest[1..];
        }
        self.partial.extend_from_slice(bytes);
    }

    /// The watch is over.
    pub(super) fn close(&self) {
        self.seen.with(|seen| {
            seen.end.get_or_insert(End::Closed);
        });
    }

    fn line(&self, line: &[u8], now: Duration) {
        let event = serde_json::from_slice::<Event<'_>>(line);
        self.seen.with(|seen| match event {
            Ok(event) => seen.take(&event, now),
            Err(error) => {
                let line = String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned();
                seen.fault.get_or_insert_with(|| format!("not an event: {error}: {line}"));
            }
        });
    }
}

impl State {
    fn take(&mut self, event: &Event<'_>, now: Duration) {
        if event.what == What::Error {
            self.end = Some(End::Error(event.object.code));
            return;
        }
        let metadata = &event.object.metadata;
        let revision = metadata.resource_version.parse().unwrap_or(0);
        if revision <= self.last {
            let last = self.last;
            self.fault.get_or_insert_with(|| format!("revision {revision} came after {last}"));
        }
        self.last = revision;
        self.told += 1;
        self.sequence.push(revision, event.what);
        if let Some(list) = &mut self.list {
            let object = metadata.name.rsplit('-').next().and_then(|number| number.parse().ok());
            list.push(Told { revision, what: event.what, object: object.unwrap_or(usize::MAX) });
        }
        // What is told of a deletion is what was written before.
        if event.what != What::Deleted
            && let Some(sent) = event.object.data.sent.and_then(|sent| sent.parse().ok())
        {
            let sent = Duration::from_micros(sent);
            self.delays.push((sent, now.saturating_sub(sent)));
        }
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    what: What,
    #[serde(borrow)]
    object: Object<'a>,
}

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow, default)]
    metadata: Metadata<'a>,
    #[serde(borrow, default)]
    data: Data<'a>,
    /// Of a Status.
    #[serde(default)]
    code: u16,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(default)]
    name: &'a str,
    #[serde(default)]
    resource_version: &'a str,
}

#[derive(Default, Deserialize)]
struct Data<'a> {
    #[serde(borrow, default)]
    sent: Option<&'a str>,
}
