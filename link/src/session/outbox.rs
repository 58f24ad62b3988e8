//! What a node has to say and has not sent: the latest report of each pod, and the newest events.

use std::{
    collections::{BTreeMap, VecDeque, btree_map::Entry},
    time::Duration,
};

use crate::{
    PodUid, UnixMillis, codec,
    health::OutboxState,
    limits::{BATCH_BYTES_SOFT, EVENT_OUTBOX_MAX, REPORT_FRAME_BYTES_MAX},
    message::{Events, StatusBatch},
    status::{ContainerState, NodeEvent, PodStatusReport},
};

/// Holds one report per pod, so its size follows the number of pods, and a bounded number of events.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    reports: BTreeMap<PodUid, PodStatusReport>,
    events: VecDeque<NodeEvent>,
    dropped: Option<Dropped>,
    /// Since the agent started.
    dropped_total: u64,
}

/// Events that were lost since events were sent last.
#[derive(Clone, Copy, Debug)]
struct Dropped {
    count: u64,
    first: UnixMillis,
    last: UnixMillis,
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

    /// Drops all reports that wait.
    pub(super) fn drop_reports(&mut self) {
        self.reports.clear();
    }

    /// Drops the reports of these pods.
    pub(super) fn drop_reports_of<'a>(&mut self, uids: impl Iterator<Item = &'a PodUid>) {
        for uid in uids {
            self.reports.remove(uid);
        }
    }

    /// Adds an event, dropping the oldest when there is no room.
    pub(super) fn event(&mut self, mut event: NodeEvent) {
        shorten(&mut event.message);
        if self.events.len() == EVENT_OUTBOX_MAX {
            let lost = self.events.pop_front();
            lost.into_iter().for_each(|lost| self.count_dropped(lost.at));
        }
        self.events.push_back(event);
    }

    /// What waits, and what was lost.
    pub(super) fn state(&self) -> OutboxState {
        let count = |length| u32::try_from(length).unwrap_or(u32::MAX);
        OutboxState {
            reports: count(self.reports.len()),
            events: count(self.events.len()),
            events_dropped: self.dropped_total,
        }
    }

    /// Takes the next reports to send.
    pub(super) fn next_reports(&mut self, sent_at: UnixMillis) -> Option<StatusBatch> {
        let mut reports = Vec::new();
        let mut bytes = 0;
        while bytes < BATCH_BYTES_SOFT
            && let Some((_, mut report)) = self.reports.pop_first()
        {
            let mut length = codec::encode(&report).len();
            if length > LARGE_REPORT_BYTES {
                shorten_messages(&mut report);
                length = codec::encode(&report).len();
            }
            bytes += length;
            reports.push(report);
        }
        (!reports.is_empty()).then_some(StatusBatch { sent_at, reports })
    }

    /// Takes the next events to send.
    pub(super) fn next_events(&mut self, sent_at: UnixMillis) -> Option<Events> {
        let dropped = self.dropped.take();
        let mut events: Vec<NodeEvent> = dropped.iter().map(Dropped::event).collect();
        let mut bytes = 0;
        while bytes < BATCH_BYTES_SOFT
            && let Some(event) = self.events.pop_front()
        {
            bytes += codec::encode(&event).len();
            events.push(event);
        }
        let dropped = dropped.map_or(0, |dropped| dropped.count);
        (!events.is_empty()).then_some(Events { sent_at, events, dropped })
    }

    fn count_dropped(&mut self, at: UnixMillis) {
        self.dropped_total += 1;
        let dropped = self.dropped.get_or_insert(Dropped { count: 0, first: at, last: at });
        dropped.count += 1;
        dropped.last = at;
    }
}

impl Dropped {
    /// The event that stands for all that were lost.
    fn event(&self) -> NodeEvent {
        let span = Duration::from_millis(self.last.0.abs_diff(self.first.0));
        let message = format!(
            "{} events of {} were dropped: no coordinator took them, and a node keeps its newest {EVENT_OUTBOX_MAX}",
            self.count,
            in_words(span)
        );
        NodeEvent { pod: None, warning: true, reason: EVENTS_DROPPED.to_owned(), message, at: self.last }
    }
}

/// A span for people, in its two largest units.
fn in_words(span: Duration) -> String {
    let seconds = span.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// Cuts the words for people in a report: a frame that the coordinator refuses for its length would end every session anew.
fn shorten_messages(report: &mut PodStatusReport) {
    shorten(&mut report.message);
    report.conditions.iter_mut().for_each(|condition| shorten(&mut condition.message));
    for container in report.init_containers.iter_mut().chain(&mut report.containers) {
        match &mut container.state {
            ContainerState::Waiting { message, .. } => shorten(message),
            ContainerState::Terminated(end) => shorten(&mut end.message),
            ContainerState::Running { .. } => {}
        }
        container.last_state.iter_mut().for_each(|end| shorten(&mut end.message));
    }
}

fn shorten(text: &mut String) {
    let mut end = text.len().min(MESSAGE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

/// Reason of the event that tells of events that are not told.
const EVENTS_DROPPED: &str = "EventsDropped";

/// A report beyond this is mostly messages. With a full batch before it, it still fits into a frame.
const LARGE_REPORT_BYTES: usize = (REPORT_FRAME_BYTES_MAX - BATCH_BYTES_SOFT) / 2;

/// Kubernetes' bound for the message of an event; also what is left of each message of a report that is too large.
const MESSAGE_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::PodPhase;

    #[test]
    fn the_oldest_events_are_dropped_and_counted() {
        let mut outbox = Outbox::default();
        for number in 0..EVENT_OUTBOX_MAX + 3 {
            outbox.event(NodeEvent {
                pod: None,
                warning: false,
                reason: number.to_string(),
                message: String::new(),
                at: UnixMillis(i64::try_from(number).unwrap() * 3_700_000),
            });
        }
        assert_eq!(outbox.state(), OutboxState { reports: 0, events: 256, events_dropped: 3 });
        let sent = outbox.next_events(UnixMillis(0)).unwrap();
        assert_eq!((sent.dropped, sent.events.len()), (3, EVENT_OUTBOX_MAX + 1));
        assert_eq!(
            (sent.events[0].reason.as_str(), sent.events[0].at),
            (EVENTS_DROPPED, UnixMillis(7_400_000))
        );
        assert!(sent.events[0].message.starts_with("3 events of 2 h 3 min were dropped"), "{sent:?}");
        assert_eq!(sent.events[1].reason, "3");
        assert_eq!(outbox.next_events(UnixMillis(0)), None);
        assert_eq!(outbox.state().events_dropped, 3);
    }

    #[test]
    fn spans_in_words() {
        let check = |seconds, expected| assert_eq!(in_words(Duration::from_secs(seconds)), expected);
        check(59, "59 s");
        check(61, "1 min 1 s");
        check(7_380, "2 h 3 min");
        check(90_000, "1 d 1 h");
    }

    #[test]
    fn a_report_that_no_frame_holds_loses_words_and_not_itself() {
        let mut outbox = Outbox::default();
        for number in 0..3 {
            let uid = PodUid::new(number.to_string());
            outbox.report(PodStatusReport {
                uid: uid.clone(),
                namespace: String::new(),
                name: String::new(),
                sequence: 1,
                observed_generation: 1,
                phase: PodPhase::Failed,
                reason: String::new(),
                message: "\u{e9}".repeat(REPORT_FRAME_BYTES_MAX),
                conditions: Vec::new(),
                host_ip: String::new(),
                pod_ip: String::new(),
                start_time: None,
                init_containers: Vec::new(),
                containers: Vec::new(),
                stopped: true,
                local_endpoints: Vec::new(),
            });
        }
        let batch = outbox.next_reports(UnixMillis(0)).unwrap();
        assert_eq!(batch.reports.len(), 3);
        assert!(
            batch.reports.iter().all(|report| report.stopped && report.message.len() == MESSAGE_BYTES_MAX)
        );
        assert!(codec::encode(&batch).len() < REPORT_FRAME_BYTES_MAX);
    }
}
