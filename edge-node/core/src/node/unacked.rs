//! Reports that nobody has acknowledged.

use std::collections::BTreeMap;

use dunlin_link::{PodUid, status::PodStatusReport};

/// The latest report of each pod until it is acked; its size follows the number of pods. A report with `stopped` is never acked:
/// the order to forget the pod takes the ack's place.
///
/// Not inside the core, because sessions ask for it from tasks of their own: whoever carries outputs out keeps it, by
/// [`super::Output::Report`] and [`super::Output::Forgotten`].
#[derive(Debug, Default)]
pub struct Unacked {
    reports: BTreeMap<PodUid, PodStatusReport>,
}

impl Unacked {
    /// A pod reported.
    pub fn reported(&mut self, report: PodStatusReport) {
        self.reports.insert(report.uid.clone(), report);
    }

    /// Drops reports that are acked, unless a later one of the pod waits.
    pub fn acked(&mut self, reports: &[(PodUid, u64)]) {
        for (uid, sequence) in reports {
            if self.reports.get(uid).is_some_and(|report| report.sequence <= *sequence) {
                self.reports.remove(uid);
            }
        }
    }

    /// Drops the report of a pod that is forgotten.
    pub fn forget(&mut self, uid: &PodUid) {
        self.reports.remove(uid);
    }

    /// What to send when a session opens, by uid.
    pub fn iter(&self) -> impl Iterator<Item = &PodStatusReport> {
        self.reports.values()
    }

    /// How many pods wait for an ack.
    pub fn len(&self) -> usize {
        self.reports.len()
    }

    /// Whether nothing waits for an ack.
    pub fn is_empty(&self) -> bool {
        self.reports.is_empty()
    }
}
