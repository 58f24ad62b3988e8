//! What a Job's failure policy says of a pod that failed.

use crate::view::{
    Job, Phase, PodInfo,
    workload::{FailureRule, OnExitCodes},
};

/// Whether a failure counts for nothing.
pub(super) fn is_ignored(job: &Job, pod: &PodInfo) -> bool {
    action(job, pod).is_some_and(|(rule, _)| rule.action == "Ignore")
}

/// Whether a failure ends its index.
pub(super) fn fails_index(job: &Job, pod: &PodInfo) -> bool {
    action(job, pod).is_some_and(|(rule, _)| rule.action == "FailIndex")
}

/// Why a failure ends the whole Job, if it does.
pub(super) fn fails_job(job: &Job, namespace: &str, name: &str, pod: &PodInfo) -> Option<String> {
    let (position, rule) = matching(job, pod)?;
    if rule.action != "FailJob" {
        return None;
    }
    let found = pod.job.as_ref()?;
    if let Some(codes) = &rule.on_exit_codes {
        let exit = found.exits.iter().find(|exit| matches(codes, exit))?;
        return Some(format!(
            "Container {} for pod {namespace}/{name} failed with exit code {} matching FailJob rule at index {position}",
            exit.container, exit.code
        ));
    }
    let condition = rule.on_pod_conditions.iter().find(|wanted| {
        found.conditions.iter().any(|(kind, status)| *kind == wanted.kind && status == wanted_status(wanted))
    })?;
    Some(format!(
        "Pod {namespace}/{name} has condition {} matching FailJob rule at index {position}",
        condition.kind
    ))
}

fn action<'a>(job: &'a Job, pod: &PodInfo) -> Option<(&'a FailureRule, usize)> {
    matching(job, pod).map(|(position, rule)| (rule, position))
}

/// The first rule that matches a pod that failed.
fn matching<'a>(job: &'a Job, pod: &PodInfo) -> Option<(usize, &'a FailureRule)> {
    if pod.phase != Phase::Failed {
        return None;
    }
    let found = pod.job.as_ref()?;
    job.failure_rules.iter().enumerate().find(|(_, rule)| {
        if let Some(codes) = &rule.on_exit_codes {
            return found.exits.iter().any(|exit| matches(codes, exit));
        }
        rule.on_pod_conditions.iter().any(|wanted| {
            found
                .conditions
                .iter()
                .any(|(kind, status)| *kind == wanted.kind && status == wanted_status(wanted))
        })
    })
}

fn matches(codes: &OnExitCodes, exit: &crate::view::job_pod::Exit) -> bool {
    // A success is never a failure, whatever a rule does not name.
    if exit.code == 0 || codes.container_name.as_ref().is_some_and(|name| *name != exit.container) {
        return false;
    }
    let is_listed = codes.values.contains(&exit.code);
    match codes.operator.as_str() {
        "In" => is_listed,
        "NotIn" => !is_listed,
        _ => false,
    }
}

fn wanted_status(wanted: &crate::view::workload::OnPodCondition) -> &str {
    wanted.status.as_deref().unwrap_or("True")
}
