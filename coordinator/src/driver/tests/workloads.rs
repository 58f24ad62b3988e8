//! Deployments and what becomes of them, with a real store and the rights of the controllers' default roles.

use super::{Cluster, Kind, ObjectRef, Value, admin, eventually, json, kind, reference};

pub(super) fn of(version: &str, name: &str) -> &'static Kind {
    kind::by_kind(version, name).unwrap()
}

fn deployment(replicas: i64, image: &str) -> Value {
    json!({
        "metadata": { "name": "web" },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "c", "image": image }] },
            },
        },
    })
}

pub(super) async fn list(cluster: &Cluster, kind: &'static Kind) -> Vec<Value> {
    cluster.service.list(&admin(), kind, "default", Default::default()).await.unwrap().0
}

/// Something of the group `apps`.
pub(super) fn reference_of<'a>(kind: &str, name: &'a str) -> ObjectRef<'a> {
    ObjectRef { kind: of("apps/v1", kind), namespace: "default", name }
}

pub(super) async fn get(cluster: &Cluster, kind: &str, name: &str) -> Value {
    cluster.service.get(&admin(), reference_of(kind, name)).await.unwrap()
}

pub(super) async fn patch(cluster: &Cluster, kind: &str, name: &str, patch: &Value) {
    cluster.service.patch(&admin(), reference_of(kind, name), "", patch).await.unwrap();
}

async fn stored(cluster: &Cluster) -> Value {
    get(cluster, "Deployment", "web").await
}

/// Runs every pod that waits.
pub(super) async fn run_pending(cluster: &Cluster) {
    for pod in list(cluster, of("v1", "Pod")).await {
        if pod["status"]["phase"] == "Pending" {
            run(cluster, &pod).await;
        }
    }
}

pub(super) async fn run(cluster: &Cluster, pod: &Value) {
    let ready = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    let name = pod["metadata"]["name"].as_str().unwrap();
    let patched = cluster.service.patch(&admin(), reference("Pod", name), "status", &ready).await;
    // It may be gone already.
    if let Err(status) = patched {
        assert_eq!(status.code(), 404, "{status:?}");
    }
}

/// Runs pods as they come until the Deployment says that it is through.
async fn complete(cluster: &Cluster, replicas: i64) -> Value {
    eventually(async || {
        run_pending(cluster).await;
        let stored = stored(cluster).await;
        let status = &stored["status"];
        let is_through = status["observedGeneration"] == stored["metadata"]["generation"]
            && status["updatedReplicas"] == replicas
            && status["replicas"] == replicas
            && status["availableReplicas"] == replicas;
        is_through.then_some(stored)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_gets_its_pods_and_rolls() {
    let cluster = Cluster::start().await;
    let created =
        cluster.service.create(&admin(), of("apps/v1", "Deployment"), "default", deployment(3, "i:1")).await;
    created.unwrap();
    let stored = complete(&cluster, 3).await;
    assert_eq!(stored["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "1");
    patch(&cluster, "Deployment", "web", &json!({ "spec": deployment(3, "i:2")["spec"] })).await;
    complete(&cluster, 3).await;
    let sets = list(&cluster, of("apps/v1", "ReplicaSet")).await;
    let mut sizes: Vec<i64> = sets.iter().map(|set| set["spec"]["replicas"].as_i64().unwrap()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [0, 3]);
    let told = eventually(async || {
        let events = list(&cluster, of("v1", "Event")).await;
        let reasons: std::collections::BTreeSet<String> =
            events.iter().map(|event| event["reason"].as_str().unwrap().to_owned()).collect();
        let wanted = ["ScalingReplicaSet", "SuccessfulCreate", "SuccessfulDelete"];
        wanted.iter().all(|reason| reasons.contains(*reason)).then_some(events)
    });
    let told = told.await;
    let scaling = told.iter().find(|event| event["reason"] == "ScalingReplicaSet").unwrap();
    assert_eq!(scaling["involvedObject"]["apiVersion"], "apps/v1");
    assert_eq!(scaling["source"]["component"], "deployment-controller");
    for pod in list(&cluster, of("v1", "Pod")).await {
        let owner = &pod["metadata"]["ownerReferences"][0];
        assert_eq!((&owner["kind"], &owner["controller"]), (&json!("ReplicaSet"), &json!(true)));
    }
}

/// Ends every pod that is open, until the Job says that it is over.
async fn work_off(cluster: &Cluster) -> Value {
    eventually(async || {
        for pod in list(cluster, of("v1", "Pod")).await {
            if pod["status"]["phase"] == "Pending" && pod["metadata"]["deletionTimestamp"].is_null() {
                let terminated = json!({ "exitCode": 0, "reason": "Completed" });
                let container = json!({ "name": "c", "state": { "terminated": terminated } });
                let ended = json!({ "status": { "phase": "Succeeded", "containerStatuses": [container] } });
                let name = pod["metadata"]["name"].as_str().unwrap();
                cluster.service.patch(&admin(), reference("Pod", name), "status", &ended).await.unwrap();
            }
        }
        let object = ObjectRef { kind: of("batch/v1", "Job"), namespace: "default", name: "j" };
        let job = cluster.service.get(&admin(), object).await.unwrap();
        let conditions = job["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|condition| condition["type"] == "Complete").then_some(job)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_counts_its_pods_and_ends() {
    let cluster = Cluster::start().await;
    let container = json!({ "name": "c", "image": "i" });
    let template = json!({ "spec": { "restartPolicy": "Never", "containers": [container] } });
    let spec =
        json!({ "completions": 5, "parallelism": 2, "completionMode": "Indexed", "template": template });
    let job = json!({ "metadata": { "name": "j" }, "spec": spec });
    cluster.service.create(&admin(), of("batch/v1", "Job"), "default", job).await.unwrap();
    let job = work_off(&cluster).await;
    assert_eq!(job["status"]["succeeded"], 5);
    assert_eq!(job["status"]["completedIndexes"], "0-4");
    let pods = list(&cluster, of("v1", "Pod")).await;
    assert_eq!(pods.len(), 5);
    assert!(pods.iter().all(|pod| pod["metadata"]["finalizers"].is_null()), "{pods:#?}");
}
