//! `status` of a Job.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    super::{Action, Plan, StatusChange, WorkloadAction, conditions, tell::Severity},
    BY, Count, End, Pod,
    count::has_failed,
    end::Outcome,
    is_held,
};
use crate::view::{Job, JobStatus, ObjectId, workload::Condition};

/// Adds what has to be written about the Job to the plan.
pub(super) fn update(
    plan: &mut Plan,
    id: &ObjectId,
    job: &Job,
    pods: &[Pod],
    count: &Count,
    end: Option<&End>,
    now: Timestamp,
) {
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let active = || pods.iter().filter(|(_, pod)| pod.is_active());
    let terminating = pods.iter().filter(|(_, pod)| pod.deletion.is_some() && !pod.phase.finished()).count();
    let mut status = JobStatus {
        started: job.status.started,
        completed: None,
        active: number(active().count()),
        ready: Some(number(active().filter(|(_, pod)| pod.is_ready()).count())),
        terminating: Some(number(terminating)),
        succeeded: count.counted.0,
        failed: count.counted.1,
        completed_indexes: count.completed.clone(),
        failed_indexes: job.backoff_limit_per_index.map(|_| count.failed_indexes.clone()),
        uncounted_succeeded: count.uncounted.0.clone(),
        uncounted_failed: count.uncounted.1.clone(),
        conditions: job.status.conditions.clone(),
    };
    if !job.is_indexed {
        status.completed_indexes = job.status.completed_indexes.clone();
    }
    match end {
        Some(end) => note_end(plan, id, job, pods, &mut status, end, now),
        None => note_suspension(plan, id, job, &mut status, now),
    }
    if status != job.status {
        plan.actions.push(Action::Workload(
            BY,
            WorkloadAction::WriteStatus {
                id: id.clone(),
                uid: Arc::clone(&job.meta.uid),
                change: StatusChange::of_fields(written(&status)).with_conditions(
                    &job.status.conditions,
                    &status.conditions,
                    condition,
                ),
            },
        ));
    }
}

/// First how it will end; that it has, once all pods have ended and are counted.
fn note_end(
    plan: &mut Plan,
    id: &ObjectId,
    job: &Job,
    pods: &[Pod],
    status: &mut JobStatus,
    end: &End,
    now: Timestamp,
) {
    let started = *status.started.get_or_insert(now);
    let said = ("True", end.reason, &*end.message);
    conditions::set(&mut status.conditions, end.first_condition(), said, now);
    let is_open = pods.iter().any(|(_, pod)| {
        let has_ended = pod.phase.finished() || has_failed(job, pod);
        !pod.phase.finished() || (is_held(pod) && has_ended)
    });
    let is_counted = status.uncounted_succeeded.is_empty() && status.uncounted_failed.is_empty();
    if is_open || !is_counted {
        return;
    }
    conditions::set(&mut status.conditions, end.last_condition(), said, now);
    let (severity, reason, message) = match end.outcome {
        Outcome::Complete => {
            // A clock that was put back meanwhile must not make it end before it began, which the API refuses.
            status.completed = Some(now.max(started));
            (Severity::Normal, "Completed", "Job completed".to_owned())
        }
        Outcome::Failed => return,
    };
    plan.actions.push(Action::Workload(
        BY,
        WorkloadAction::Tell { about: id.clone(), uid: Arc::clone(&job.meta.uid), severity, reason, message },
    ));
}

fn note_suspension(plan: &mut Plan, id: &ObjectId, job: &Job, status: &mut JobStatus, now: Timestamp) {
    let known = conditions::get(&job.status.conditions, "Suspended").map(|known| known.status.as_str());
    let said = match (job.is_suspended, known) {
        (true, Some("True")) | (false, None | Some("False")) => None,
        (true, _) => Some(("True", "JobSuspended", "Job suspended", "Suspended")),
        (false, Some(_)) => Some(("False", "JobResumed", "Job resumed", "Resumed")),
    };
    if let Some((state, reason, message, event)) = said {
        conditions::set(&mut status.conditions, "Suspended", (state, reason, message), now);
        plan.actions.push(Action::Workload(
            BY,
            WorkloadAction::Tell {
                about: id.clone(),
                uid: Arc::clone(&job.meta.uid),
                severity: Severity::Normal,
                reason: event,
                message: message.to_owned(),
            },
        ));
    }
    // What is suspended has not started; the deadline counts anew when it goes on.
    status.started = if job.is_suspended { None } else { status.started.or(Some(now)) };
}

fn written(status: &JobStatus) -> Value {
    let counted = |count: i64| if count == 0 { Value::Null } else { count.into() };
    let uids = |uids: &std::collections::BTreeSet<String>| {
        if uids.is_empty() { Value::Null } else { json!(uids) }
    };
    let indexes = status.completed_indexes.to_string();
    json!({
        "startTime": conditions::time(status.started),
        "completionTime": conditions::time(status.completed),
        "active": counted(status.active),
        "ready": status.ready,
        "terminating": status.terminating,
        "succeeded": counted(status.succeeded),
        "failed": counted(status.failed),
        "completedIndexes": if indexes.is_empty() { Value::Null } else { indexes.into() },
        "failedIndexes": status.failed_indexes.as_ref().map(ToString::to_string),
        "uncountedTerminatedPods": {
            "succeeded": uids(&status.uncounted_succeeded),
            "failed": uids(&status.uncounted_failed),
        },
    })
}

fn condition(condition: &Condition) -> Value {
    let mut value = conditions::written(condition);
    value["lastProbeTime"] = conditions::time(condition.last_transition_time);
    value
}
