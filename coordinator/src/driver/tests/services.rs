//! Services and what is written of their pods, with a real store and the rights of the controllers' default roles.

use super::{Cluster, Kind, Value, admin, eventually, json, kind, reference};

async fn slices(cluster: &Cluster) -> Vec<Value> {
    let kind: &'static Kind = kind::by_kind("discovery.k8s.io/v1", "EndpointSlice").unwrap();
    let all = cluster.service.list(&admin(), kind, "default", Default::default()).await.unwrap().0;
    all.into_iter()
        .filter(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == "web")
        .collect()
}

/// Waits until there is one slice with so many endpoints.
async fn slice_of(cluster: &Cluster, count: usize) -> Value {
    eventually(async || {
        let slices = slices(cluster).await;
        let [slice] = &slices[..] else { return None };
        let endpoints = slice["endpoints"].as_array().map_or(0, Vec::len);
        (endpoints == count).then(|| slice.clone())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_told_of_as_its_pods_come_and_go() {
    let cluster = Cluster::start().await;
    let spec = json!({ "selector": { "app": "web" }, "ports": [{ "port": 80, "targetPort": 8080 }] });
    cluster.create("Service", json!({ "metadata": { "name": "web" }, "spec": spec })).await;
    slice_of(&cluster, 0).await;
    cluster.create("Node", json!({ "metadata": { "name": "n1" } })).await;
    let container = json!({ "name": "c", "image": "i" });
    let pod = json!({
        "metadata": { "name": "p", "labels": { "app": "web" } },
        "spec": { "nodeName": "n1", "containers": [container] },
    });
    cluster.create("Pod", pod).await;
    let status = json!({ "status": {
        "phase": "Running",
        "podIP": "10.42.0.2",
        "podIPs": [{ "ip": "10.42.0.2" }],
        "conditions": [{ "type": "Ready", "status": "True" }],
    } });
    cluster.service.patch(&admin(), reference("Pod", "p"), "status", &status).await.unwrap();
    let slice = slice_of(&cluster, 1).await;
    assert_eq!(slice["endpoints"][0]["addresses"], json!(["10.42.0.2"]));
    assert_eq!(slice["endpoints"][0]["conditions"]["ready"], true);
    assert_eq!(slice["ports"][0]["port"], 8080);
    let has_one = |endpoints: &Value| endpoints["subsets"][0]["addresses"][0]["ip"] == "10.42.0.2";
    cluster.until("Endpoints", "web", has_one).await;

    cluster.delete("Pod", "p", json!({})).await;
    let is_terminating = async || {
        let slice = slice_of(&cluster, 1).await;
        (slice["endpoints"][0]["conditions"]["terminating"] == true).then_some(slice)
    };
    assert_eq!(eventually(is_terminating).await["endpoints"][0]["conditions"]["ready"], false);
    cluster
        .until("Endpoints", "web", |endpoints| endpoints["subsets"].as_array().is_none_or(Vec::is_empty))
        .await;
    cluster.delete("Service", "web", json!({})).await;
    cluster.until_gone("Endpoints", "web").await;
    eventually(async || slices(&cluster).await.is_empty().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_written_by_hand_are_mirrored() {
    let cluster = Cluster::start().await;
    let spec = json!({ "ports": [{ "port": 80 }] });
    cluster.create("Service", json!({ "metadata": { "name": "web" }, "spec": spec })).await;
    let subsets = json!([{ "addresses": [{ "ip": "192.0.2.1" }], "ports": [{ "port": 80 }] }]);
    cluster.create("Endpoints", json!({ "metadata": { "name": "web" }, "subsets": subsets })).await;
    let slice = slice_of(&cluster, 1).await;
    assert_eq!(slice["endpoints"][0]["addresses"], json!(["192.0.2.1"]));
    let settled = cluster.store.revision();
    cluster.delete("Endpoints", "web", json!({})).await;
    eventually(async || slices(&cluster).await.is_empty().then_some(())).await;
    assert!(cluster.store.revision() > settled);
}
