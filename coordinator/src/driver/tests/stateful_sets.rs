//! StatefulSets with a real store and the rights of their controller's default role.

use super::{Cluster, Value, admin, eventually, json, workloads};

async fn status(cluster: &Cluster) -> Value {
    workloads::get(cluster, "StatefulSet", "db").await["status"].clone()
}

/// Runs pods as they come and lets those go that are to, until the set says that it is through.
async fn complete(cluster: &Cluster, replicas: i64) -> Value {
    eventually(async || {
        workloads::run_pending(cluster).await;
        let set = workloads::get(cluster, "StatefulSet", "db").await;
        let status = &set["status"];
        let is_through = status["observedGeneration"] == set["metadata"]["generation"]
            && status["updatedReplicas"] == replicas
            && status["availableReplicas"] == replicas
            && status["currentRevision"] == status["updateRevision"];
        is_through.then_some(set)
    })
    .await
}

fn set(image: &str) -> Value {
    json!({
        "metadata": { "name": "db" },
        "spec": {
            "replicas": 2,
            "serviceName": "db",
            "selector": { "matchLabels": { "app": "db" } },
            "persistentVolumeClaimRetentionPolicy": { "whenDeleted": "Delete", "whenScaled": "Delete" },
            "template": {
                "metadata": { "labels": { "app": "db" }, "creationTimestamp": null },
                "spec": { "containers": [{ "name": "c", "image": image }] },
            },
            "volumeClaimTemplates": [{
                "metadata": { "name": "data" },
                "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
            }],
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stateful_set_gets_its_pods_and_claims_and_rolls() {
    let cluster = Cluster::start().await;
    let kind = workloads::of("apps/v1", "StatefulSet");
    cluster.service.create(&admin(), kind, "default", set("i:1")).await.unwrap();
    complete(&cluster, 2).await;
    let first = status(&cluster).await["currentRevision"].clone();
    for number in 0..2 {
        let pod = cluster.get("Pod", &format!("db-{number}")).await.unwrap();
        assert_eq!(pod["spec"]["hostname"], format!("db-{number}"));
        assert_eq!(pod["spec"]["subdomain"], "db");
        assert_eq!(pod["metadata"]["labels"]["controller-revision-hash"], first);
        let claim = cluster.get("PersistentVolumeClaim", &format!("data-db-{number}")).await.unwrap();
        assert_eq!(claim["metadata"]["ownerReferences"][0]["kind"], "StatefulSet");
    }

    workloads::patch(&cluster, "StatefulSet", "db", &json!({ "spec": set("i:2")["spec"] })).await;
    complete(&cluster, 2).await;
    let revisions = workloads::list(&cluster, workloads::of("apps/v1", "ControllerRevision")).await;
    assert_eq!(revisions.len(), 2);
    // What kubectl sends to undo: the revision's own content.
    let data =
        revisions.iter().find(|revision| revision["metadata"]["name"] == first).unwrap()["data"].clone();
    let object = workloads::reference_of("StatefulSet", "db");
    cluster.service.patch_strategically(&admin(), object, "", &data).await.unwrap();
    complete(&cluster, 2).await;
    assert_eq!(status(&cluster).await["currentRevision"], first, "the template is known by its content");

    // Fewer pods: the claim of the one that goes belongs to it.
    workloads::patch(&cluster, "StatefulSet", "db", &json!({ "spec": { "replicas": 1 } })).await;
    cluster.until_gone("Pod", "db-1").await;
    let events = workloads::list(&cluster, workloads::of("v1", "Event")).await;
    let told = |message: &str| events.iter().any(|event| event["message"] == message);
    assert!(told("create Pod db-1 in StatefulSet db successful"), "{events:#?}");
    assert!(told("create Claim data-db-1 Pod db-1 in StatefulSet db success"));
    cluster.until_gone("PersistentVolumeClaim", "data-db-1").await;
    cluster.get("PersistentVolumeClaim", "data-db-0").await.expect("that of the other stays");
}
