//! Rules for what a Job is to do, in a Job or in the template of a CronJob.

use serde_json::Value;

use super::{failure_policy, success_policy};
use crate::{
    field::{FieldError, Path},
    kind::{pod::template, report, workload},
    names,
    value::{default_text, has, list_mut, text},
};

/// Fills in what a job has by default wherever it is.
pub(in crate::kind::batch) fn default_template(job: &mut Value) {
    workload::default_template(job);
    if !has(job, "podFailurePolicy") {
        return;
    }
    for rule in list_mut(&mut job["podFailurePolicy"], "rules") {
        for pattern in list_mut(rule, "onPodConditions") {
            default_text(pattern, "status", "True");
        }
    }
}

pub(in crate::kind::batch) fn check(job: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    workload::check_counts(job, &COUNTS, field, errors);
    if has(job, "maxFailedIndexes") && !has(job, "backoffLimitPerIndex") {
        let field = field.child("backoffLimitPerIndex");
        errors.push(FieldError::required(field, "when maxFailedIndexes is specified"));
    }
    if let Some(manager) = job["managedBy"].as_str() {
        let field = field.child("managedBy");
        report(names::domain_prefixed_path(manager), &field, manager, errors);
        if manager.len() > MANAGER_LIMIT_BYTES {
            errors.push(FieldError::too_long(field, MANAGER_LIMIT_BYTES));
        }
    }
    check_mode(job, field, errors);
    if has(job, "podFailurePolicy") {
        failure_policy::check(job, &field.child("podFailurePolicy"), errors);
    }
    if has(job, "successPolicy") {
        success_policy::check(job, &field.child("successPolicy"), errors);
    }
    check_replacement(job, &field.child("podReplacementPolicy"), errors);
    let template_field = field.child("template");
    template::check(&job["template"], &template_field, errors);
    check_restarts(job, &template_field.child("spec").child("restartPolicy"), errors);
}

fn check_mode(job: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    match text(job, "completionMode") {
        "Indexed" => return check_indexed(job, field, errors),
        "NonIndexed" => {}
        "" if !has(job, "completionMode") => {}
        other => {
            let field = field.child("completionMode");
            errors.push(FieldError::not_supported(field, other, &["NonIndexed", "Indexed"]));
            return;
        }
    }
    for key in ["backoffLimitPerIndex", "maxFailedIndexes"] {
        if has(job, key) {
            let detail = "requires indexed completion mode";
            errors.push(FieldError::invalid(field.child(key), job[key].clone(), detail));
        }
    }
}

fn check_indexed(job: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let [completions, failed] = ["completions", "maxFailedIndexes"].map(|key| job[key].as_i64());
    if completions.is_none() {
        errors.push(FieldError::required(field.child("completions"), "when completion mode is Indexed"));
    }
    let within = " when completion mode is Indexed";
    check_limit(job, "parallelism", INDEXES_LIMIT, within, field, errors);
    if let (Some(completions), Some(failed)) = (completions, failed)
        && failed > completions
    {
        let detail = "must be less than or equal to completions";
        errors.push(FieldError::invalid(field.child("maxFailedIndexes"), failed, detail));
    }
    check_limit(job, "maxFailedIndexes", INDEXES_LIMIT, "", field, errors);
    if completions.is_some_and(|completions| completions > INDEXES_LIMIT) && has(job, "backoffLimitPerIndex")
    {
        if failed.is_none() {
            let detail = format!("must be specified when completions is above {INDEXES_LIMIT}");
            errors.push(FieldError::required(field.child("maxFailedIndexes"), &detail));
        }
        let when =
            format!(" when completions are above {INDEXES_LIMIT} and used with backoff limit per index");
        check_limit(job, "parallelism", MANY_INDEXES_LIMIT, &when, field, errors);
        check_limit(job, "maxFailedIndexes", MANY_INDEXES_LIMIT, &when, field, errors);
    }
}

fn check_limit(job: &Value, key: &str, limit: i64, when: &str, field: &Path, errors: &mut Vec<FieldError>) {
    if let Some(value) = job[key].as_i64().filter(|value| *value > limit) {
        let detail = format!("must be less than or equal to {limit}{when}");
        errors.push(FieldError::invalid(field.child(key), value, &detail));
    }
}

fn check_replacement(job: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let supported: &[&str] =
        if has(job, "podFailurePolicy") { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    if let Some(policy) = job["podReplacementPolicy"].as_str().filter(|policy| !supported.contains(policy)) {
        errors.push(FieldError::not_supported(field, policy, supported));
    }
}

/// A job's pods end.
fn check_restarts(job: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    match text(&job["template"]["spec"], "restartPolicy") {
        "Always" | "" => {
            errors.push(FieldError::required(field, "valid values: \"OnFailure\", \"Never\""));
        }
        "Never" => {}
        "OnFailure" if has(job, "podFailurePolicy") => {
            let detail = "only \"Never\" is supported when podFailurePolicy is specified";
            errors.push(FieldError::invalid(field, "OnFailure", detail));
        }
        "OnFailure" => {}
        other => errors.push(FieldError::not_supported(field, other, &["OnFailure", "Never"])),
    }
}

/// Warnings about jobs whose progress cannot be told in full.
pub(in crate::kind::batch) fn warnings(job: &Value) -> Vec<String> {
    let above = |key: &str, limit: i64| job[key].as_i64().is_some_and(|value| value > limit);
    let too_many = text(job, "completionMode") == "Indexed"
        && above("completions", INDEXES_LIMIT)
        && above("parallelism", MANY_INDEXES_LIMIT);
    let warning = "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes \
                   might not be able to track completedIndexes when a big number of indexes fail";
    if too_many { vec![warning.to_owned()] } else { Vec::new() }
}

/// Numbers that may not be negative, in the order in which they are checked.
const COUNTS: [&str; 7] = [
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
];

/// The name of a controller of somebody's own.
const MANAGER_LIMIT_BYTES: usize = 63;
/// Keeps the list of completed indexes in a status small.
const INDEXES_LIMIT: i64 = 100_000;
/// The same where there are more indexes than that.
const MANY_INDEXES_LIMIT: i64 = 10_000;
