//! DaemonSets with a real store and the rights of their controller's default role.

use super::{Cluster, Value, admin, eventually, json, workloads};

fn set(image: &str) -> Value {
    json!({
        "metadata": { "name": "agent" },
        "spec": {
            "selector": { "matchLabels": { "app": "agent" } },
            "template": {
                "metadata": { "labels": { "app": "agent" } },
                "spec": { "containers": [{ "name": "c", "image": image }] },
            },
        },
    })
}

/// Runs pods once they are bound and lets those go that are to, until the set says that it is through.
async fn complete(cluster: &Cluster, nodes: i64) -> Value {
    eventually(async || {
        for pod in workloads::list(cluster, workloads::of("v1", "Pod")).await {
            let is_bound = !pod["spec"]["nodeName"].is_null();
            if is_bound && pod["status"]["phase"] == "Pending" {
                workloads::run(cluster, &pod).await;
            }
            if !pod["metadata"]["deletionTimestamp"].is_null() {
                let name = pod["metadata"]["name"].as_str().unwrap();
                // No node is there to end it. It may be gone by now.
                let options = json!({ "gracePeriodSeconds": 0 });
                let _ = cluster.service.delete(&admin(), super::reference("Pod", name), options).await;
            }
        }
        let set = workloads::get(cluster, "DaemonSet", "agent").await;
        let status = &set["status"];
        let is_through = status["observedGeneration"] == set["metadata"]["generation"]
            && status["desiredNumberScheduled"] == nodes
            && status["updatedNumberScheduled"] == nodes
            && status["numberAvailable"] == nodes;
        is_through.then_some(set)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_set_follows_the_nodes_and_rolls() {
    let cluster = Cluster::start().await;
    cluster.connect("n1", 10).await;
    let kind = workloads::of("apps/v1", "DaemonSet");
    cluster.service.create(&admin(), kind, "default", set("i:1")).await.unwrap();
    complete(&cluster, 1).await;
    cluster.connect("n2", 10).await;
    complete(&cluster, 2).await;
    let pods = workloads::list(&cluster, workloads::of("v1", "Pod")).await;
    for pod in &pods {
        let terms =
            &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
        let node = &terms["nodeSelectorTerms"][0]["matchFields"][0]["values"][0];
        assert_eq!(*node, pod["spec"]["nodeName"]);
        assert_eq!(pod["metadata"]["labels"]["pod-template-generation"], "1");
    }

    workloads::patch(&cluster, "DaemonSet", "agent", &json!({ "spec": set("i:2")["spec"] })).await;
    complete(&cluster, 2).await;
    let mut revisions = workloads::list(&cluster, workloads::of("apps/v1", "ControllerRevision")).await;
    revisions.sort_by_key(|revision| revision["revision"].as_i64());
    assert_eq!(revisions.len(), 2);
    // What kubectl sends to undo: the revision's own content.
    let object = workloads::reference_of("DaemonSet", "agent");
    cluster.service.patch_strategically(&admin(), object, "", &revisions[0]["data"]).await.unwrap();
    complete(&cluster, 2).await;
    let hash = &revisions[0]["metadata"]["labels"]["controller-revision-hash"];
    for pod in workloads::list(&cluster, workloads::of("v1", "Pod")).await {
        assert_eq!(pod["metadata"]["labels"]["controller-revision-hash"], *hash);
    }
    let events = workloads::list(&cluster, workloads::of("v1", "Event")).await;
    let told = |reason: &str| {
        let of_set = |event: &&Value| event["source"]["component"] == "daemonset-controller";
        events.iter().filter(of_set).any(|event| event["reason"] == reason)
    };
    assert!(told("SuccessfulCreate") && told("SuccessfulDelete"), "{events:#?}");
}
