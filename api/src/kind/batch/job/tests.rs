//! Jobs: defaults, rules and rows.

use super::*;
use crate::{
    admission::Surroundings,
    field::messages,
    pipeline::{Ownership, Requester},
};

/// A Job with `change` made to its spec, as it is when it is created.
fn job(change: impl FnOnce(&mut Value)) -> Value {
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    let mut object = json!({"metadata": {"name": "j", "uid": "u"}, "spec": {"template": template}});
    change(&mut object["spec"]);
    let (now, ownership) = (Timestamp::UNIX_EPOCH, Ownership::AsGiven);
    let creation = Creation {
        namespace: "n",
        now,
        uid: "u",
        suffix: "abcde",
        requester: &Requester::default(),
        ownership,
        surroundings: &Surroundings::default(),
    };
    defaults(&mut object);
    prepare_create(&mut object, &creation);
    object
}

fn check(change: impl FnOnce(&mut Value), expected: &[&str]) {
    let object = job(change);
    assert_eq!(messages(|errors| validate(&object, errors)), expected);
}

#[test]
fn how_much_there_is_to_do_has_defaults() {
    let check = |spec: Value, expected: Value| {
        let object = job(|job| {
            for (key, value) in spec.as_object().unwrap() {
                job[key] = value.clone();
            }
        });
        let keys = ["completions", "parallelism", "backoffLimit", "podReplacementPolicy"];
        assert_eq!(Value::from_iter(keys.map(|key| object["spec"][key].clone())), expected);
    };
    check(json!({}), json!([1, 1, 6, "TerminatingOrFailed"]));
    check(json!({"parallelism": 2}), json!([null, 2, 6, "TerminatingOrFailed"]));
    check(json!({"completions": 3}), json!([3, 1, 6, "TerminatingOrFailed"]));
    check(json!({"backoffLimitPerIndex": 1}), json!([1, 1, i32::MAX, "TerminatingOrFailed"]));
    check(json!({"podFailurePolicy": {"rules": []}}), json!([1, 1, 6, "Failed"]));
}

#[test]
fn a_job_selects_its_own_pods() {
    let generated = json!({"batch.kubernetes.io/controller-uid": "u", "batch.kubernetes.io/job-name": "j", "controller-uid": "u", "job-name": "j"});
    let object = job(|_| {});
    assert_eq!(object["metadata"]["labels"], generated);
    assert_eq!(object["spec"]["template"]["metadata"]["labels"], generated);
    assert_eq!(
        object["spec"]["selector"],
        json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}})
    );
    let object = job(|job| {
        job["manualSelector"] = json!(true);
        job["selector"] = json!({"matchLabels": {"a": "b"}});
        job["template"]["metadata"] = json!({"labels": {"a": "b"}});
    });
    assert_eq!(messages(|errors| validate(&object, errors)), [""; 0]);
    assert_eq!(object["metadata"]["labels"], json!({"a": "b"}));
    check(
        |job| job["template"]["metadata"] = json!({"labels": {"job-name": "x"}}),
        &[
            "spec.template.metadata.labels[job-name]: Invalid value: {\"batch.kubernetes.io/controller-uid\":\"u\",\
         \"batch.kubernetes.io/job-name\":\"j\",\"controller-uid\":\"u\",\"job-name\":\"x\"}: must be 'j'",
        ],
    );
}

#[test]
fn rules() {
    check(|_| {}, &[]);
    check(
        |job| job["template"]["spec"]["restartPolicy"] = json!("Always"),
        &["spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""],
    );
    check(
        |job| job["managedBy"] = json!("me"),
        &["spec.managedBy: Invalid value: \"me\": must be a domain-prefixed path (such as \"acme.io/foo\")"],
    );
    check(
        |job| job["podReplacementPolicy"] = json!("x"),
        &[
            "spec.podReplacementPolicy: Unsupported value: \"x\": supported values: \"Failed\", \"TerminatingOrFailed\"",
        ],
    );
    check(
        |job| job["maxFailedIndexes"] = json!(1),
        &[
            "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
            "spec.maxFailedIndexes: Invalid value: 1: requires indexed completion mode",
        ],
    );
}

#[test]
fn rules_of_indexed_jobs() {
    let check = |spec: Value, expected: &[&str]| {
        check(
            |job| {
                job["completionMode"] = json!("Indexed");
                for (key, value) in spec.as_object().unwrap() {
                    job[key] = value.clone();
                }
            },
            expected,
        );
    };
    check(json!({"completions": 5, "backoffLimitPerIndex": 1, "maxFailedIndexes": 5}), &[]);
    check(json!({"parallelism": 2}), &["spec.completions: Required value: when completion mode is Indexed"]);
    check(
        json!({"completions": 5, "backoffLimitPerIndex": 1, "maxFailedIndexes": 6}),
        &["spec.maxFailedIndexes: Invalid value: 6: must be less than or equal to completions"],
    );
    check(
        json!({"completions": 1, "parallelism": 100_001}),
        &[
            "spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed",
        ],
    );
    check(
        json!({"completions": 100_001, "backoffLimitPerIndex": 1}),
        &["spec.maxFailedIndexes: Required value: must be specified when completions is above 100000"],
    );
    check(
        json!({"completions": 3, "successPolicy": {"rules": [{"succeededIndexes": "0-1", "succeededCount": 3}]}}),
        &[
            "spec.successPolicy.rules[0].succeededCount: Invalid value: 3: must be less than or equal to 2 (the number of indexes in \
         the specified succeededIndexes field)",
        ],
    );
    check(
        json!({"completions": 3, "successPolicy": {"rules": [{}]}}),
        &[
            "spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes must be specified",
        ],
    );
    let mut long = job(|job| {
        job["completionMode"] = json!("Indexed");
        job["completions"] = json!(1000);
    });
    long["metadata"]["name"] = json!("x".repeat(60));
    let found = messages(|errors| validate(&long, errors));
    assert!(
        found.iter().any(|error| error.contains("will not able to create pod with invalid DNS label")),
        "{found:?}"
    );
}

#[test]
fn rules_of_failure_policies() {
    let check = |rule: Value, expected: &[&str]| {
        check(|job| job["podFailurePolicy"] = json!({"rules": [rule]}), expected);
    };
    let field = "spec.podFailurePolicy.rules[0]";
    check(json!({"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}), &[]);
    check(json!({"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1, 3]}}), &[]);
    check(
        json!({"onExitCodes": {"operator": "In", "values": [1]}}),
        &[&format!(
            "{field}.action: Required value: valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]"
        )],
    );
    check(
        json!({"action": "FailIndex", "onExitCodes": {"operator": "NotIn", "values": [0]}}),
        &[&format!(
            "{field}.action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be set"
        )],
    );
    check(
        json!({"action": "Count"}),
        &[&format!("{field}: Invalid value: specifying one of OnExitCodes and OnPodConditions is required")],
    );
    check(
        json!({"action": "Count", "onExitCodes": {"operator": "In", "values": [3, 0, 3], "containerName": "z"}}),
        &[
            &format!(
                "{field}.onExitCodes.containerName: Invalid value: \"z\": must be one of the container or initContainer names in the pod template"
            ),
            &format!("{field}.onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator"),
            &format!("{field}.onExitCodes.values[2]: Duplicate value: 3"),
            &format!("{field}.onExitCodes.values: Invalid value: [3,0,3]: must be ordered"),
        ],
    );
}

#[test]
fn little_of_a_job_may_change() {
    let check = |old: &Value, change: fn(&mut Value), expected: &[&str]| {
        let mut new = old.clone();
        change(&mut new["spec"]);
        let found = messages(|errors| update::check(&new, old, errors));
        let found: Vec<&str> =
            found.iter().map(|error| error.split(": ").next().unwrap_or_default()).collect();
        assert_eq!(found, expected);
    };
    let running = job(|_| {});
    check(&running, |job| job["parallelism"] = json!(4), &[]);
    check(&running, |job| job["completions"] = json!(4), &["spec.completions"]);
    check(&running, |job| job["completionMode"] = json!("Indexed"), &["spec.completionMode"]);
    check(&running, |job| job["template"]["spec"]["nodeSelector"] = json!({"a": "b"}), &["spec.template"]);
    check(&running, |job| job["selector"] = json!({}), &["spec.selector"]);
    let suspended = job(|job| job["suspend"] = json!(true));
    check(&suspended, |job| job["template"]["spec"]["nodeSelector"] = json!({"a": "b"}), &[]);
    check(&suspended, |job| job["template"]["spec"]["affinity"] = json!({"nodeAffinity": {}}), &[]);
    check(
        &suspended,
        |job| job["template"]["spec"]["affinity"] = json!({"podAffinity": {}}),
        &["spec.template"],
    );
    check(
        &suspended,
        |job| job["template"]["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "1"}}),
        &[],
    );
    check(
        &suspended,
        |job| job["template"]["spec"]["containers"][0]["image"] = json!("z"),
        &["spec.template"],
    );
    let indexed = job(|job| {
        job["completionMode"] = json!("Indexed");
        job["completions"] = json!(2);
        job["parallelism"] = json!(2);
    });
    check(&indexed, |job| job["completions"] = json!(3), &["spec.completions"]);
    check(
        &indexed,
        |job| {
            job["completions"] = json!(3);
            job["parallelism"] = json!(3);
        },
        &[],
    );
}

fn conditions(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"type": name, "status": "True"})).collect()
}

fn check_status(old: Value, new: Value, expected: &[&str]) {
    let object = |status: Value| {
        let mut object = job(|_| {});
        object["status"] = status;
        object
    };
    assert_eq!(messages(|errors| status::check(&object(new), &object(old), errors)), expected);
}

const START: &str = "2026-01-01T00:00:00Z";
const END: &str = "2026-01-01T00:01:00Z";

#[test]
fn rules_of_status() {
    let complete = json!({"conditions": conditions(&["SuccessCriteriaMet", "Complete"]), "startTime": START, "completionTime": END});
    check_status(json!({}), json!({"active": 1, "ready": 1, "startTime": START}), &[]);
    check_status(json!({"startTime": START}), complete.clone(), &[]);
    check_status(complete.clone(), complete.clone(), &[]);
    check_status(
        json!({}),
        json!({"active": -1}),
        &[
            "status.active: Invalid value: -1: must be greater than or equal to 0",
            "status.ready: Invalid value: 0: cannot set more ready pods than active",
        ],
    );
    check_status(
        json!({}),
        json!({"ready": 2, "active": 1}),
        &["status.ready: Invalid value: 2: cannot set more ready pods than active"],
    );
    check_status(
        complete,
        json!({"startTime": START}),
        &[
            "status.conditions: Invalid value: cannot disable the terminal Complete=True condition",
            "status.conditions: Invalid value: cannot disable the SuccessCriteriaMet=True condition",
        ],
    );
    check_status(
        json!({}),
        json!({"conditions": conditions(&["FailureTarget", "Failed"]), "active": 1, "startTime": START}),
        &["status.active: Invalid value: 1: active>0 is invalid for finished job"],
    );
    check_status(
        json!({}),
        json!({"conditions": conditions(&["Failed"]), "startTime": START}),
        &[
            "status.conditions: Invalid value: cannot set Failed=True condition without the FailureTarget=true condition",
        ],
    );
    check_status(
        json!({}),
        json!({"completionTime": END}),
        &[&format!(
            "status.completionTime: Invalid value: \"{END}\": cannot set completionTime when there is no Complete=True condition"
        )],
    );
}

#[test]
fn rules_of_counts_and_indexes() {
    check_status(
        json!({"failed": 2, "succeeded": 1}),
        json!({"failed": 1, "succeeded": 0}),
        &[
            "status.failed: Invalid value: 1: cannot decrease the failed counter",
            "status.succeeded: Invalid value: 0: cannot decrease the succeeded counter",
        ],
    );
    check_status(
        json!({}),
        json!({"completedIndexes": "0"}),
        &[
            "status.completedIndexes: Invalid value: \"0\": cannot set non-empty completedIndexes when non-indexed completion mode",
        ],
    );
    check_status(
        json!({}),
        json!({"uncountedTerminatedPods": {"succeeded": ["a", "a"], "failed": [""]}}),
        &[
            "status.uncountedTerminatedPods.succeeded[1]: Duplicate value: \"a\"",
            "status.uncountedTerminatedPods.failed[0]: Invalid value: \"\": must not be empty",
        ],
    );
}

#[test]
fn rows_show_progress() {
    let check = |spec: Value, status: Value, expected: [&str; 3]| {
        let object = json!({"metadata": {"name": "j"}, "spec": spec, "status": status});
        let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
        assert_eq!(row(&object, now)[1..4], expected.map(Value::from));
    };
    let condition = |name: &str| json!([{"type": name, "status": "True"}]);
    check(json!({"completions": 3}), json!({}), ["Running", "0/3", ""]);
    check(json!({"parallelism": 2}), json!({"succeeded": 1}), ["Running", "1/1 of 2", ""]);
    check(json!({"parallelism": 1}), json!({"conditions": condition("Suspended")}), ["Suspended", "0/1", ""]);
    let times = json!({"startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:01:00Z", "succeeded": 3,
        "conditions": condition("Complete")});
    check(json!({"completions": 3}), times, ["Complete", "3/3", "60s"]);
    check(json!({"completions": 3}), json!({"startTime": "2026-01-01T00:00:00Z"}), ["Running", "0/3", "10m"]);
}
