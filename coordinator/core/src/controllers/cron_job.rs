//! CronJobs: a Job whenever the schedule says so.
//!
//! `pkg/controller/cronjob` of Kubernetes is the reference. That a time was served shows in the Job that was made for it, which names
//! the time; the status follows what Jobs there are, so that a crash between the two loses nothing and starts nothing twice.

mod due;

use std::sync::Arc;

use dunlin_api::time::format_time;
use jiff::Timestamp;
use serde_json::{Value, json};

use self::due::Due;
use super::{
    Action, Plan, WorkloadAction,
    create::{Blueprint, Creation},
    tell::{Component, Severity},
};
use crate::{
    ObjectKey,
    view::{
        Job, ObjectId, View,
        workload::{CRON_JOBS, Concurrency, CronJob, JOBS, Workload},
    },
};

/// A Job of a CronJob.
type Made = (ObjectId, Arc<Job>);

/// What to do about a CronJob.
pub fn reconcile(view: &View, key: &ObjectKey, now: Timestamp) -> Plan {
    let Some(cron) = view.workloads().cron_job(key) else { return Plan::nothing() };
    let id = ObjectId { resource: CRON_JOBS, key: key.clone() };
    let jobs = jobs(view, cron);
    let mut plan = Plan::nothing();
    tell_ends(&mut plan, &id, cron, &jobs);
    forget_old(&mut plan, &id, cron, &jobs);
    write_status(&mut plan, &id, cron, &jobs);
    if !cron.meta.deleting && !cron.is_suspended {
        start(&mut plan, view, &id, cron, &jobs, now);
    }
    plan
}

/// Starts the Job that is due, if one is and may.
fn start(plan: &mut Plan, view: &View, id: &ObjectId, cron: &CronJob, jobs: &[Made], now: Timestamp) {
    let last = last_scheduled(cron, jobs);
    let due = match due::find(cron, last, now) {
        Ok(due) => due,
        Err(why) => {
            return plan.actions.push(tell(id, cron, Severity::Warning, why.reason(), why.to_string()));
        }
    };
    if let Some(next) = due.next {
        plan.wake_at(next);
    }
    let Some(Due { at, missed, is_late }) = due.now else { return };
    if missed > MISSED_MAX {
        let message =
            "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
        plan.actions.push(tell(id, cron, Severity::Warning, "TooManyMissedTimes", message.to_owned()));
    }
    if is_late {
        let message = format!("Missed scheduled time to start a job: {}", format_time(at));
        plan.actions.push(tell(id, cron, Severity::Warning, "MissSchedule", message));
        return;
    }
    let name = format!("{}-{}", id.key.name, at.as_second().div_euclid(60));
    let key = ObjectKey { namespace: Arc::clone(&id.key.namespace), name: name.as_str().into() };
    if view.workloads().job(&key).is_some() {
        return;
    }
    let running = || jobs.iter().filter(|(_, job)| !job.is_finished() && !job.meta.deleting);
    match cron.concurrency {
        Concurrency::Allow => {}
        Concurrency::Forbid if running().next().is_some() => {
            let message =
                "Not starting job because prior execution is running and concurrency policy is Forbid";
            plan.actions.push(tell(id, cron, Severity::Normal, "JobAlreadyActive", message.to_owned()));
            return;
        }
        Concurrency::Forbid => {}
        Concurrency::Replace => plan.actions.extend(running().map(|made| delete(id, cron, made))),
    }
    plan.actions.push(Action::Workload(
        BY,
        WorkloadAction::Create(Creation {
            owner: id.clone(),
            uid: Arc::clone(&cron.meta.uid),
            generation: cron.meta.generation,
            what: Blueprint::Job { name, scheduled_at: due::shown(cron, at) },
        }),
    ));
}

/// The Jobs that belong to a CronJob, by name.
fn jobs(view: &View, cron: &CronJob) -> Vec<Made> {
    let made = view.workloads().controlled_by(&cron.meta.uid);
    made.filter_map(|(id, workload)| match workload {
        Workload::Job(job) => Some((id.clone(), Arc::clone(job))),
        _ => None,
    })
    .collect()
}

/// The last time that a Job was made for.
fn last_scheduled(cron: &CronJob, jobs: &[Made]) -> Option<Timestamp> {
    let served = |(_, job): &Made| job.meta.annotation(SCHEDULED)?.parse::<Timestamp>().ok();
    jobs.iter().filter_map(served).chain(cron.status.last_scheduled).max()
}

/// Says which Jobs have ended since the status was written.
fn tell_ends(plan: &mut Plan, id: &ObjectId, cron: &CronJob, jobs: &[Made]) {
    for (job_id, job) in jobs.iter().filter(|(_, job)| cron.status.active.contains(&*job.meta.uid)) {
        let Some(end) = job.condition("Complete").or_else(|| job.condition("Failed")) else { continue };
        let message = format!("Saw completed job: {}, condition: {}", job_id.key.name, end.kind);
        plan.actions.push(tell(id, cron, Severity::Normal, "SawCompletedJob", message));
    }
}

/// Deletes Jobs that have ended beyond the limits, the oldest first.
fn forget_old(plan: &mut Plan, id: &ObjectId, cron: &CronJob, jobs: &[Made]) {
    for (condition, limit) in [("Complete", cron.successful_limit), ("Failed", cron.failed_limit)] {
        let mut ended: Vec<&Made> =
            jobs.iter().filter(|(_, job)| job.condition(condition).is_some() && !job.meta.deleting).collect();
        ended.sort_by_key(|(id, job)| (job.status.started.unwrap_or(job.meta.created), id.clone()));
        let excess = ended.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        plan.actions.extend(ended.into_iter().take(excess).map(|made| delete(id, cron, made)));
    }
}

fn write_status(plan: &mut Plan, id: &ObjectId, cron: &CronJob, jobs: &[Made]) {
    let running: Vec<&Made> = jobs.iter().filter(|(_, job)| !job.is_finished()).collect();
    let active = running.iter().map(|(_, job)| job.meta.uid.to_string()).collect();
    let last_scheduled = last_scheduled(cron, jobs);
    let completed = jobs.iter().filter(|(_, job)| job.condition("Complete").is_some());
    let last_successful =
        completed.filter_map(|(_, job)| job.status.completed).chain(cron.status.last_successful).max();
    let known = &cron.status;
    if known.active == active
        && known.last_scheduled == last_scheduled
        && known.last_successful == last_successful
    {
        return;
    }
    let reference = |(id, job): &&Made| {
        json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "namespace": &*id.key.namespace, "name": &*id.key.name, "uid": &*job.meta.uid,
        })
    };
    let references: Vec<Value> = running.iter().map(reference).collect();
    let time = |at: Option<Timestamp>| at.map_or(Value::Null, |at| format_time(at).into());
    let status = json!({
        "active": if references.is_empty() { Value::Null } else { references.into() },
        "lastScheduleTime": time(last_scheduled),
        "lastSuccessfulTime": time(last_successful),
    });
    plan.actions.push(Action::Workload(
        BY,
        WorkloadAction::Patch {
            id: id.clone(),
            uid: Arc::clone(&cron.meta.uid),
            subresource: "status",
            patch: json!({ "status": status }),
        },
    ));
}

fn delete(id: &ObjectId, cron: &CronJob, (job_id, job): &Made) -> Action {
    debug_assert_eq!(job_id.resource, JOBS);
    Action::Workload(
        BY,
        WorkloadAction::DeleteOwned {
            id: job_id.clone(),
            uid: Arc::clone(&job.meta.uid),
            owner: id.clone(),
            owner_uid: Arc::clone(&cron.meta.uid),
        },
    )
}

fn tell(id: &ObjectId, cron: &CronJob, severity: Severity, reason: &'static str, message: String) -> Action {
    let uid = Arc::clone(&cron.meta.uid);
    Action::Workload(BY, WorkloadAction::Tell { about: id.clone(), uid, severity, reason, message })
}

/// Which time a Job was made for.
pub(crate) const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// More times than this missed in a row are worth a warning.
const MISSED_MAX: i64 = 100;

const BY: Component = Component::CronJob;

#[cfg(test)]
mod tests;
