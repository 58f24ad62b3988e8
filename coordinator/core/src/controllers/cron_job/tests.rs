//! CronJobs in a small cluster: when Jobs come, which are left out, and which are kept.

use std::time::Duration;

use serde_json::{Value, json};

use crate::controllers::world::{World, id};

fn cron(spec: &Value) -> Value {
    let mut cron = json!({
        "apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": { "name": "c", "namespace": "default" },
        "spec": {
            "schedule": "*/10 * * * *", "concurrencyPolicy": "Allow",
            "jobTemplate": {
                "metadata": { "labels": { "from": "c" } },
                "spec": {
                    "parallelism": 1, "completions": 1, "backoffLimit": 0,
                    "selector": { "matchLabels": { "job": "c" } },
                    "template": {
                        "metadata": { "labels": { "job": "c" } },
                        "spec": { "restartPolicy": "Never", "containers": [{ "name": "c", "image": "i" }] },
                    },
                },
            },
        },
    });
    dunlin_api::patch::merge(&mut cron["spec"], spec.clone());
    cron
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

fn jobs(world: &World) -> Vec<String> {
    let name = |job: &Value| job["metadata"]["name"].as_str().unwrap().to_owned();
    world.of("jobs", "c-").iter().map(name).collect()
}

fn status(world: &World) -> Value {
    world.of("cronjobs", "c")[0]["status"].clone()
}

fn told(world: &World, reason: &str) -> usize {
    world.told.iter().filter(|(told, _)| told == reason).count()
}

#[test]
fn a_job_comes_at_each_time_and_says_which() {
    let mut world = World::new();
    world.apply(cron(&json!({})));
    assert!(jobs(&world).is_empty());
    world.pass(minutes(9));
    assert!(jobs(&world).is_empty());
    world.pass(minutes(1));
    // 2026-01-01T00:10:00Z in minutes.
    assert_eq!(jobs(&world), ["c-29453770"]);
    let job = &world.of("jobs", "c-")[0]["metadata"];
    assert_eq!(job["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"], "2026-01-01T00:10:00Z");
    assert_eq!(job["labels"]["from"], "c");
    assert_eq!(status(&world)["lastScheduleTime"], "2026-01-01T00:10:00Z");
    assert_eq!(status(&world)["active"][0]["name"], "c-29453770");
    world.end("c-", 1, 0);
    assert_eq!(status(&world)["active"], Value::Null);
    assert_eq!(status(&world)["lastSuccessfulTime"], "2026-01-01T00:10:00Z");
    assert_eq!(told(&world, "SawCompletedJob"), 1);
    world.pass(minutes(5));
    assert_eq!(jobs(&world).len(), 1, "once");
    world.pass(minutes(5));
    assert_eq!(jobs(&world).len(), 2);
}

#[test]
fn what_was_missed_comes_once() {
    let mut world = World::new();
    world.apply(cron(&json!({})));
    world.pass(minutes(60 * 24 * 30 + 15));
    assert_eq!(jobs(&world), ["c-29496970"], "only the last of thousands");
    assert_eq!(told(&world, "TooManyMissedTimes"), 1);
    let mut world = World::new();
    world.apply(cron(&json!({ "startingDeadlineSeconds": 120 })));
    world.pass(minutes(13));
    assert!(jobs(&world).is_empty(), "too late");
    world.pass(minutes(8));
    assert_eq!(jobs(&world).len(), 1);
}

#[test]
fn a_job_that_still_runs_keeps_the_next_away_or_makes_room() {
    let mut world = World::new();
    world.apply(cron(&json!({ "concurrencyPolicy": "Forbid" })));
    world.pass(minutes(10));
    world.pass(minutes(10));
    assert_eq!(jobs(&world).len(), 1);
    assert!(told(&world, "JobAlreadyActive") > 0);
    world.end("c-", 1, 0);
    assert_eq!(jobs(&world).len(), 2, "the time that passed is served");
    let mut world = World::new();
    world.apply(cron(&json!({ "concurrencyPolicy": "Replace" })));
    world.pass(minutes(10));
    world.pass(minutes(10));
    assert_eq!(jobs(&world), ["c-29453780"]);
}

#[test]
fn only_so_many_ended_jobs_are_kept() {
    let mut world = World::new();
    world.apply(cron(&json!({ "successfulJobsHistoryLimit": 2, "failedJobsHistoryLimit": 1 })));
    for code in [0, 1, 0, 1, 0] {
        world.pass(minutes(10));
        world.end("c-", 1, code);
    }
    assert_eq!(jobs(&world).len(), 3);
}

#[test]
fn a_suspended_one_rests_and_zones_count() {
    let mut world = World::new();
    world.apply(cron(&json!({ "suspend": true })));
    world.pass(minutes(25));
    assert!(jobs(&world).is_empty());
    world.patch(&id("batch/v1", "CronJob", "c"), &json!({ "spec": { "suspend": false } }));
    assert_eq!(jobs(&world).len(), 1, "the last time that passed");

    let mut world = World::new();
    world.apply(cron(&json!({ "schedule": "0 3 * * *", "timeZone": "Europe/Zurich" })));
    world.pass(minutes(119));
    assert!(jobs(&world).is_empty());
    world.pass(minutes(1));
    let job = &world.of("jobs", "c-")[0]["metadata"]["annotations"];
    assert_eq!(job["batch.kubernetes.io/cronjob-scheduled-timestamp"], "2026-01-01T03:00:00+01:00");
}

#[test]
fn a_deadline_longer_than_any_time_is_never_missed() {
    let mut world = World::new();
    world.apply(cron(&json!({ "startingDeadlineSeconds": i64::MAX })));
    world.pass(minutes(10));
    assert_eq!(jobs(&world).len(), 1);
}
