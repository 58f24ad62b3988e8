//! Whether a Job is over, and why.

use jiff::Timestamp;

use super::{Count, Pod, count::has_failed, deadline, policy};
use crate::view::{Job, Phase, workload::SuccessRule};

/// How a Job ends. It is over once all its pods are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) outcome: Outcome,
    /// In one word.
    pub(super) reason: &'static str,
    /// For people.
    pub(super) message: String,
}

/// Well or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Complete,
    Failed,
}

impl End {
    /// Why the Job is over, if it is.
    pub(super) fn of(job: &Job, pods: &[Pod], count: &Count, now: Timestamp) -> Option<Self> {
        if let Some(known) = Self::known(job) {
            return Some(known);
        }
        let failed = |reason, message: &str| {
            Some(Self { outcome: Outcome::Failed, reason, message: message.to_owned() })
        };
        if let Some(message) = failing_pod(job, pods) {
            return failed("PodFailurePolicy", &message);
        }
        if has_too_many_failures(job, pods, count) {
            return failed("BackoffLimitExceeded", "Job has reached the specified backoff limit");
        }
        if deadline(job).is_some_and(|deadline| now >= deadline) {
            return failed("DeadlineExceeded", "Job was active longer than specified deadline");
        }
        if job.backoff_limit_per_index.is_some() && !job.is_suspended {
            let failures = count.failed_indexes.len();
            if job.max_failed_indexes.is_some_and(|most| failures > most) {
                return failed(
                    "MaxFailedIndexesExceeded",
                    "Job has exceeded the specified maximal number of failed indexes",
                );
            }
            let is_through = job.completions.is_some_and(|all| count.succeeded + failures >= all);
            if failures > 0 && is_through {
                return failed("FailedIndexes", "Job has failed indexes");
            }
        }
        if let Some(message) = succeeds_early(job, count) {
            return Some(Self { outcome: Outcome::Complete, reason: "SuccessPolicy", message });
        }
        Self::reached(job, pods, count)
    }

    /// The condition that says first how it will end.
    pub(super) const fn first_condition(&self) -> &'static str {
        match self.outcome {
            Outcome::Complete => "SuccessCriteriaMet",
            Outcome::Failed => "FailureTarget",
        }
    }

    /// The condition that says that it has.
    pub(super) const fn last_condition(&self) -> &'static str {
        match self.outcome {
            Outcome::Complete => "Complete",
            Outcome::Failed => "Failed",
        }
    }

    pub(super) fn is_failure(&self) -> bool {
        self.outcome == Outcome::Failed
    }

    /// What was decided before and is not finished.
    fn known(job: &Job) -> Option<Self> {
        let (condition, outcome) = job
            .condition("FailureTarget")
            .map(|condition| (condition, Outcome::Failed))
            .or_else(|| Some((job.condition("SuccessCriteriaMet")?, Outcome::Complete)))?;
        let reason = REASONS.iter().find(|reason| **reason == condition.reason)?;
        Some(Self { outcome, reason, message: condition.message.clone() })
    }

    /// All that was asked for has succeeded, and nothing runs any more.
    fn reached(job: &Job, pods: &[Pod], count: &Count) -> Option<Self> {
        let is_idle = !pods.iter().any(|(_, pod)| pod.is_active());
        let is_enough = match job.completions {
            Some(completions) => count.succeeded >= completions,
            None => count.succeeded > 0,
        };
        (is_idle && is_enough && !(job.is_suspended && job.completions != Some(0))).then(|| Self {
            outcome: Outcome::Complete,
            reason: "CompletionsReached",
            message: "Reached expected number of succeeded pods".to_owned(),
        })
    }
}

fn failing_pod(job: &Job, pods: &[Pod]) -> Option<String> {
    let failed = pods.iter().filter(|(_, pod)| has_failed(job, pod));
    failed.filter_map(|(key, pod)| policy::fails_job(job, &key.namespace, &key.name, pod)).next()
}

fn has_too_many_failures(job: &Job, pods: &[Pod], count: &Count) -> bool {
    if count.failed > job.backoff_limit {
        return true;
    }
    if !job.restarts_on_failure {
        return false;
    }
    let running = pods.iter().filter(|(_, pod)| matches!(pod.phase, Phase::Pending | Phase::Running));
    let restarts: i64 = running.map(|(_, pod)| i64::from(pod.restarts)).sum();
    if job.backoff_limit == 0 { restarts > 0 } else { restarts >= job.backoff_limit }
}

/// Why the success policy calls the Job done, if it does.
fn succeeds_early(job: &Job, count: &Count) -> Option<String> {
    let is_met = |rule: &SuccessRule| match (&rule.indexes, rule.count) {
        (Some(indexes), Some(least)) => count.completed.common(indexes) >= least,
        (Some(indexes), None) => count.completed.common(indexes) == indexes.len(),
        (None, Some(least)) => count.completed.len() >= least,
        (None, None) => false,
    };
    let position = job.success_rules.iter().position(is_met)?;
    Some(format!("Matched rules at index {position}"))
}

/// All reasons for an end.
const REASONS: [&str; 7] = [
    "PodFailurePolicy",
    "BackoffLimitExceeded",
    "DeadlineExceeded",
    "MaxFailedIndexesExceeded",
    "FailedIndexes",
    "SuccessPolicy",
    "CompletionsReached",
];
