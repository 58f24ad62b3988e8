//! The newest changes, kept in memory for watches up to a bound of bytes.

use std::collections::VecDeque;

use dunlin_link::Revision;

use crate::store::WatchEvent;

/// Every change after `start`, oldest first.
#[derive(Debug)]
pub(super) struct Recent {
    start: Revision,
    events: VecDeque<WatchEvent>,
    bytes: usize,
    bytes_max: usize,
}

/// Changes that a watch asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Whole revisions, in order.
    pub(super) events: Vec<WatchEvent>,
    /// There are no others up to this revision.
    pub(super) upto: Revision,
}

impl Recent {
    /// Nothing is known of changes up to `start`.
    pub(super) fn new(start: Revision, bytes_max: usize) -> Self {
        Self { start, events: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Adds whole revisions and forgets the oldest ones beyond the bound.
    pub(super) fn push(&mut self, events: Vec<WatchEvent>) {
        for event in events {
            self.bytes += event_bytes(&event);
            self.events.push_back(event);
        }
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.events.front()
        {
            self.start = oldest.revision;
            self.forget_start();
        }
    }

    /// Changes after `after` under `prefix`; `None` when it lies before what is kept. Looks at a bounded number of changes, so
    /// that the caller's lock is short, and answers bounded bytes of them.
    pub(super) fn changes(&self, after: Revision, prefix: &str) -> Option<Changes> {
        if after < self.start {
            return None;
        }
        let first = self.events.partition_point(|event| event.revision <= after);
        let mut changes = Changes { events: Vec::new(), upto: after };
        let mut bytes = 0;
        for (looked_at, event) in self.events.range(first..).enumerate() {
            let is_enough = looked_at >= LOOKED_AT_MAX || bytes >= CHANGES_BYTES_MAX;
            if is_enough && event.revision != changes.upto {
                break;
            }
            changes.upto = event.revision;
            if event.key.starts_with(prefix) {
                bytes += event_bytes(event);
                changes.events.push(event.clone());
            }
        }
        Some(changes)
    }

    /// The revision after which every change is kept.
    pub(super) fn start(&self) -> Revision {
        self.start
    }

    fn forget_start(&mut self) {
        while let Some(oldest) = self.events.front()
            && oldest.revision <= self.start
        {
            self.bytes -= event_bytes(oldest);
            self.events.pop_front();
        }
    }
}

/// What an event occupies.
pub(super) fn event_bytes(event: &WatchEvent) -> usize {
    let value = event.value.as_ref().map_or(0, bytes::Bytes::len);
    let previous = event.previous.as_ref().map_or(0, |(value, _)| value.len());
    size_of::<WatchEvent>() + event.key.len() + value + previous
}

/// Changes one look takes in; a watch that is further behind looks again.
pub(super) const LOOKED_AT_MAX: usize = 512;

/// Bytes of changes after which a look ends, with the revision that it is at: what a watch holds while its client takes its time.
pub(super) const CHANGES_BYTES_MAX: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn event(key: &str, revision: u64) -> WatchEvent {
        WatchEvent { key: key.to_owned(), revision: Revision(revision), value: None, previous: None }
    }

    #[test]
    fn whole_revisions_are_kept_and_forgotten() {
        let one = event_bytes(&event("/a", 1));
        let mut recent = Recent::new(Revision(0), 3 * one);
        recent.push(vec![event("/a", 1), event("/b", 1), event("/a", 2)]);
        assert_eq!(recent.changes(Revision(0), "/").unwrap().events.len(), 3);

        recent.push(vec![event("/a", 3)]);
        assert_eq!(recent.start(), Revision(1));
        assert_eq!(recent.changes(Revision(0), "/"), None);
        let changes = recent.changes(Revision(1), "/b").unwrap();
        assert_eq!(changes, Changes { events: Vec::new(), upto: Revision(3) });
    }

    #[test]
    fn a_look_ends_at_a_whole_revision() {
        let mut recent = Recent::new(Revision(0), usize::MAX);
        recent.push((0..LOOKED_AT_MAX + 10).map(|_| event("/a", 1)).collect());
        recent.push(vec![event("/a", 2)]);
        let changes = recent.changes(Revision(0), "/").unwrap();
        assert_eq!((changes.events.len(), changes.upto), (LOOKED_AT_MAX + 10, Revision(1)));
    }

    #[test]
    fn a_look_takes_bounded_bytes() {
        let mut recent = Recent::new(Revision(0), usize::MAX);
        let half = bytes::Bytes::from(vec![0; CHANGES_BYTES_MAX / 2]);
        recent.push((1..10).map(|at| WatchEvent { value: Some(half.clone()), ..event("/a", at) }).collect());
        recent.push((0..5).map(|_| WatchEvent { value: Some(half.clone()), ..event("/a", 10) }).collect());
        let mut looks = Vec::new();
        let mut after = Revision(0);
        while after < Revision(10) {
            let changes = recent.changes(after, "/a").unwrap();
            after = changes.upto;
            looks.push(changes.events.len());
        }
        assert_eq!(looks, [2, 2, 2, 2, 6], "the last ones are of one transaction");
        // What is not meant is not counted.
        assert_eq!(recent.changes(Revision(0), "/b").unwrap().upto, Revision(10));
    }
}
