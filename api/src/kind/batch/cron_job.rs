//! CronJob.

use jiff::Timestamp;
use serde_json::Value;

use super::job;
use crate::{
    field::{FieldError, Path},
    kind::{
        Column, Generation, Kind, Subresource, Warns, age_cell, label_selector,
        pod::template,
        workload::{self, CONTAINER_COLUMNS, check_counts, container_cells, name_cell},
    },
    schedule::Schedule,
    time, time_zone,
    value::{default, default_text, has, is_true, list, object_mut, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    group: "batch",
    kind: "CronJob",
    plural: "cronjobs",
    singular: "cronjob",
    short_names: &["cj"],
    categories: &["all"],
    schema: "io.k8s.api.batch.v1.CronJob",
    subresources: &[Subresource::STATUS],
    columns: &[
        Column::NAME,
        Column::shown("Schedule", "When it makes jobs."),
        Column::shown("Timezone", "The time zone of its schedule."),
        Column::boolean("Suspend", "Whether it makes none for now."),
        Column::integer("Active", "How many of its jobs run."),
        Column::shown("Last Schedule", "Time since it last made a job."),
        Column::AGE,
        CONTAINER_COLUMNS[0],
        CONTAINER_COLUMNS[1],
        Column::wide("Selector", "Which pods its jobs select."),
    ],
    inert: None,
    generation: Generation::CountsSpecChanges,
    default: defaults,
    prepare_create: |object, _| workload::reset_status(object),
    prepare_update: workload::keep_status,
    validate,
    validate_create,
    warnings: |object| {
        let mut warnings = workload::name_warnings(object);
        let (template, field) = (&object["spec"]["jobTemplate"]["spec"], "spec.jobTemplate.spec.template");
        warnings.extend(template::warnings(&template["template"], &Path::new(field)));
        warnings.extend(job::spec::warnings(template));
        warnings
    },
    warns: Warns::OnNewGenerations,
    row,
    ..Kind::BASE
};

fn defaults(object: &mut Value) {
    let spec = object_mut(object, "spec");
    default_text(spec, "concurrencyPolicy", "Allow");
    default(spec, "suspend", false);
    default(spec, "successfulJobsHistoryLimit", 3);
    default(spec, "failedJobsHistoryLimit", 1);
    job::spec::default_template(object_mut(object_mut(spec, "jobTemplate"), "spec"));
}

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    let (spec, field) = (&object["spec"], Path::new("spec"));
    check_schedule(text(spec, "schedule"), &field.child("schedule"), errors);
    check_counts(spec, &["startingDeadlineSeconds"], &field, errors);
    if let Some(zone) = spec["timeZone"].as_str()
        && let Err(error) = time_zone::check(zone)
    {
        errors.push(FieldError::invalid(field.child("timeZone"), zone, &error.to_string()));
    }
    let policy = text(spec, "concurrencyPolicy");
    let policies = ["Allow", "Forbid", "Replace"];
    if !policies.contains(&policy) {
        errors.push(FieldError::not_supported(field.child("concurrencyPolicy"), policy, &policies));
    }
    let (template, template_field) = (&spec["jobTemplate"]["spec"], field.child("jobTemplate").child("spec"));
    job::spec::check(template, &template_field, errors);
    if has(template, "selector") {
        let shown = label_selector::shown(&template["selector"]);
        let detail = "`selector` will be auto-generated";
        errors.push(FieldError::invalid_json(template_field.child("selector"), &shown, detail));
    }
    if is_true(template, "manualSelector") {
        let field = template_field.child("manualSelector");
        errors.push(FieldError::not_supported(field, true, &["nil", "false"]));
    }
    check_counts(spec, &["successfulJobsHistoryLimit", "failedJobsHistoryLimit"], &field, errors);
}

fn check_schedule(schedule: &str, field: &Path, errors: &mut Vec<FieldError>) {
    if schedule.is_empty() {
        errors.push(FieldError::required(field, ""));
        return;
    }
    if let Err(error) = Schedule::parse(schedule) {
        errors.push(FieldError::invalid(field, schedule, &error.to_string()));
    }
    if schedule.contains("TZ") {
        let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        errors.push(FieldError::invalid(field, schedule, detail));
    }
}

fn validate_create(object: &Value, errors: &mut Vec<FieldError>) {
    let name = text(&object["metadata"], "name");
    if name.len() > NAME_LIMIT_BYTES {
        let detail = format!("must be no more than {NAME_LIMIT_BYTES} characters");
        errors.push(FieldError::invalid("metadata.name", name, &detail));
    }
}

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let suspend = match spec["suspend"].as_bool() {
        Some(true) => "True",
        Some(false) => "False",
        None => "<unset>",
    };
    let last = match &status["lastScheduleTime"] {
        Value::Null => "<none>".to_owned(),
        last => time::age(last, now),
    };
    let job = &spec["jobTemplate"]["spec"];
    let [containers, images] = container_cells(&job["template"]);
    vec![
        name_cell(object),
        text(spec, "schedule").into(),
        spec["timeZone"].as_str().unwrap_or("<none>").into(),
        suspend.into(),
        list(status, "active").len().into(),
        last.into(),
        age_cell(object, now),
        containers,
        images,
        label_selector::cell(&job["selector"]).into(),
    ]
}

/// A job's name has the time it was due at the end, and stays within a label.
const NAME_LIMIT_BYTES: usize = 52;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::field::messages;

    fn cron_job(change: impl FnOnce(&mut Value)) -> Value {
        let containers = json!([{"name": "c", "image": "i"}]);
        let template =
            json!({"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": containers}}}});
        let mut object =
            json!({"metadata": {"name": "c"}, "spec": {"schedule": "* * * * *", "jobTemplate": template}});
        change(&mut object["spec"]);
        defaults(&mut object);
        object
    }

    #[test]
    fn rules() {
        let check = |change: fn(&mut Value), expected: &[&str]| {
            let object = cron_job(change);
            assert_eq!(messages(|errors| validate(&object, errors)), expected);
        };
        check(|_| {}, &[]);
        check(|spec| spec["schedule"] = json!(""), &["spec.schedule: Required value"]);
        check(
            |spec| spec["schedule"] = json!("TZ=UTC * * * * *"),
            &[
                "spec.schedule: Invalid value: \"TZ=UTC * * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
            ],
        );
        check(
            |spec| spec["timeZone"] = json!("Mars/Base"),
            &["spec.timeZone: Invalid value: \"Mars/Base\": unknown time zone Mars/Base"],
        );
        check(
            |spec| spec["concurrencyPolicy"] = json!("x"),
            &[
                "spec.concurrencyPolicy: Unsupported value: \"x\": supported values: \"Allow\", \"Forbid\", \"Replace\"",
            ],
        );
        check(
            |spec| spec["jobTemplate"]["spec"]["selector"] = json!({"matchLabels": {"a": "b"}}),
            &[
                "spec.jobTemplate.spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\"}}: `selector` will be auto-generated",
            ],
        );
        check(
            |spec| spec["jobTemplate"]["spec"]["manualSelector"] = json!(true),
            &[
                "spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: \"nil\", \"false\"",
            ],
        );
        check(
            |spec| spec["failedJobsHistoryLimit"] = json!(-1),
            &["spec.failedJobsHistoryLimit: Invalid value: -1: must be greater than or equal to 0"],
        );
    }

    #[test]
    fn names_leave_room_for_the_time() {
        let check = |length: usize, expected: usize| {
            let object = json!({"metadata": {"name": "x".repeat(length)}});
            assert_eq!(messages(|errors| validate_create(&object, errors)).len(), expected);
        };
        check(NAME_LIMIT_BYTES, 0);
        check(NAME_LIMIT_BYTES + 1, 1);
    }

    #[test]
    fn rows_show_the_schedule() {
        let mut object = cron_job(|_| {});
        let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
        let expected =
            json!(["c", "* * * * *", "<none>", "False", 0, "<none>", "<unknown>", "c", "i", "<none>"]);
        assert_eq!(json!(row(&object, now)), expected);
        object["status"] = json!({"active": [{}], "lastScheduleTime": "2026-01-01T00:00:00Z"});
        assert_eq!(row(&object, now)[4..6], [json!(1), json!("10m")]);
    }
}
