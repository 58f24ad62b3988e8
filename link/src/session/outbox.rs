//! What a node has to say and has not sent: the latest report of each pod, and the newest events.

use std::collections::{BTreeMap, VecDeque, btree_map::Entry};

use crate::{
    PodUid, UnixMillis, codec,
    limits::{BATCH_BYTES_SOFT, EVENT_OUTBOX_MAX},
    message::{Events, StatusBatch},
    status::{NodeEvent, PodStatusReport},
};

/// Holds one report per pod, so its size follows the number of pods, and a bounded number of events.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    reports: BTreeMap<PodUid, PodStatusReport>,
    events: VecDeque<NodeEvent>,
    dropped: u64,
}

impl Outbox {
    /// Adds a report unless a later one of the same pod waits already.
    pub(super) fn report(&mut self, report: PodStatusReport) {
        match self.reports.entry(report.uid.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(report);
            }
            Entry::Occupied(mut entry) if entry.get().sequence < report.sequence => {
                entry.insert(report);
            }
            Entry::Occupied(_) => {}
        }
    }

    /// Adds an event, dropping the oldest when there is no room.
    pub(super) fn event(&mut self, event: NodeEvent) {
        if self.events.len() == EVENT_OUTBOX_MAX {
            self.events.pop_front();
            self.dropped += 1;
        }
        self.events.push_back(event);
    }

    /// Takes the next reports to send.
    pub(super) fn next_reports(&mut self, sent_at: UnixMillis) -> Option<StatusBatch> {
        let mut reports = Vec::new();
        let mut bytes = 0;
        while bytes < BATCH_BYTES_SOFT
            && let Some((_, report)) = self.reports.pop_first()
        {
            bytes += codec::encode(&report).len();
            reports.push(report);
        }
        (!reports.is_empty()).then_some(StatusBatch { sent_at, reports })
    }

    /// Takes the next events to send.
    pub(super) fn next_events(&mut self, sent_at: UnixMillis) -> Option<Events> {
        let mut events = Vec::new();
        let mut bytes = 0;
        while bytes < BATCH_BYTES_SOFT
            && let Some(event) = self.events.pop_front()
        {
            bytes += codec::encode(&event).len();
            events.push(event);
        }
        let dropped = std::mem::take(&mut self.dropped);
        (!events.is_empty()).then_some(Events { sent_at, events, dropped })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_events_are_dropped_and_counted() {
        let mut outbox = Outbox::default();
        for number in 0..EVENT_OUTBOX_MAX + 3 {
            outbox.event(NodeEvent {
                pod: None,
                warning: false,
                reason: number.to_string(),
                message: String::new(),
                at: UnixMillis(0),
            });
        }
        let sent = outbox.next_events(UnixMillis(0)).unwrap();
        assert_eq!((sent.dropped, sent.events.len()), (3, EVENT_OUTBOX_MAX));
        assert_eq!(sent.events[0].reason, "3");
        assert_eq!(outbox.next_events(UnixMillis(0)), None);
    }
}
