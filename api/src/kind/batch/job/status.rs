//! Rules for what a controller reports about a Job. What an update does not change is not held against it.

use jiff::Timestamp;
use serde_json::Value;

use super::is_condition_true;
use crate::{
    field::{FieldError, Path},
    kind::{batch::indexes, workload::check_counts},
    time::parse_time,
    value::{has, is_true, list, text},
};

pub(super) fn check(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let (status, field) = (&new["status"], Path::new("status"));
    check_counts(status, &["active", "succeeded", "failed", "ready", "terminating"], &field, errors);
    check_uncounted(status, &field.child("uncountedTerminatedPods"), errors);
    let change = Change { new, old };
    change.check_conditions(errors);
    change.check_times(errors);
    change.check_end(errors);
    change.check_indexes(errors);
    change.check_counters(errors);
}

/// An update of a status.
struct Change<'o> {
    new: &'o Value,
    old: &'o Value,
}

impl Change<'_> {
    /// Conditions that exclude each other, need each other, or never end.
    fn check_conditions(&self, errors: &mut Vec<FieldError>) {
        let is = |name: &str| is_condition_true(self.new, name);
        let was = |name: &str| is_condition_true(self.old, name);
        let changed = |name: &str| is(name) != was(name);
        let mut refuse = |detail: &str| {
            errors.push(FieldError::invalid_as_a_whole("status.conditions", detail));
        };
        if (changed(COMPLETE) || changed(FAILED)) && is(COMPLETE) && is(FAILED) {
            refuse("cannot set Complete=True and Failed=true conditions");
        }
        if (changed(COMPLETE) || changed(FAILURE_TARGET)) && is(COMPLETE) && is(FAILURE_TARGET) {
            refuse("cannot set Complete=True and FailureTarget=true conditions");
        }
        if changed(FAILED) && is(FAILED) && !is(FAILURE_TARGET) {
            refuse("cannot set Failed=True condition without the FailureTarget=true condition");
        }
        if changed(COMPLETE) && is(COMPLETE) && !is(SUCCESS) {
            refuse("cannot set Complete=True condition without the SuccessCriteriaMet=true condition");
        }
        if is(SUCCESS) && is(FAILED) {
            refuse("cannot set SuccessCriteriaMet=True and Failed=true conditions");
        }
        if is(SUCCESS) && is(FAILURE_TARGET) {
            refuse("cannot set SuccessCriteriaMet=True and FailureTarget=true conditions");
        }
        for ended in [FAILED, COMPLETE, FAILURE_TARGET] {
            if was(ended) && !is(ended) {
                refuse(&format!("cannot disable the terminal {ended}=True condition"));
            }
        }
        if was(SUCCESS) && !is(SUCCESS) {
            refuse("cannot disable the SuccessCriteriaMet=True condition");
        }
        if was(COMPLETE) && !was(SUCCESS) && is(SUCCESS) {
            refuse("cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions");
        }
    }

    fn check_times(&self, errors: &mut Vec<FieldError>) {
        let [start, end] = ["startTime", "completionTime"].map(|key| self.time(key));
        let [start_changed, end_changed] = ["startTime", "completionTime"].map(|key| self.differs(key));
        let is_complete = is_condition_true(self.new, COMPLETE);
        let complete_changed = is_complete != is_condition_true(self.old, COMPLETE);
        let (end_value, end_field) =
            (&self.new["status"]["completionTime"], Path::new("status.completionTime"));
        let mut refuse = |detail: &str| {
            errors.push(FieldError::invalid(&end_field, end_value.clone(), detail));
        };
        if complete_changed || end_changed {
            if end.is_some() && !is_complete {
                refuse("cannot set completionTime when there is no Complete=True condition");
            }
            if end.is_none() && is_complete {
                errors.push(FieldError::required(&end_field, "completionTime is required for Complete jobs"));
                return;
            }
        }
        if (start_changed || end_changed) && start.zip(end).is_some_and(|(start, end)| end < start) {
            refuse("completionTime cannot be set before startTime");
        }
        if end_changed && end.is_some() && has(&self.old["status"], "completionTime") {
            refuse("completionTime cannot be mutated");
        }
        let is_suspended = is_true(&self.new["spec"], "suspend");
        if start_changed && has(&self.old["status"], "startTime") && !is_suspended {
            let detail = "startTime cannot be removed for unsuspended job";
            errors.push(FieldError::required("status.startTime", detail));
        }
    }

    /// A job that has ended has no pods left.
    fn check_end(&self, errors: &mut Vec<FieldError>) {
        let status = &self.new["status"];
        let ended_now = is_finished(self.new) != is_finished(self.old);
        if is_finished(self.new) {
            for key in ["active", "terminating"] {
                let count = status[key].as_i64().unwrap_or(0);
                if (ended_now || self.differs(key)) && count > 0 {
                    let detail = format!("{key}>0 is invalid for finished job");
                    errors.push(FieldError::invalid(Path::new("status").child(key), count, &detail));
                }
            }
            if (ended_now || self.differs("startTime")) && !has(status, "startTime") {
                errors
                    .push(FieldError::required("status.startTime", "startTime is required for finished job"));
            }
            let uncounted = &status["uncountedTerminatedPods"];
            let is_empty = ["succeeded", "failed"].iter().all(|key| list(uncounted, key).is_empty());
            if (ended_now || self.differs("uncountedTerminatedPods")) && !is_empty {
                let detail = "uncountedTerminatedPods needs to be empty for finished job";
                errors.push(FieldError::invalid("status.uncountedTerminatedPods", uncounted.clone(), detail));
            }
        }
        let [ready, active] = ["ready", "active"].map(|key| status[key].as_i64().unwrap_or(0));
        if (self.differs("ready") || self.differs("active")) && ready > active {
            errors.push(FieldError::invalid("status.ready", ready, "cannot set more ready pods than active"));
        }
    }

    fn check_indexes(&self, errors: &mut Vec<FieldError>) {
        let (job, status) = (&self.new["spec"], &self.new["status"]);
        let [completed_changed, failed_changed] =
            ["completedIndexes", "failedIndexes"].map(|key| self.differs(key));
        let (completed, failed) = (text(status, "completedIndexes"), status["failedIndexes"].as_str());
        let completions = job["completions"].as_i64();
        let per_index = has(job, "backoffLimitPerIndex");
        let mut check_format = |key: &str, set: &str| {
            if let Some(Err(error)) = completions.map(|completions| indexes::count(set, completions)) {
                let detail = format!("error parsing {key}: {error}");
                errors.push(FieldError::invalid(Path::new("status").child(key), set, &detail));
            }
        };
        if completed_changed {
            check_format("completedIndexes", completed);
        }
        if let Some(failed) = failed.filter(|_| failed_changed && per_index) {
            check_format("failedIndexes", failed);
        }
        if completed_changed && !completed.is_empty() && text(job, "completionMode") != "Indexed" {
            let detail = "cannot set non-empty completedIndexes when non-indexed completion mode";
            errors.push(FieldError::invalid("status.completedIndexes", completed, detail));
        }
        let Some(failed) = failed else { return };
        if failed_changed && !per_index {
            let detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
            errors.push(FieldError::invalid("status.failedIndexes", failed, detail));
        }
        let overlap = completions.and_then(|completions| indexes::overlap(completed, failed, completions));
        if let Some(index) = overlap.filter(|_| failed_changed || completed_changed) {
            let detail = format!("failedIndexes and completedIndexes overlap at index: {index}");
            errors.push(FieldError::invalid("status.failedIndexes", failed, &detail));
        }
    }

    /// Pods that ended stay counted, unless the job itself shrank.
    fn check_counters(&self, errors: &mut Vec<FieldError>) {
        let job = &self.new["spec"];
        let may_shrink = text(job, "completionMode") == "Indexed" && job["completions"] == job["parallelism"];
        for (key, applies) in [("failed", true), ("succeeded", !may_shrink)] {
            let [after, before] =
                [self.new, self.old].map(|object| object["status"][key].as_i64().unwrap_or(0));
            if applies && after < before {
                let detail = format!("cannot decrease the {key} counter");
                errors.push(FieldError::invalid(Path::new("status").child(key), after, &detail));
            }
        }
    }

    fn differs(&self, key: &str) -> bool {
        self.new["status"][key] != self.old["status"][key]
    }

    fn time(&self, key: &str) -> Option<Timestamp> {
        parse_time(&self.new["status"][key])
    }
}

/// Pods that ended and are not counted yet are named once.
fn check_uncounted(status: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let mut seen = Vec::new();
    for key in ["succeeded", "failed"] {
        let uids = list(&status["uncountedTerminatedPods"], key).iter().filter_map(Value::as_str);
        for (position, uid) in uids.enumerate() {
            let field = field.child(key).index(position);
            if uid.is_empty() {
                errors.push(FieldError::invalid(field, uid, "must not be empty"));
            } else if seen.contains(&uid) {
                errors.push(FieldError::duplicate(field, uid));
            } else {
                seen.push(uid);
            }
        }
    }
}

fn is_finished(object: &Value) -> bool {
    [COMPLETE, FAILED].iter().any(|name| is_condition_true(object, name))
}

const COMPLETE: &str = "Complete";
const FAILED: &str = "Failed";
const FAILURE_TARGET: &str = "FailureTarget";
const SUCCESS: &str = "SuccessCriteriaMet";
