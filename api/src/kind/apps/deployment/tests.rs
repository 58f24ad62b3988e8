//! Deployments: defaults, rules and rows.

use serde_json::json;

use super::*;
use crate::field::messages;

/// A Deployment with `change` made to its spec, with defaults.
fn deployment(change: impl FnOnce(&mut Value)) -> Value {
    let mut object = json!({"metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"app": "a"}},
        "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    }});
    change(&mut object["spec"]);
    defaults(&mut object);
    object
}

fn check(change: impl FnOnce(&mut Value), expected: &[&str]) {
    let found = messages(|errors| validate(&deployment(change), errors));
    assert_eq!(found, expected);
}

#[test]
fn defaults_depend_on_the_strategy() {
    let check = |strategy: Value, expected: Value| {
        let object = deployment(|spec| spec["strategy"] = strategy);
        assert_eq!(object["spec"]["strategy"], expected);
    };
    let share = |surge: Value| json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": surge}});
    check(json!(null), share(json!("25%")));
    check(json!({"rollingUpdate": {"maxSurge": 1}}), share(json!(1)));
    check(json!({"type": "Recreate"}), json!({"type": "Recreate"}));
    let spec = &deployment(|_| {})["spec"];
    for (key, expected) in [("replicas", 1), ("revisionHistoryLimit", 10), ("progressDeadlineSeconds", 600)] {
        assert_eq!(spec[key], expected);
    }
}

#[test]
fn rules() {
    let mismatch = |labels: &str| {
        format!(
            "spec.template.metadata.labels: Invalid value: {labels}: `selector` does not match template `labels`"
        )
    };
    check(|_| {}, &[]);
    check(
        |spec| spec["replicas"] = json!(-1),
        &["spec.replicas: Invalid value: -1: must be greater than or equal to 0"],
    );
    check(|spec| spec["selector"] = json!({"matchLabels": {"z": "z"}}), &[&mismatch("{\"app\":\"a\"}")]);
    check(
        |spec| spec["selector"] = json!(null),
        &["spec.selector: Required value", &mismatch("{\"app\":\"a\"}")],
    );
    check(
        |spec| spec["selector"] = json!({}),
        &["spec.selector: Invalid value: {}: empty selector is invalid for deployment"],
    );
    check(
        |spec| spec["template"]["spec"]["restartPolicy"] = json!("Never"),
        &["spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""],
    );
    check(
        |spec| spec["template"]["spec"]["activeDeadlineSeconds"] = json!(5),
        &[
            "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported",
        ],
    );
    check(
        |spec| spec["template"]["spec"]["containers"] = json!([]),
        &["spec.template.spec.containers: Required value"],
    );
    check(
        |spec| spec["minReadySeconds"] = json!(600),
        &["spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"],
    );
}

#[test]
fn rules_of_strategies() {
    let check_strategy =
        |strategy: Value, expected: &[&str]| check(|spec| spec["strategy"] = strategy, expected);
    check_strategy(
        json!({"type": "Recreate", "rollingUpdate": {}}),
        &["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
    );
    check_strategy(
        json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}),
        &[
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0",
        ],
    );
    check_strategy(
        json!({"rollingUpdate": {"maxUnavailable": "101%", "maxSurge": "200%"}}),
        &[
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%",
        ],
    );
    check_strategy(
        json!({"type": "Foo", "rollingUpdate": {"maxSurge": "1%"}}),
        &[
            "spec.strategy: Unsupported value: {\"Type\":\"Foo\",\"RollingUpdate\":{\"MaxUnavailable\":0,\"MaxSurge\":\"1%\"}}: \
         supported values: \"Recreate\", \"RollingUpdate\"",
        ],
    );
}

#[test]
fn rules_of_status() {
    let check = |new: Value, old: Value, expected: &[&str]| {
        let found =
            messages(|errors| validate_status(&json!({"status": new}), &json!({"status": old}), errors));
        assert_eq!(found, expected);
    };
    check(json!({"replicas": 3, "readyReplicas": 2, "availableReplicas": 1}), json!({}), &[]);
    check(
        json!({"replicas": 1, "readyReplicas": 2}),
        json!({}),
        &["status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas"],
    );
    check(
        json!({"replicas": 2, "readyReplicas": 1, "availableReplicas": 2}),
        json!({}),
        &["status.availableReplicas: Invalid value: 2: cannot be greater than readyReplicas"],
    );
    check(
        json!({}),
        json!({"collisionCount": 1}),
        &["status.collisionCount: Invalid value: 0: cannot be decremented"],
    );
    check(json!({"collisionCount": 2}), json!({"collisionCount": 1}), &[]);
}

#[test]
fn rows_count_pods() {
    let mut object = deployment(|spec| spec["replicas"] = json!(3));
    object["status"] = json!({"readyReplicas": 2, "updatedReplicas": 1});
    let expected = json!(["d", "2/3", 1, 0, "<unknown>", "c", "i", "app=a"]);
    assert_eq!(json!(row(&object, Timestamp::UNIX_EPOCH)), expected);
}
