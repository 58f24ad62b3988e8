//! Reports on their way into the store: one batch is recorded at a time, and meanwhile later reports replace earlier ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    PodUid, codec,
    limits::{STATUS_BYTES_MAX, STATUS_PODS_MAX},
    moment::Moment,
    session::SessionError,
    status::PodStatusReport,
};

/// What became of one report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// Stored, or already as reported.
    Done,
    /// The pod does not exist any more. Its report is not acknowledged, so that a node which holds the pod names it in each session.
    Gone,
    /// Not stored for now: try again.
    Retry,
}

/// How long a report waits that could not be recorded.
pub(super) const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Most reports recorded at a time, so that the first of a large batch are acknowledged soon.
const RECORD_BATCH_MAX: usize = 256;

/// The reports of one session that are not recorded yet, and the sequences of those that are.
#[derive(Debug, Default)]
pub(super) struct Statuses {
    waiting: BTreeMap<PodUid, PodStatusReport>,
    /// Encoded size of those that wait.
    waiting_bytes: usize,
    recording: BTreeMap<PodUid, PodStatusReport>,
    recorded: BTreeMap<PodUid, u64>,
    not_before: Option<Moment>,
    stopped: BTreeSet<PodUid>,
    gone: BTreeSet<PodUid>,
}

impl Statuses {
    /// Takes a received report. Answers its sequence when it, or a later one, is recorded already.
    pub(super) fn handle(&mut self, report: PodStatusReport) -> Result<Option<u64>, SessionError> {
        let (uid, sequence) = (&report.uid, report.sequence);
        if self.recorded.get(uid).is_some_and(|recorded| *recorded >= sequence) {
            return Ok((!self.stopped.contains(uid)).then_some(sequence));
        }
        let is_later = |known: &BTreeMap<PodUid, PodStatusReport>| {
            known.get(uid).is_none_or(|known| known.sequence < sequence)
        };
        if is_later(&self.waiting) && is_later(&self.recording) {
            self.put(report);
        }
        if self.waiting.len() > STATUS_PODS_MAX || self.recorded.len() > STATUS_PODS_MAX {
            return Err(SessionError::TooManyPods);
        }
        Ok(None)
    }

    /// The next batch to record, when none is being recorded and no delay runs.
    pub(super) fn next_batch(&mut self, now: Moment) -> Option<Vec<PodStatusReport>> {
        if !self.recording.is_empty() || self.waiting.is_empty() || self.not_before.is_some_and(|at| now < at)
        {
            return None;
        }
        self.not_before = None;
        while self.recording.len() < RECORD_BATCH_MAX
            && let Some((uid, report)) = self.waiting.pop_first()
        {
            self.waiting_bytes -= bytes_of(&report);
            self.recording.insert(uid, report);
        }
        Some(self.recording.values().cloned().collect())
    }

    /// Takes what became of the batch; answers what the node may be told. A stopped pod's report is not among it: its
    /// acknowledgement is the order to forget the pod.
    pub(super) fn recorded(&mut self, results: &[(PodUid, Recorded)], now: Moment) -> Vec<(PodUid, u64)> {
        let mut acks = Vec::new();
        for (uid, result) in results {
            if *result == Recorded::Retry {
                continue;
            }
            let Some(report) = self.recording.remove(uid) else { continue };
            self.recorded.insert(uid.clone(), report.sequence);
            if *result == Recorded::Gone {
                self.gone.insert(uid.clone());
            }
            if report.stopped {
                self.stopped.insert(uid.clone());
            } else if *result == Recorded::Done {
                acks.push((uid.clone(), report.sequence));
            }
        }
        for (uid, report) in std::mem::take(&mut self.recording) {
            self.not_before = Some(now + RETRY_DELAY);
            if !self.waiting.contains_key(&uid) {
                self.put(report);
            }
        }
        acks
    }

    /// Whether no more reports should be taken before some are recorded.
    pub(super) const fn is_full(&self) -> bool {
        self.waiting_bytes >= STATUS_BYTES_MAX
    }

    /// When [`Statuses::next_batch`] will have something that it has not now.
    pub(super) fn timeout(&self) -> Option<Moment> {
        if self.recording.is_empty() && !self.waiting.is_empty() { self.not_before } else { None }
    }

    /// Pods whose end is recorded and that the node has not been told to forget.
    pub(super) fn stopped(&self) -> impl Iterator<Item = &PodUid> {
        self.stopped.iter()
    }

    /// Whether the pod's object is known to be gone.
    pub(super) fn is_gone(&self, uid: &PodUid) -> bool {
        self.gone.contains(uid)
    }

    /// The node has forgotten the pod.
    pub(super) fn forget(&mut self, uid: &PodUid) {
        self.stopped.remove(uid);
        self.gone.remove(uid);
        self.recorded.remove(uid);
    }

    /// Makes a report wait, in place of an earlier one.
    fn put(&mut self, report: PodStatusReport) {
        self.waiting_bytes += bytes_of(&report);
        if let Some(earlier) = self.waiting.insert(report.uid.clone(), report) {
            self.waiting_bytes -= bytes_of(&earlier);
        }
    }
}

fn bytes_of(report: &PodStatusReport) -> usize {
    codec::encode(report).len()
}
