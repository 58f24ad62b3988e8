//! Which pods of a Job to start, and which are too many.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{
    super::{
        Action, Plan, WorkloadAction, claim,
        create::{Blueprint, Creation, IndexedPod},
        replica_set::BURST,
    },
    BY, Count, Pod,
    count::has_failed,
    index, job_pod, policy,
};
use crate::{
    times,
    view::{Job, ObjectId, Phase, PodInfo},
};

/// Starts what is missing, as far as backoff lets it, and ends what is too many.
pub(super) fn pods(plan: &mut Plan, id: &ObjectId, job: &Job, pods: &[Pod], count: &Count, now: Timestamp) {
    let active: Vec<&Pod> = pods.iter().filter(|(_, pod)| pod.is_active()).collect();
    let length = i64::try_from(active.len()).unwrap_or(i64::MAX);
    let wanted = match job.completions {
        Some(completions) => {
            (completions - count.succeeded - count.failed_indexes.len()).clamp(0, job.parallelism)
        }
        // One has succeeded: those that run may end, none is started.
        None if count.succeeded > 0 => length,
        None => job.parallelism,
    };
    let doomed = superfluous(job, &active, count, usize::try_from(length - wanted).unwrap_or(0));
    if !doomed.is_empty() {
        let doomed = doomed.into_iter().take(BURST);
        plan.actions.extend(doomed.map(|(key, pod)| claim::delete(id, &job.meta, BY, key, pod)));
        return;
    }
    let ending = pods.iter().filter(|(_, pod)| pod.deletion.is_some() && !pod.phase.finished()).count();
    let ending = if job.replaces_failed_only { i64::try_from(ending).unwrap_or(0) } else { 0 };
    let missing = usize::try_from(wanted - ending - length).unwrap_or(0).min(BURST);
    if missing == 0 {
        return;
    }
    let create = |what| {
        Action::Workload(
            BY,
            WorkloadAction::Create(Creation {
                owner: id.clone(),
                uid: Arc::clone(&job.meta.uid),
                generation: job.meta.generation,
                what,
            }),
        )
    };
    if job.backoff_limit_per_index.is_none()
        && let Some(at) = not_before(job, pods).filter(|at| is_ahead(*at, now))
    {
        plan.wake_at(at);
        return;
    }
    if !job.is_indexed {
        plan.actions.push(create(Blueprint::Pods { count: missing }));
        return;
    }
    let (ready, later) = pending_indexes(job, pods, &active, count, missing, now);
    if let Some(at) = later {
        plan.wake_at(at);
    }
    if !ready.is_empty() {
        plan.actions.push(create(Blueprint::IndexedPods { pods: ready }));
    }
}

/// Active pods to end: of an Indexed Job those whose index needs none or has one already, then any.
fn superfluous<'a>(job: &Job, active: &[&'a Pod], count: &Count, excess: usize) -> Vec<&'a Pod> {
    let mut doomed = Vec::new();
    let mut rest = Vec::new();
    let mut taken = BTreeSet::new();
    for pod in active {
        let is_needless = job.is_indexed
            && index(&pod.1).is_none_or(|index| {
                count.completed.contains(index)
                    || count.failed_indexes.contains(index)
                    || job.completions.is_some_and(|end| i64::from(index) >= end)
                    || !taken.insert(index)
            });
        if is_needless { doomed.push(*pod) } else { rest.push(*pod) }
    }
    // The highest indexes, and of others those that have run for the shortest time, have the least to lose.
    rest.sort_by_key(|(key, pod)| {
        (
            pod.phase == Phase::Running,
            pod.is_ready(),
            std::cmp::Reverse((index(pod), pod.created)),
            key.clone(),
        )
    });
    let more = excess.saturating_sub(doomed.len());
    doomed.extend(rest.into_iter().take(more));
    doomed
}

/// Until when failures one after the other keep new pods from being started.
fn not_before(job: &Job, pods: &[Pod]) -> Option<Timestamp> {
    let ended = |pod: &PodInfo| job_pod(pod).finished_at.unwrap_or(pod.created);
    let mut finished: Vec<_> = pods
        .iter()
        .map(|(_, pod)| pod)
        .filter(|pod| {
            pod.phase == Phase::Succeeded || (has_failed(job, pod) && !policy::is_ignored(job, pod))
        })
        .map(|pod| (ended(pod), pod.phase == Phase::Succeeded))
        .collect();
    finished.sort_unstable();
    let failures = finished.iter().rev().take_while(|(_, succeeded)| !succeeded).count();
    let (last, _) = finished.last().filter(|_| failures > 0)?;
    Some(times::after(*last, backoff(failures)))
}

/// Indexes to start now, and when the next of those that have to wait may start.
fn pending_indexes(
    job: &Job,
    pods: &[Pod],
    active: &[&Pod],
    count: &Count,
    missing: usize,
    now: Timestamp,
) -> (Vec<IndexedPod>, Option<Timestamp>) {
    let busy: BTreeSet<u32> = active.iter().filter_map(|(_, pod)| index(pod)).collect();
    let ending: BTreeSet<u32> = pods
        .iter()
        .filter(|(_, pod)| job.replaces_failed_only && pod.deletion.is_some() && !pod.phase.finished())
        .filter_map(|(_, pod)| index(pod))
        .collect();
    let end = job.completions.and_then(|end| u32::try_from(end).ok()).unwrap_or(0);
    let is_open = |index: &u32| {
        !count.completed.contains(*index)
            && !count.failed_indexes.contains(*index)
            && !busy.contains(index)
            && !ending.contains(index)
    };
    let (mut ready, mut later) = (Vec::new(), None::<Timestamp>);
    for index in (0..end).filter(is_open) {
        if ready.len() == missing {
            break;
        }
        let failures = failures_of(job, pods, index);
        let last = failures.as_ref().map(|(_, last)| *last);
        let number = failures.map_or(0, |(number, _)| number);
        let start_at = last
            .filter(|_| number > 0)
            .map(|last| last + backoff(usize::try_from(number).unwrap_or(usize::MAX)));
        match start_at.filter(|at| is_ahead(*at, now)) {
            Some(at) => later = Some(later.map_or(at, |known| known.min(at))),
            None => ready.push(IndexedPod {
                index,
                failures: job.backoff_limit_per_index.is_some().then_some(number),
            }),
        }
    }
    (ready, later)
}

/// How often an index has failed, and when last; with limits per index only.
fn failures_of(job: &Job, pods: &[Pod], wanted: u32) -> Option<(i64, Timestamp)> {
    job.backoff_limit_per_index?;
    let failed =
        pods.iter().map(|(_, pod)| pod).filter(|pod| index(pod) == Some(wanted) && has_failed(job, pod));
    failed
        .map(|pod| {
            let known = job_pod(pod);
            let own = i64::from(!policy::is_ignored(job, pod));
            (known.failures_before + own, known.finished_at.unwrap_or(pod.created))
        })
        .max()
}

/// Whether that is still to come. What is further away than any backoff was reckoned from a clock that was put back since, and is not
/// waited for.
fn is_ahead(at: Timestamp, now: Timestamp) -> bool {
    at > now && at <= now + BACKOFF_MAX + times::CLOCK_SKEW_MAX
}

/// How long to wait after so many failures in a row.
fn backoff(failures: usize) -> Duration {
    let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX).min(DOUBLINGS_MAX);
    (BACKOFF_FIRST * 2_u32.pow(doublings)).min(BACKOFF_MAX)
}

/// After the first failure.
const BACKOFF_FIRST: Duration = Duration::from_secs(10);

/// The longest wait.
const BACKOFF_MAX: Duration = Duration::from_secs(600);

/// Doublings after which that is reached for certain.
const DOUBLINGS_MAX: u32 = 6;
