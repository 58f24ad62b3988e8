//! Job.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    field::{FieldError, Path},
    kind::{
        Column, FieldLabel, FieldLabels, Generation, Kind, Subresource, Warns, age_cell, label_selector,
        workload::{self, CONTAINER_COLUMNS, container_cells, count_cell, name_cell},
    },
    names,
    pipeline::Creation,
    time::{human_duration, parse_time},
    value::{default, default_text, has, is_true, list, object_mut, set, text},
};

mod failure_policy;
pub(super) mod spec;
mod status;
mod success_policy;
mod update;

pub(in crate::kind) static KIND: Kind = Kind {
    group: "batch",
    kind: "Job",
    plural: "jobs",
    singular: "job",
    categories: &["all"],
    schema: "io.k8s.api.batch.v1.Job",
    subresources: &[Subresource::STATUS],
    columns: &[
        Column::NAME,
        Column::shown("Status", "How it is doing."),
        Column::shown("Completions", "How many pods have succeeded, of how many."),
        Column::shown("Duration", "How long it has run, or ran."),
        Column::AGE,
        CONTAINER_COLUMNS[0],
        CONTAINER_COLUMNS[1],
        Column::wide("Selector", "Which pods are its own."),
    ],
    inert: None,
    generation: Generation::CountsSpecChanges,
    fields: FieldLabels::Named(&[FieldLabel {
        label: "status.successful",
        canonical: "status.successful",
        value: |object, _| object["status"]["succeeded"].as_i64().unwrap_or(0).to_string(),
    }]),
    default: defaults,
    prepare_create,
    prepare_update: workload::keep_status,
    validate,
    validate_update: update::check,
    validate_status: status::check,
    warnings: |object| {
        let mut warnings = workload::warnings(object);
        warnings.extend(spec::warnings(&object["spec"]));
        warnings
    },
    warns: Warns::OnNewGenerations,
    row,
    ..Kind::BASE
};

fn defaults(object: &mut Value) {
    let job = object_mut(object, "spec");
    spec::default_template(job);
    let template_labels = workload::template_labels(job).clone();
    let (completions, parallelism) = (has(job, "completions"), has(job, "parallelism"));
    if !completions && !parallelism {
        default(job, "completions", 1);
    }
    default(job, "parallelism", 1);
    // Indexes that may fail one by one do not share a limit.
    let limit = if has(job, "backoffLimitPerIndex") { i64::from(i32::MAX) } else { 6 };
    default(job, "backoffLimit", limit);
    default_text(job, "completionMode", "NonIndexed");
    default(job, "suspend", false);
    default(job, "manualSelector", false);
    let replaced = if has(job, "podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
    default_text(job, "podReplacementPolicy", replaced);
    let metadata = object_mut(object, "metadata");
    if !has(metadata, "labels") && !template_labels.is_null() {
        default(metadata, "labels", template_labels);
    }
}

/// Selects its own pods by its uid, unless its author selects them.
fn prepare_create(object: &mut Value, _creation: &Creation<'_>) {
    workload::reset_status(object);
    if is_true(&object["spec"], "manualSelector") {
        return;
    }
    // Labels that were taken from the template stay the template's.
    let labels = &object["metadata"]["labels"];
    let follows_template = labels.is_null() || labels == workload::template_labels(&object["spec"]);
    let [uid, name] = ["uid", "name"].map(|key| text(&object["metadata"], key).to_owned());
    let job = object_mut(object, "spec");
    let labels = object_mut(object_mut(object_mut(job, "template"), "metadata"), "labels");
    for (key, value) in own_labels(&uid, &name) {
        default(labels, key, value);
    }
    let labels = labels.clone();
    default(object_mut(object_mut(job, "selector"), "matchLabels"), CONTROLLER_UID, uid);
    if follows_template {
        set(object_mut(object, "metadata"), "labels", labels);
    }
}

fn own_labels<'l>(uid: &'l str, name: &'l str) -> [(&'static str, &'l str); 4] {
    [("job-name", name), (JOB_NAME, name), ("controller-uid", uid), (CONTROLLER_UID, uid)]
}

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    let (metadata, job) = (&object["metadata"], &object["spec"]);
    if !is_true(job, "manualSelector") {
        check_generated_selector(metadata, job, errors);
    }
    check_spec(job, errors);
    let completions = job["completions"].as_i64().unwrap_or(0);
    if text(job, "completionMode") == "Indexed" && completions > 0 {
        let name = text(metadata, "name");
        let longest = format!("{name}-{}", completions - 1);
        if !names::dns_label(&longest).is_empty() {
            let detail = format!("will not able to create pod with invalid DNS label: {longest}");
            errors.push(FieldError::invalid("metadata.name", name, &detail));
        }
    }
}

fn check_spec(job: &Value, errors: &mut Vec<FieldError>) {
    let field = Path::new("spec");
    spec::check(job, &field, errors);
    label_selector::check(&job["selector"], &field.child("selector"), errors);
    if label_selector::selects(&job["selector"], workload::template_labels(job)) == Some(false) {
        errors.push(workload::not_selected(job, &field));
    }
}

/// The template has the labels by which the selector finds pods of this job alone.
fn check_generated_selector(metadata: &Value, job: &Value, errors: &mut Vec<FieldError>) {
    let labels = own_labels(text(metadata, "uid"), text(metadata, "name"));
    let field = Path::new("spec.template.metadata.labels");
    for (key, expected) in [labels[2], labels[0], labels[3], labels[1]] {
        let found = workload::template_labels(job)[key].as_str();
        if found != Some(expected) {
            let field = field.clone();
            errors.push(match found {
                None => FieldError::required(field.key(key), &format!("must be '{expected}'")),
                Some(_) => {
                    let all = workload::template_labels(job).clone();
                    FieldError::invalid(field.key(key), all, &format!("must be '{expected}'"))
                }
            });
        }
    }
    let expected =
        Value::Object(labels.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect());
    if label_selector::selects(&job["selector"], &expected) == Some(false) {
        let shown = label_selector::shown(&job["selector"]);
        errors.push(FieldError::invalid_json("spec.selector", &shown, "`selector` not auto-generated"));
    }
}

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    let (job, status) = (&object["spec"], &object["status"]);
    let succeeded = count_cell(status, "succeeded");
    let completions = match (job["completions"].as_i64(), job["parallelism"].as_i64().unwrap_or(0)) {
        (Some(completions), _) => format!("{succeeded}/{completions}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    };
    let duration = parse_time(&status["startTime"]).map_or(String::new(), |start| {
        human_duration(parse_time(&status["completionTime"]).unwrap_or(now).duration_since(start))
    });
    let [containers, images] = container_cells(&job["template"]);
    vec![
        name_cell(object),
        progress(object).into(),
        completions.into(),
        duration.into(),
        age_cell(object, now),
        containers,
        images,
        label_selector::cell(&job["selector"]).into(),
    ]
}

/// How a job is doing, in one word.
fn progress(object: &Value) -> &'static str {
    let ended = ["Complete", "Failed"].into_iter().find(|name| is_condition_true(object, name));
    let ended = ended.or_else(|| has(&object["metadata"], "deletionTimestamp").then_some("Terminating"));
    let waits = ["Suspended", "FailureTarget", "SuccessCriteriaMet"].into_iter();
    ended.or_else(|| waits.into_iter().find(|name| is_condition_true(object, name))).unwrap_or("Running")
}

/// Whether a condition holds.
fn is_condition_true(object: &Value, name: &str) -> bool {
    let conditions = list(&object["status"], "conditions").iter();
    conditions
        .into_iter()
        .any(|condition| text(condition, "type") == name && text(condition, "status") == "True")
}

const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";
const JOB_NAME: &str = "batch.kubernetes.io/job-name";

#[cfg(test)]
mod tests;
