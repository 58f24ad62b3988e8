//! Jobs: pods run until enough of them have succeeded, or too many have failed.
//!
//! A pod carries a finalizer until it is counted, so that none is counted twice or missed whatever crashes: what has ended is first
//! written into `status.uncountedTerminatedPods` (or `completedIndexes`), then let go, then moved into the counters. Each plan takes
//! the steps that what is *stored* allows. `pkg/controller/job` of Kubernetes is the reference.

mod count;
mod end;
mod launch;
mod policy;
mod status;

use std::sync::Arc;

use jiff::Timestamp;

use self::{count::Count, end::End};
use super::{
    Action, Plan, WorkloadAction,
    claim::{self, Claimed},
    tell::{Component, Severity},
};
use crate::{
    ObjectKey, times,
    view::{Controller, Job, JobPod, ObjectId, PodInfo, Resource, View, job_pod::FINALIZER, workload::JOBS},
};

/// A pod of a Job.
type Pod = (ObjectKey, Arc<PodInfo>);

/// What to do about the Job of this name.
pub fn reconcile(view: &View, key: &ObjectKey, now: Timestamp) -> Plan {
    let Some(job) = view.workloads().job(key) else { return Plan::nothing() };
    if job.is_managed_elsewhere {
        return Plan::nothing();
    }
    let id = ObjectId { resource: JOBS, key: key.clone() };
    let Claimed { pods, actions } = claim::pods(view, &id, &job.meta, job.selector.as_ref(), BY);
    let mut plan = Plan { actions, again_at: None };
    if job.is_finished() {
        release_all(&mut plan, &pods);
        remove_when_over(&mut plan, &id, job, now);
        return plan;
    }
    let mut count = Count::of(job, &pods);
    let end = End::of(job, &pods, &count, now);
    match &end {
        Some(end) => stop(&mut plan, &id, job, &pods, end),
        None if job.meta.deleting => {}
        None if job.is_suspended => stop_active(&mut plan, &id, job, &pods),
        None => launch::pods(&mut plan, &id, job, &pods, &count, now),
    }
    if let (None, Some(at)) = (&end, deadline(job)) {
        plan.wake_at(at);
    }
    count.take_note(job, &pods, end.as_ref());
    for (key, pod) in count::to_release(job, &pods, &count) {
        plan.actions.push(release(key, pod));
    }
    status::update(&mut plan, &id, job, &pods, &count, end.as_ref(), now);
    plan
}

/// When a Job that runs will have run for too long.
fn deadline(job: &Job) -> Option<Timestamp> {
    if job.is_suspended {
        return None;
    }
    Some(times::after(job.status.started?, times::seconds(job.active_deadline_seconds?)))
}

/// Ends what still runs of a Job that is over.
fn stop(plan: &mut Plan, id: &ObjectId, job: &Job, pods: &[Pod], end: &End) {
    stop_active(plan, id, job, pods);
    if job.condition(end.first_condition()).is_none() && end.is_failure() {
        let (uid, message) = (Arc::clone(&job.meta.uid), end.message.clone());
        plan.actions.push(Action::Workload(
            BY,
            WorkloadAction::Tell {
                about: id.clone(),
                uid,
                severity: Severity::Warning,
                reason: end.reason,
                message,
            },
        ));
    }
}

fn stop_active(plan: &mut Plan, id: &ObjectId, job: &Job, pods: &[Pod]) {
    let active = pods.iter().filter(|(_, pod)| pod.is_active());
    let doomed = active.take(super::replica_set::BURST);
    plan.actions.extend(doomed.map(|(key, pod)| claim::delete(id, &job.meta, BY, key, pod)));
}

/// Lets go a pod that a Job held and that none counts any more: it is gone, or another has its name by now, or the pod was set free.
pub fn reconcile_orphan(view: &View, key: &ObjectKey) -> Plan {
    let orphan = view.pod(key).filter(|pod| is_orphan(view, key, pod));
    Plan { actions: orphan.map(|pod| release(key, pod)).into_iter().collect(), again_at: None }
}

/// Whether a pod is held for a Job's count and no Job that there is counts it.
pub(crate) fn is_orphan(view: &View, key: &ObjectKey, pod: &PodInfo) -> bool {
    let counts = |owner: &Controller| {
        let job = ObjectKey::new(&key.namespace, &owner.name);
        owner.kind != JOB || view.workloads().job(&job).is_some_and(|job| *job.meta.uid == *owner.uid)
    };
    is_held(pod) && !pod.affiliation.controller.as_ref().is_some_and(counts)
}

fn release_all(plan: &mut Plan, pods: &[Pod]) {
    let held = pods.iter().filter(|(_, pod)| is_held(pod));
    plan.actions.extend(held.map(|(key, pod)| release(key, pod)));
}

/// Deletes a Job that ended and whose time to live is over.
fn remove_when_over(plan: &mut Plan, id: &ObjectId, job: &Job, now: Timestamp) {
    let (Some(seconds), false) = (job.ttl_seconds, job.meta.deleting) else { return };
    let ended = job.condition("Complete").or_else(|| job.condition("Failed"));
    let Some(since) = ended.and_then(|ended| ended.last_transition_time) else { return };
    let at = times::after(since, times::seconds(seconds));
    if at > now {
        plan.wake_at(at);
        return;
    }
    plan.actions.push(Action::Workload(
        Component::TtlAfterFinished,
        WorkloadAction::DeleteExpired { id: id.clone(), uid: Arc::clone(&job.meta.uid) },
    ));
}

fn release(key: &ObjectKey, pod: &PodInfo) -> Action {
    Action::RemoveFinalizer {
        id: ObjectId { resource: Resource::core("pods"), key: key.clone() },
        uid: pod.uid.as_str().to_owned(),
        finalizer: FINALIZER,
    }
}

fn is_held(pod: &PodInfo) -> bool {
    pod.job.as_ref().is_some_and(|job| job.is_held)
}

fn index(pod: &PodInfo) -> Option<u32> {
    pod.job.as_ref().and_then(|job| job.index)
}

/// The job-specific part of a pod; what a pod without it would say.
fn job_pod(pod: &PodInfo) -> Arc<JobPod> {
    pod.job.clone().unwrap_or_default()
}

const BY: Component = Component::Job;

/// `kind` of a Job.
const JOB: &str = "Job";

#[cfg(test)]
mod tests;
