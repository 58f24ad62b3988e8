//! Claims and volumes on a real store, with the rights of the controllers' default roles.

use dunlin_coordinator_core::controllers::tell::Component;

use super::{Cluster, Value, admin, eventually, json, kind_of, pod};

fn volume(size: &str) -> Value {
    json!({
        "metadata": { "name": "v" },
        "spec": {
            "capacity": { "storage": size }, "accessModes": ["ReadWriteOnce"], "hostPath": { "path": "/data" },
        },
    })
}

fn claim(size: &str) -> Value {
    json!({
        "metadata": { "name": "c" },
        "spec": {
            "resources": { "requests": { "storage": size } }, "accessModes": ["ReadWriteOnce"],
            "storageClassName": "",
        },
    })
}

fn phase_is(phase: &'static str) -> impl Fn(&Value) -> bool {
    move |object| object["status"]["phase"] == phase
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_bound_used_and_kept_until_its_pod_is_gone() {
    let cluster = Cluster::start().await;
    cluster.create("PersistentVolumeClaim", claim("1Gi")).await;
    let told = eventually(async || {
        let events = cluster.service.list(&admin(), kind_of("Event"), "default", Default::default()).await;
        events.unwrap().0.into_iter().find(|event| event["reason"] == "FailedBinding")
    })
    .await;
    assert_eq!(told["source"]["component"], Component::VolumeBinder.name());
    let created = cluster.service.create(&admin(), kind_of("PersistentVolume"), "", volume("2Gi")).await;
    created.unwrap();
    let bound = cluster.until("PersistentVolumeClaim", "c", phase_is("Bound")).await;
    assert_eq!(bound["spec"]["volumeName"], "v");
    assert_eq!(bound["status"]["capacity"], json!({ "storage": "2Gi" }));
    let volume = cluster.until("PersistentVolume", "v", phase_is("Bound")).await;
    assert_eq!(volume["spec"]["claimRef"]["uid"], bound["metadata"]["uid"]);

    cluster.connect("n1", 10).await;
    let node = cluster.until("Node", "n1", |node| node["metadata"]["annotations"].is_object()).await;
    assert_eq!(node["metadata"]["annotations"]["node.alpha.kubernetes.io/ttl"], "0");
    let mut user = pod("p");
    user["spec"]["volumes"] = json!([{ "name": "data", "persistentVolumeClaim": { "claimName": "c" } }]);
    cluster.create("Pod", user).await;
    cluster.until("Pod", "p", |pod| pod["spec"]["nodeName"] == "n1").await;
    cluster.delete("PersistentVolumeClaim", "c", json!({})).await;
    cluster.delete("PersistentVolume", "v", json!({})).await;
    let kept = cluster.get("PersistentVolumeClaim", "c").await.unwrap();
    assert!(kept["metadata"]["deletionTimestamp"].is_string());
    cluster.delete("Pod", "p", json!({ "gracePeriodSeconds": 0 })).await;
    cluster.until_gone("PersistentVolumeClaim", "c").await;
    cluster.until_gone("PersistentVolume", "v").await;
    cluster.stop().await;
}
