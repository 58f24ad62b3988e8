//! Steps of rollouts, in kubectl's words.

use serde_json::{Value, json};

use super::{Step, remarks, step};
use crate::resource;

fn check(kind: &str, spec: Value, status: Value, expected: &str) {
    let object = json!({"metadata": {"name": "w", "generation": 2,
        "annotations": {"deployment.kubernetes.io/revision": "3"}}, "spec": spec, "status": status});
    let found = match step(resource::find(kind).unwrap(), &object, None) {
        Ok(Step::Waiting(words)) => format!("waits: {words}"),
        Ok(Step::Done(words)) => format!("done: {words}"),
        Err(error) => format!("error: {error}"),
    };
    assert_eq!(found, expected);
}

#[test]
fn deployments() {
    let check =
        |status: Value, expected: &str| check("deployments", json!({"replicas": 3}), status, expected);
    check(json!({"observedGeneration": 1}), "waits: Waiting for deployment spec update to be observed...");
    let prefix = "waits: Waiting for deployment \"w\" rollout to finish:";
    check(
        json!({"observedGeneration": 2, "updatedReplicas": 2}),
        &format!("{prefix} 2 out of 3 new replicas have been updated..."),
    );
    check(
        json!({"observedGeneration": 2, "updatedReplicas": 3, "replicas": 5}),
        &format!("{prefix} 2 old replicas are pending termination..."),
    );
    check(
        json!({"observedGeneration": 2, "updatedReplicas": 3, "replicas": 3, "availableReplicas": 1}),
        &format!("{prefix} 1 of 3 updated replicas are available..."),
    );
    check(
        json!({"observedGeneration": 2, "updatedReplicas": 3, "replicas": 3, "availableReplicas": 3}),
        "done: deployment \"w\" successfully rolled out",
    );
    check(
        json!({"observedGeneration": 2, "conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]}),
        "error: deployment \"w\" exceeded its progress deadline",
    );
}

#[test]
fn what_is_offline_or_rolled_back_is_told() {
    let check =
        |status: Value, expected: &str| check("deployments", json!({"replicas": 3}), status, expected);
    let status = |conditions: Value| json!({"observedGeneration": 2, "updatedReplicas": 3, "replicas": 3, "availableReplicas": 2, "conditions": conditions});
    let complete = json!({"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"});
    let deferred =
        json!({"type": "Deferred", "status": "True", "message": "1 pod is on a node that is offline: n4"});
    check(
        status(json!([complete, deferred])),
        "done: deployment \"w\" successfully rolled out; deferred: 1 pod is on a node that is offline: n4",
    );
    let mut stale = status(json!([complete, deferred]));
    stale["updatedReplicas"] = json!(1);
    check(
        stale,
        "waits: Waiting for deployment \"w\" rollout to finish: 1 out of 3 new replicas have been updated...",
    );
    check(
        status(json!([deferred])),
        "waits: Waiting for deployment \"w\" rollout to finish: 2 of 3 updated replicas are available...",
    );
    let back = json!({"type": "RolledBack", "status": "True", "reason": "R", "message": "from 2 to 1"});
    check(status(json!([complete, back])), "error: deployment \"w\" was rolled back: from 2 to 1");
    let under_way = json!({"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"});
    check(
        status(json!([under_way, back])),
        "waits: Waiting for deployment \"w\" rollout to finish: 2 of 3 updated replicas are available...",
    );
    assert_eq!(remarks(&json!({"status": {"conditions": [back]}})), ["R: from 2 to 1"]);
}

#[test]
fn a_revision_must_be_the_one_that_runs() {
    let object =
        json!({"metadata": {"name": "w", "annotations": {"deployment.kubernetes.io/revision": "3"}}});
    let kind = resource::find("deployments").unwrap();
    let error = step(kind, &object, Some(4)).unwrap_err().to_string();
    assert_eq!(error, "desired revision (4) is different from the running revision (3)");
    assert!(step(kind, &object, Some(3)).is_ok());
}

#[test]
fn daemon_sets() {
    let check = |status: Value, expected: &str| check("daemonsets", json!({}), status, expected);
    let prefix = "waits: Waiting for daemon set \"w\" rollout to finish:";
    check(
        json!({"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 1}),
        &format!("{prefix} 1 out of 3 new pods have been updated..."),
    );
    check(
        json!({"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 2}),
        &format!("{prefix} 2 of 3 updated pods are available..."),
    );
    check(json!({"observedGeneration": 2}), "done: daemon set \"w\" successfully rolled out");
    let with = |condition: Value| {
        json!({"observedGeneration": 2, "desiredNumberScheduled": 1, "updatedNumberScheduled": 1,
               "numberAvailable": 1, "conditions": [condition]})
    };
    check(
        with(
            json!({"type": "Deferred", "status": "True", "message": "2 pods are on nodes that are offline: n2, n3"}),
        ),
        "done: daemon set \"w\" successfully rolled out; deferred: 2 pods are on nodes that are offline: n2, n3",
    );
    check(
        with(json!({"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"})),
        "error: daemon set \"w\" exceeded its progress deadline",
    );
}

#[test]
fn a_stateful_set_does_not_wait_for_who_is_offline() {
    let status = |reason: &str| {
        json!({"observedGeneration": 2, "readyReplicas": 2, "updatedReplicas": 2, "currentReplicas": 1,
               "currentRevision": "w-a", "updateRevision": "w-b",
               "conditions": [{"type": "Deferred", "status": "True", "reason": reason, "message": "1 pod is offline"}]})
    };
    let rolling = json!({"replicas": 3, "updateStrategy": {"type": "RollingUpdate"}});
    check("sts", rolling.clone(), status("NodesOffline"), "waits: Waiting for 1 pods to be ready...");
    check(
        "sts",
        rolling.clone(),
        status("OnlyNodesOffline"),
        "done: statefulset rolling update complete 2 pods at revision w-b...; deferred: 1 pod is offline",
    );
    let partitioned = json!({"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}});
    check(
        "sts",
        partitioned,
        status("OnlyNodesOffline"),
        "done: partitioned roll out complete: 2 new pods have been updated...; deferred: 1 pod is offline",
    );
    let mut back = status("");
    back["conditions"] = json!([
        {"type": "Progressing", "status": "True", "reason": "NewRevisionAvailable"},
        {"type": "RolledBack", "status": "True", "message": "from 2 to 1"},
    ]);
    check("sts", rolling, back, "error: statefulset \"w\" was rolled back: from 2 to 1");
}

#[test]
fn stateful_sets() {
    let status = json!({"observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 1,
        "currentReplicas": 2, "currentRevision": "w-a", "updateRevision": "w-b"});
    let rolling = json!({"replicas": 3, "updateStrategy": {"type": "RollingUpdate"}});
    check(
        "sts",
        rolling.clone(),
        json!({"observedGeneration": 2, "readyReplicas": 1}),
        "waits: Waiting for 2 pods to be ready...",
    );
    check(
        "sts",
        rolling,
        status.clone(),
        "waits: waiting for statefulset rolling update to complete 1 pods at revision w-b...",
    );
    let partitioned = |partition: i64| json!({"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}});
    check(
        "sts",
        partitioned(1),
        status.clone(),
        "waits: Waiting for partitioned roll out to finish: 1 out of 2 new pods have been updated...",
    );
    check(
        "sts",
        partitioned(2),
        status.clone(),
        "done: partitioned roll out complete: 1 new pods have been updated...",
    );
    check(
        "sts",
        json!({"updateStrategy": {"type": "OnDelete"}}),
        status,
        "error: rollout status is only available for RollingUpdate strategy type",
    );
    check("rs", json!({}), json!({}), "error: no status viewer has been implemented for ReplicaSet.apps");
}
