//! Jobs in a small cluster: counting, indexes, backoff, policies and their end.

use std::time::Duration;

use serde_json::{Value, json};

use crate::controllers::world::{World, id};

fn job(spec: &Value) -> Value {
    let mut job = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": { "name": "j", "namespace": "default", "labels": {} },
        "spec": {
            "parallelism": 1, "completions": 1, "backoffLimit": 6, "completionMode": "NonIndexed",
            "selector": { "matchLabels": { "batch.kubernetes.io/job-name": "j" } },
            "template": {
                "metadata": { "labels": { "batch.kubernetes.io/job-name": "j" } },
                "spec": { "restartPolicy": "Never", "containers": [{ "name": "c", "image": "i" }] },
            },
        },
    });
    dunlin_api::patch::merge(&mut job["spec"], spec.clone());
    job
}

fn status(world: &World) -> Value {
    world.of("jobs", "j")[0]["status"].clone()
}

fn conditions(world: &World) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let conditions = status(world)["conditions"].clone();
    let conditions = conditions.as_array().cloned().unwrap_or_default();
    conditions
        .iter()
        .filter(|condition| condition["status"] == "True")
        .map(|condition| (text(&condition["type"]), text(&condition["reason"])))
        .collect()
}

fn ended(first: &str, last: &str, reason: &str) -> Vec<(String, String)> {
    [first, last].map(|kind| (kind.to_owned(), reason.to_owned())).to_vec()
}

fn open(world: &World) -> Vec<Value> {
    let pods = world.pods("j-").into_iter();
    pods.filter(|pod| {
        !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
            && pod["metadata"]["deletionTimestamp"].is_null()
    })
    .collect()
}

fn is_let_go(pods: &[Value]) -> bool {
    pods.iter().all(|pod| pod["metadata"]["finalizers"] == json!([]))
}

#[test]
fn enough_pods_succeed_and_each_is_counted_once() {
    let mut world = World::new();
    world.apply(job(&json!({ "completions": 5, "parallelism": 2 })));
    for done in 0..5 {
        assert_eq!(open(&world).len(), 2.min(5 - done), "after {done}");
        world.end("j-", 1, 0);
    }
    assert_eq!(status(&world)["succeeded"], 5);
    assert_eq!(status(&world)["active"], Value::Null);
    assert_eq!(conditions(&world), ended("SuccessCriteriaMet", "Complete", "CompletionsReached"));
    assert!(!status(&world)["completionTime"].is_null());
    assert!(is_let_go(&world.pods("j-")));
    assert_eq!(status(&world)["uncountedTerminatedPods"], json!({}));
    let writes = world.writes;
    world.pass(Duration::from_secs(3600));
    assert_eq!(world.writes, writes, "nothing is written at rest");
}

#[test]
fn failures_are_tried_again_later_and_not_for_ever() {
    let mut world = World::new();
    world.apply(job(&json!({ "backoffLimit": 2 })));
    for (failures, delay) in [(1, 10), (2, 20)] {
        world.end("j-", 1, 1);
        assert_eq!(status(&world)["failed"], failures);
        assert!(open(&world).is_empty(), "backoff");
        world.pass(Duration::from_secs(delay - 1));
        assert!(open(&world).is_empty(), "backoff");
        world.pass(Duration::from_secs(1));
        assert_eq!(open(&world).len(), 1);
    }
    world.end("j-", 1, 1);
    assert_eq!(conditions(&world), ended("FailureTarget", "Failed", "BackoffLimitExceeded"));
    assert_eq!(status(&world)["failed"], 3);
    world.pass(Duration::from_secs(3600));
    assert!(open(&world).is_empty());
    assert!(is_let_go(&world.pods("j-")));
}

#[test]
fn a_deadline_ends_what_runs() {
    let mut world = World::new();
    world.apply(job(&json!({ "activeDeadlineSeconds": 30, "parallelism": 2, "completions": 2 })));
    world.run("j-", 2);
    world.pass(Duration::from_secs(29));
    assert_eq!(open(&world).len(), 2);
    world.pass(Duration::from_secs(1));
    assert!(open(&world).is_empty());
    assert_eq!(conditions(&world), [("FailureTarget".to_owned(), "DeadlineExceeded".to_owned())]);
    world.end("j-", 2, 137);
    assert_eq!(conditions(&world), ended("FailureTarget", "Failed", "DeadlineExceeded"));
    world.reap();
    assert!(world.pods("j-").is_empty(), "nobody holds them");
}

#[test]
fn every_index_succeeds_once() {
    let mut world = World::new();
    world.apply(job(&json!({ "completionMode": "Indexed", "completions": 4, "parallelism": 3 })));
    let index = |pod: &Value| {
        let annotation = &pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"];
        annotation.as_str().unwrap().parse::<u32>().unwrap()
    };
    assert_eq!(open(&world).iter().map(index).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(open(&world)[1]["spec"]["hostname"], "j-1");
    assert_eq!(open(&world)[1]["spec"]["containers"][0]["env"][0]["name"], "JOB_COMPLETION_INDEX");
    world.end("j-1-", 1, 0);
    assert_eq!(status(&world)["completedIndexes"], "1");
    assert_eq!(open(&world).iter().map(index).collect::<Vec<_>>(), [0, 2, 3]);
    world.end("j-0-", 1, 1);
    world.pass(Duration::from_secs(10));
    assert_eq!(open(&world).iter().map(index).collect::<Vec<_>>(), [0, 2, 3], "0 is tried again");
    world.end("j-", 3, 0);
    assert_eq!(status(&world)["completedIndexes"], "0-3");
    assert_eq!(status(&world)["succeeded"], 4);
    assert_eq!(status(&world)["failed"], 1);
    assert_eq!(conditions(&world), ended("SuccessCriteriaMet", "Complete", "CompletionsReached"));
}

#[test]
fn an_index_that_fails_too_often_ends_the_job_when_the_others_are_done() {
    let mut world = World::new();
    let limits = json!({
        "completionMode": "Indexed", "completions": 2, "parallelism": 2, "backoffLimitPerIndex": 1,
        "backoffLimit": i32::MAX,
    });
    world.apply(job(&limits));
    world.end("j-0-", 1, 1);
    world.pass(Duration::from_secs(10));
    let second = open(&world).into_iter().find(|pod| pod["metadata"]["generateName"] == "j-0-").unwrap();
    assert_eq!(second["metadata"]["annotations"]["batch.kubernetes.io/job-index-failure-count"], "1");
    world.end("j-0-", 1, 1);
    assert_eq!(status(&world)["failedIndexes"], "0");
    assert!(conditions(&world).is_empty());
    world.end("j-1-", 1, 0);
    assert_eq!(conditions(&world), ended("FailureTarget", "Failed", "FailedIndexes"));
    assert_eq!(status(&world)["completedIndexes"], "1");
    assert_eq!(status(&world)["failed"], 2);
}

#[test]
fn rules_say_what_a_failure_means() {
    let rule = |action: &str, code: i64| json!({ "action": action, "onExitCodes": { "operator": "In", "values": [code] } });
    let policy = json!({ "podFailurePolicy": { "rules": [rule("Ignore", 5), rule("FailJob", 42)] }, "backoffLimit": 0 });
    let mut world = World::new();
    world.apply(job(&policy));
    world.end("j-", 1, 5);
    assert_eq!(status(&world)["failed"], Value::Null, "ignored");
    assert_eq!(open(&world).len(), 1, "and tried again at once");
    world.end("j-", 1, 42);
    assert_eq!(conditions(&world), ended("FailureTarget", "Failed", "PodFailurePolicy"));
    let message = status(&world)["conditions"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("exit code 42 matching FailJob rule at index 1"), "{message}");
}

#[test]
fn a_success_policy_ends_the_rest() {
    let mut world = World::new();
    let policy = json!({
        "completionMode": "Indexed", "completions": 3, "parallelism": 3,
        "successPolicy": { "rules": [{ "succeededIndexes": "0" }] },
    });
    world.apply(job(&policy));
    world.run("j-", 3);
    world.end("j-0-", 1, 0);
    assert_eq!(conditions(&world), [("SuccessCriteriaMet".to_owned(), "SuccessPolicy".to_owned())]);
    assert!(open(&world).is_empty());
    world.end("j-", 2, 137);
    assert_eq!(conditions(&world), ended("SuccessCriteriaMet", "Complete", "SuccessPolicy"));
}

#[test]
fn a_suspended_job_has_no_pods_and_starts_anew() {
    let mut world = World::new();
    world.apply(job(&json!({ "suspend": true })));
    assert!(world.pods("j-").is_empty());
    assert_eq!(conditions(&world), [("Suspended".to_owned(), "JobSuspended".to_owned())]);
    assert_eq!(status(&world)["startTime"], Value::Null);
    let job_id = id("batch/v1", "Job", "j");
    world.patch(&job_id, &json!({ "spec": { "suspend": false } }));
    assert_eq!(open(&world).len(), 1);
    assert!(!status(&world)["startTime"].is_null());
    world.patch(&job_id, &json!({ "spec": { "suspend": true } }));
    assert!(open(&world).is_empty());
}

#[test]
fn one_success_is_enough_without_completions() {
    let mut world = World::new();
    world.apply(job(&json!({ "completions": null, "parallelism": 3 })));
    assert_eq!(open(&world).len(), 3);
    world.end("j-", 1, 0);
    assert_eq!(open(&world).len(), 2, "none is started after the first success");
    world.end("j-", 2, 0);
    assert_eq!(conditions(&world), ended("SuccessCriteriaMet", "Complete", "CompletionsReached"));
    assert_eq!(status(&world)["succeeded"], 3);
}

#[test]
fn what_a_job_leaves_behind_is_let_go_and_what_is_over_is_removed() {
    let mut world = World::new();
    world.apply(job(&json!({ "ttlSecondsAfterFinished": 60 })));
    world.end("j-", 1, 0);
    world.pass(Duration::from_secs(59));
    assert_eq!(world.of("jobs", "j").len(), 1);
    world.pass(Duration::from_secs(1));
    assert!(world.of("jobs", "j").is_empty());

    let mut world = World::new();
    world.apply(job(&json!({})));
    world.remove(&id("batch/v1", "Job", "j"));
    assert!(is_let_go(&world.pods("j-")));
}

#[test]
fn a_deadline_longer_than_any_time_is_never_missed() {
    let mut world = World::new();
    world.apply(job(&json!({ "activeDeadlineSeconds": i64::MAX })));
    assert_eq!(status(&world)["active"], 1);
    assert!(conditions(&world).is_empty());
}

#[test]
fn pods_that_no_job_counts_are_let_go() {
    // Another Job has the name by now.
    let mut world = World::new();
    world.apply(job(&json!({})));
    let first = world.pods("j-")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    world.refuses = Some("not now");
    world.remove(&id("batch/v1", "Job", "j"));
    world.apply(job(&json!({ "parallelism": 0 })));
    assert!(is_let_go(&world.pods(&first)));

    // Its deletion set it free.
    let mut world = World::new();
    world.apply(job(&json!({ "parallelism": 0 })));
    let mut other = job(&json!({}));
    other["metadata"]["name"] = json!("k");
    world.apply(other);
    let free = world.pods("k-")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    world.patch_pod(&free, &json!({ "metadata": { "ownerReferences": null, "labels": { "batch.kubernetes.io/job-name": null } } }));
    assert!(is_let_go(&world.pods(&free)));
}
