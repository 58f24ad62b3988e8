//! The cluster of the recording: what was there before the commands ran, and at which command its controllers had done what.
//!
//! Controllers do not run in the replay, so what they did is written by hand through the API ([`super::controllers`]), taken from what
//! the recording shows. A part of this goes when there is a controller for it.

use serde_json::{Value, json};

use super::controllers::{self, Condition, Rollout};
use crate::{cluster::wait_until, kubernetes::client::Client};

/// The namespace, the node and all that no command of the recording made.
pub(super) fn prepare(client: &mut Client) {
    create(client, "/api/v1/namespaces", &json!({"metadata": {"name": "kc"}}));
    create(client, &core("serviceaccounts"), &json!({"metadata": {"name": "default"}}));
    let bundle = json!({"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": "-"}});
    create(client, &core("configmaps"), &bundle);
    for (name, value, preemption) in [
        ("high", 1000, "PreemptLowerPriority"),
        ("highnever", 1000, "Never"),
        ("low", 1, "PreemptLowerPriority"),
    ] {
        let class = json!({"metadata": {"name": name}, "value": value, "preemptionPolicy": preemption});
        create(client, "/apis/scheduling.k8s.io/v1/priorityclasses", &class);
    }
    share_well_known(client);
    add_node(client);
}

/// The recorded server's vendor let everybody who is known read what lies under `/.well-known`.
fn share_well_known(client: &mut Client) {
    let rules = json!([{"verbs": ["get"], "nonResourceURLs": ["/.well-known", "/.well-known/*"]}]);
    let name = json!({"name": "vendor:well-known"});
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    create(client, &format!("{rbac}/clusterroles"), &json!({"metadata": name, "rules": rules}));
    let binding = json!({
        "metadata": name,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "vendor:well-known"},
        "subjects": [{"kind": "Group", "name": "system:authenticated"}],
    });
    create(client, &format!("{rbac}/clusterrolebindings"), &binding);
}

fn add_node(client: &mut Client) {
    let node = json!({"metadata": {
        "name": "n1",
        "labels": {"kubernetes.io/hostname": "n1"},
        "annotations": {"node.alpha.kubernetes.io/ttl": "0"},
    }});
    create(client, "/api/v1/nodes", &node);
    merge(client, "/api/v1/nodes/n1", &json!({"spec": {"taints": null}}));
    let condition = |kind: &str, status: &str, reason: &str| json!({"type": kind, "status": status, "reason": reason, "lastHeartbeatTime": TIME, "lastTransitionTime": TIME});
    let resources = json!({"cpu": "4", "memory": "8Gi", "pods": "110"});
    let status = json!({"status": {
        "capacity": resources,
        "allocatable": resources,
        "addresses": [{"type": "InternalIP", "address": "1.1.1.1"}],
        "conditions": [
            condition("MemoryPressure", "False", "KubeletHas"),
            condition("DiskPressure", "False", "KubeletHas"),
            condition("PIDPressure", "False", "KubeletHas"),
            condition("Ready", "True", "KubeletReady"),
        ],
        "nodeInfo": {
            "machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": "6", "osImage": "x", "operatingSystem": "linux",
            "architecture": "amd64", "containerRuntimeVersion": "containerd://2.1.9", "kubeletVersion": "v1.36.2",
            "kubeProxyVersion": "",
        },
    }});
    merge(client, "/api/v1/nodes/n1/status", &status);
    let node = get(client, "/api/v1/nodes/n1");
    let message = "Node n1 event: Registered Node n1 in Controller";
    controllers::tell(client, &node, "node-controller", "RegisteredNode", &[message]);
}

/// What had happened in the recorded cluster by the time that a command ran.
pub(super) fn before(client: &mut Client, case: &str) {
    match case {
        "get pods" => settle(client),
        "set image deploy/web c=nginx:2" => {
            // Each of them was to go again before it ran.
            for name in ["web-6d4977bb44-wxx04", "web-6d4977bb44-wxx05"] {
                controllers::start(client, &apps("replicasets/web-6d4977bb44"), name);
                controllers::stop(client, name);
            }
        }
        "set env deploy/web Q=1" => roll(client, "b588978ff", 2),
        "rollout history deploy/web" => {
            roll(client, "6c4f94c4d4", 3);
            for name in ["web-b588978ff-xxx01", "web-b588978ff-xxx02"] {
                controllers::stop(client, name);
            }
        }
        // By the autoscaler.
        "wait --for=jsonpath={.spec.replicas}=3 deploy/web --timeout=1s" => {
            merge(client, &apps("deployments/web"), &json!({"spec": {"replicas": 3}}));
        }
        "get pods --as joe" => end(client),
        _ => {}
    }
}

/// After all had been created, and before it was changed.
fn settle(client: &mut Client) {
    for (name, hash, replicas) in [("d2", "6f9c8d6967", 1), ("web", "6d4977bb44", 2)] {
        let rollout = Rollout { deployment: name, hash, revision: 1, replicas };
        controllers::roll_out(client, &rollout);
        controllers::tell_rollout(client, &rollout, replicas, Condition::Available);
    }
    let scaled = |how: &str, from: u32, to: u32| {
        format!("Scaled {how} replica set web-6d4977bb44 from {from} to {to}")
    };
    let messages = [scaled("up", 0, 2), scaled("up", 2, 3), scaled("down", 3, 2)];
    let deployment = get(client, &apps("deployments/web"));
    let messages = messages.each_ref().map(String::as_str);
    controllers::tell(client, &deployment, "deployment-controller", "ScalingReplicaSet", &messages);
    let web = apps("replicasets/web-6d4977bb44");
    for (owner, name) in [
        (apps("replicasets/d2-6f9c8d6967"), "d2-6f9c8d6967-xxx01"),
        (batch("jobs/j"), "j-xxx01"),
        (web.clone(), "web-6d4977bb44-xxx01"),
        (web.clone(), "web-6d4977bb44-xxx02"),
        (web, "web-6d4977bb44-xxx03"),
    ] {
        controllers::start(client, &owner, name);
        controllers::run(client, name);
    }
    controllers::stop(client, "web-6d4977bb44-xxx01");
    let job = get(client, &batch("jobs/j"));
    controllers::tell(client, &job, "job-controller", "SuccessfulCreate", &["Created pod: j-xxx01"]);
    let status = json!({"active": 1, "ready": 1, "startTime": job["metadata"]["creationTimestamp"]});
    merge(client, &batch("jobs/j/status"), &json!({"status": status}));
    let quota = json!({"hard": {"pods": "100", "services": "50"}, "used": {"pods": "6", "services": "3"}});
    merge(client, &core("resourcequotas/q/status"), &json!({"status": quota}));
    let budget =
        json!({"disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 3});
    let path = "/apis/policy/v1/namespaces/kc/poddisruptionbudgets/pdb/status";
    merge(client, path, &json!({"status": budget}));
    controllers::publish(client, "web", "web-9b6mc", &["web-6d4977bb44-xxx02", "web-6d4977bb44-xxx03"]);
    controllers::publish(client, "s1", "s1-9b6mc", &[]);
}

/// A rollout comes as far as two pods that do not run.
fn roll(client: &mut Client, hash: &str, revision: u32) {
    let rollout = Rollout { deployment: "web", hash, revision, replicas: 4 };
    controllers::roll_out(client, &rollout);
    controllers::tell_rollout(client, &rollout, 2, Condition::Unavailable);
    for number in 1..=2 {
        let owner = apps(&format!("replicasets/web-{hash}"));
        controllers::start(client, &owner, &format!("web-{hash}-xxx0{number}"));
    }
}

/// After rollouts had been undone and begun again, and much had been deleted.
fn end(client: &mut Client) {
    roll(client, "664f5966db", 5);
    controllers::start(client, &apps("replicasets/web-b588978ff"), "web-b588978ff-xxx03");
    controllers::start(client, &batch("cronjobs/cj"), "cj-29920250-xxx01");
    for name in
        ["d2-6f9c8d6967-xxx01", "web-6c4f94c4d4-xxx01", "web-6c4f94c4d4-xxx02", "web-6d4977bb44-xxx03"]
    {
        controllers::stop(client, name);
    }
}

/// What the recorded cluster's scheduler and node did to the pod that was run by itself.
pub(super) fn after(client: &mut Client, case: &str) {
    if !case.starts_with("run rp --image") || case.contains("dry-run") {
        return;
    }
    let binding = json!({"metadata": {"name": "rp"}, "target": {"kind": "Node", "name": "n1"}});
    create(client, &core("pods/rp/binding"), &binding);
    let pod = get(client, &core("pods/rp"));
    let message = "Successfully assigned kc/rp to n1";
    controllers::tell(client, &pod, "default-scheduler", "Scheduled", &[message]);
    controllers::run(client, "rp");
}

/// The path of something of the core group in the namespace of the recording.
pub(super) fn core(rest: &str) -> String {
    format!("/api/v1/namespaces/kc/{rest}")
}

pub(super) fn apps(rest: &str) -> String {
    format!("/apis/apps/v1/namespaces/kc/{rest}")
}

fn batch(rest: &str) -> String {
    format!("/apis/batch/v1/namespaces/kc/{rest}")
}

pub(super) fn get(client: &mut Client, path: &str) -> Value {
    let answer = client.send("GET", path, &[], b"");
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    serde_json::from_slice(&answer.body).unwrap()
}

pub(super) fn create(client: &mut Client, path: &str, object: &Value) {
    let headers = [("content-type", "application/json")];
    wait_until(path, || {
        let answer = client.send("POST", path, &headers, object.to_string().as_bytes());
        if [201, 409].contains(&answer.status) { Ok(()) } else { Err(format!("{answer:?}")) }
    });
}

pub(super) fn merge(client: &mut Client, path: &str, patch: &Value) {
    let headers = [("content-type", "application/merge-patch+json")];
    let answer = client.send("PATCH", path, &headers, patch.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
}

/// Of whatever is only shown as a date.
pub(super) const TIME: &str = "2026-01-01T00:00:00Z";
