//! Jobs and CronJobs.

use dunlin_api::time::human_duration;
use jiff::Timestamp;
use serde_json::Value;

use super::{
    Sheet, template, time,
    workload::{controlled_by, identity, selector},
};
use crate::document::{at, items, plain, text};

pub(super) fn job(sheet: &mut Sheet, object: &Value) {
    identity(sheet, object);
    sheet.field(0, "Selector", selector(object));
    sheet.labels(object);
    controlled_by(sheet, object);
    let spec = &object["spec"];
    sheet.field_if_any(0, "Parallelism", &plain(&spec["parallelism"]));
    sheet.field(0, "Completions", or_unset(&spec["completions"]));
    sheet.field_if_any(0, "Completion Mode", text(spec, &["completionMode"]));
    sheet.field_if_any(0, "Suspend", &plain(&spec["suspend"]));
    sheet.field_if_any(0, "Backoff Limit", &plain(&spec["backoffLimit"]));
    sheet.field_if_any(0, "TTL Seconds After Finished", &plain(&spec["ttlSecondsAfterFinished"]));
    times(sheet, object);
    if let Some(seconds) = spec["activeDeadlineSeconds"].as_i64() {
        sheet.field(0, "Active Deadline Seconds", format!("{seconds}s"));
    }
    pods(sheet, &object["status"]);
    if text(spec, &["completionMode"]) == "Indexed" {
        let done = text(object, &["status", "completedIndexes"]);
        sheet.field(0, "Completed Indexes", if done.is_empty() { "<none>" } else { done });
    }
    template::describe(sheet, &spec["template"]);
}

pub(super) fn cron_job(sheet: &mut Sheet, object: &Value) {
    sheet.head(object);
    let spec = &object["spec"];
    let job = &spec["jobTemplate"]["spec"];
    sheet.field(0, "Schedule", text(spec, &["schedule"]));
    sheet.field(0, "Concurrency Policy", text(spec, &["concurrencyPolicy"]));
    sheet.field(0, "Suspend", if spec["suspend"] == true { "True" } else { "False" });
    sheet.field(0, "Time Zone", or_unset(&spec["timeZone"]));
    sheet.field(0, "Successful Job History Limit", or_unset(&spec["successfulJobsHistoryLimit"]));
    sheet.field(0, "Failed Job History Limit", or_unset(&spec["failedJobsHistoryLimit"]));
    let deadline = spec["startingDeadlineSeconds"].as_i64();
    let deadline = deadline.map_or_else(|| "<unset>".to_owned(), |seconds| format!("{seconds}s"));
    sheet.field(0, "Starting Deadline Seconds", deadline);
    let selected =
        if job["selector"].is_object() { selector(&spec["jobTemplate"]) } else { "<unset>".to_owned() };
    sheet.field(0, "Selector", selected);
    sheet.field(0, "Parallelism", or_unset(&job["parallelism"]));
    sheet.field(0, "Completions", or_unset(&job["completions"]));
    template::describe(sheet, &job["template"]);
    let last = time(object, &["status", "lastScheduleTime"]);
    sheet.field(0, "Last Schedule Time", if last.is_empty() { "<unset>" } else { &last });
    let active: Vec<&str> =
        items(object, &["status", "active"]).iter().map(|job| text(job, &["name"])).collect();
    sheet.field(0, "Active Jobs", if active.is_empty() { "<none>".to_owned() } else { active.join(", ") });
}

fn times(sheet: &mut Sheet, object: &Value) {
    sheet.field_if_any(0, "Start Time", &time(object, &["status", "startTime"]));
    sheet.field_if_any(0, "Completed At", &time(object, &["status", "completionTime"]));
    let moment =
        |field: &str| at(object, &["status", field]).as_str().and_then(|time| time.parse::<Timestamp>().ok());
    if let (Some(start), Some(end)) = (moment("startTime"), moment("completionTime")) {
        sheet.field(0, "Duration", human_duration(end.duration_since(start)));
    }
}

fn pods(sheet: &mut Sheet, status: &Value) {
    let count = |field: &str| status[field].as_i64().unwrap_or(0);
    let (active, succeeded, failed) = (count("active"), count("succeeded"), count("failed"));
    sheet.field(
        0,
        "Pods Statuses",
        match status["ready"].as_i64() {
            Some(ready) => {
                format!("{active} Active ({ready} Ready) / {succeeded} Succeeded / {failed} Failed")
            }
            None => format!("{active} Active / {succeeded} Succeeded / {failed} Failed"),
        },
    );
}

fn or_unset(value: &Value) -> String {
    if value.is_null() { "<unset>".to_owned() } else { plain(value) }
}
