//! Which pods have ended, how, and which of them are counted already.

use std::collections::BTreeSet;

use super::{End, Pod, index, is_held, policy};
use crate::view::{Job, Phase, PodInfo, workload::Indexes};

/// How far a Job has come.
pub(super) struct Count {
    /// Pods that succeeded, those not counted for good included; indexes of an Indexed Job.
    pub(super) succeeded: i64,
    /// Pods that failed, likewise.
    pub(super) failed: i64,
    /// Indexes that succeeded.
    pub(super) completed: Indexes,
    /// Indexes that failed for good.
    pub(super) failed_indexes: Indexes,
    /// Counted for good.
    pub(super) counted: (i64, i64),
    /// What `uncountedTerminatedPods` has to say: of those that succeeded and of those that failed.
    pub(super) uncounted: (BTreeSet<String>, BTreeSet<String>),
}

impl Count {
    /// What the pods say, together with what was counted before.
    pub(super) fn of(job: &Job, pods: &[Pod]) -> Self {
        let status = &job.status;
        let is_known = |pod: &PodInfo| {
            let uid = pod.uid.as_str();
            status.uncounted_succeeded.contains(uid) || status.uncounted_failed.contains(uid)
        };
        let new = || pods.iter().map(|(_, pod)| pod).filter(|pod| is_held(pod) && !is_known(pod));
        let new_failed = new().filter(|pod| has_failed(job, pod) && !policy::is_ignored(job, pod)).count();
        let length = |set: &BTreeSet<String>| i64::try_from(set.len()).unwrap_or(i64::MAX);
        let (completed, failed_indexes) = (completed(job, pods), failed_indexes(job, pods));
        let succeeded = if job.is_indexed {
            completed.len()
        } else {
            let new = new().filter(|pod| pod.phase == Phase::Succeeded).count();
            status.succeeded + length(&status.uncounted_succeeded) + i64::try_from(new).unwrap_or(0)
        };
        Self {
            succeeded,
            failed: status.failed + length(&status.uncounted_failed) + i64::try_from(new_failed).unwrap_or(0),
            completed,
            failed_indexes,
            counted: (status.succeeded, status.failed),
            uncounted: (status.uncounted_succeeded.clone(), status.uncounted_failed.clone()),
        }
    }

    /// Takes the next step of counting: what was let go is counted for good, what has ended newly is noted.
    pub(super) fn take_note(&mut self, job: &Job, pods: &[Pod], end: Option<&End>) {
        let held: BTreeSet<&str> =
            pods.iter().filter(|(_, pod)| is_held(pod)).map(|(_, pod)| pod.uid.as_str()).collect();
        let gone = |set: &BTreeSet<String>| set.iter().filter(|uid| !held.contains(uid.as_str())).count();
        let add = |count: usize| i64::try_from(count).unwrap_or(0);
        self.counted.0 += add(gone(&self.uncounted.0));
        self.counted.1 += add(gone(&self.uncounted.1));
        self.uncounted.0.retain(|uid| held.contains(uid.as_str()));
        self.uncounted.1.retain(|uid| held.contains(uid.as_str()));
        let waits = |pod: &PodInfo| waits_for_replacement(job, pods, pod, self, end);
        let noted: Vec<&PodInfo> =
            pods.iter().map(|(_, pod)| &**pod).filter(|pod| is_held(pod) && !waits(pod)).collect();
        for pod in noted.into_iter().take(NOTED_AT_ONCE) {
            let uid = pod.uid.as_str().to_owned();
            // One that was deleted, and noted as failed by that, may still come to a good end: it has been counted.
            if self.uncounted.0.contains(&uid) || self.uncounted.1.contains(&uid) {
                continue;
            }
            if pod.phase == Phase::Succeeded {
                if !job.is_indexed {
                    self.uncounted.0.insert(uid);
                }
            } else if has_failed(job, pod) && !policy::is_ignored(job, pod) {
                self.uncounted.1.insert(uid);
            }
        }
        if job.is_indexed {
            // Those of an Indexed Job are counted by index.
            self.counted.0 = self.completed.len();
        }
    }
}

/// Pods whose end is noted in the stored status, or need not be.
pub(super) fn to_release<'a>(
    job: &'a Job,
    pods: &'a [Pod],
    count: &'a Count,
) -> impl Iterator<Item = &'a Pod> {
    let status = &job.status;
    pods.iter().filter(move |(_, pod)| {
        let uid = pod.uid.as_str();
        let is_noted = status.uncounted_succeeded.contains(uid) || status.uncounted_failed.contains(uid);
        let is_noted_by_index = job.is_indexed
            && pod.phase == Phase::Succeeded
            && index(pod).is_none_or(|index| status.completed_indexes.contains(index) || is_out(job, index));
        let is_ignored = pod.phase == Phase::Failed
            && policy::is_ignored(job, pod)
            && !waits_for_replacement(job, pods, pod, count, None);
        is_held(pod) && (is_noted || is_noted_by_index || is_ignored)
    })
}

/// Whether a pod counts as failed. One that is being deleted does too, unless it is replaced only when it has ended.
pub(super) fn has_failed(job: &Job, pod: &PodInfo) -> bool {
    pod.phase == Phase::Failed
        || (!job.replaces_failed_only && pod.deletion.is_some() && pod.phase != Phase::Succeeded)
}

/// With limits per index, the last failure of an index is kept until its successor is there, which takes over its count.
fn waits_for_replacement(job: &Job, pods: &[Pod], pod: &PodInfo, count: &Count, end: Option<&End>) -> bool {
    if job.backoff_limit_per_index.is_none() || end.is_some() || !has_failed(job, pod) {
        return false;
    }
    let Some(own) = index(pod) else { return false };
    if count.completed.contains(own) || count.failed_indexes.contains(own) || is_out(job, own) {
        return false;
    }
    let is_successor =
        |other: &PodInfo| index(other) == Some(own) && other.created >= pod.created && other.uid != pod.uid;
    !pods.iter().any(|(_, other)| is_successor(other) && !has_failed(job, other))
}

/// Indexes that succeeded, before and now.
fn completed(job: &Job, pods: &[Pod]) -> Indexes {
    let mut completed = job.status.completed_indexes.clone();
    if let Some(end) = job.completions.and_then(|end| u32::try_from(end).ok()) {
        completed.truncate(end);
    }
    let succeeded = pods.iter().filter(|(_, pod)| pod.phase == Phase::Succeeded && is_held(pod));
    for index in succeeded.filter_map(|(_, pod)| index(pod)).filter(|index| !is_out(job, *index)) {
        completed.insert(index);
    }
    completed
}

/// Indexes that failed more often than they may.
fn failed_indexes(job: &Job, pods: &[Pod]) -> Indexes {
    let mut failed = job.status.failed_indexes.clone().unwrap_or_default();
    let Some(limit) = job.backoff_limit_per_index else { return failed };
    for (_, pod) in pods.iter().filter(|(_, pod)| is_held(pod) && has_failed(job, pod)) {
        let Some(index) = index(pod).filter(|index| !is_out(job, *index)) else { continue };
        let before = pod.job.as_ref().map_or(0, |job| job.failures_before);
        if policy::fails_index(job, pod) || (before >= limit && !policy::is_ignored(job, pod)) {
            failed.insert(index);
        }
    }
    failed
}

fn is_out(job: &Job, index: u32) -> bool {
    job.completions.is_some_and(|completions| i64::from(index) >= completions)
}

/// Pods taken note of by one plan, as in Kubernetes: what is noted is part of the status.
const NOTED_AT_ONCE: usize = 500;
