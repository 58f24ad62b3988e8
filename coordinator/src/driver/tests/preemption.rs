//! A pod that is more important than another takes its place.

use dunlin_api::kind;
use dunlin_link::rpc::{Method, RequestHead};
use serde_json::{Value, json};

use super::{Cluster, admin, eventually, kind_of};

#[tokio::test]
async fn the_less_important_pod_goes_for_the_sake_of_the_other() {
    let cluster = Cluster::start().await;
    let classes = kind::by_kind("scheduling.k8s.io/v1", "PriorityClass").unwrap();
    for (name, value) in [("low", 10), ("high", 1000)] {
        let class = json!({ "metadata": { "name": name }, "value": value });
        cluster.service.create(&admin(), classes, "", class).await.unwrap();
    }
    cluster.connect("n1", 1).await;
    let pod = |name: &str, class: &str| {
        json!({
            "metadata": { "name": name },
            "spec": { "priorityClassName": class, "containers": [{ "name": "c", "image": "i" }] },
        })
    };
    cluster.create("Pod", pod("first", "low")).await;
    cluster.until("Pod", "first", |pod| pod["spec"]["nodeName"] == "n1").await;
    cluster.create("Pod", pod("second", "high")).await;

    let second = cluster.until("Pod", "second", |pod| pod["status"]["nominatedNodeName"] == "n1").await;
    let scheduled = &second["status"]["conditions"][0];
    assert_eq!(scheduled["message"], "0/1 nodes are available: 1 Too many pods.");
    let first = cluster.until("Pod", "first", |pod| !pod["metadata"]["deletionTimestamp"].is_null()).await;
    let target = first["status"]["conditions"].as_array().unwrap();
    let target = target.iter().find(|condition| condition["type"] == "DisruptionTarget").unwrap();
    assert_eq!(target["reason"], "PreemptionByScheduler");
    assert_eq!(target["message"], "default-scheduler: preempting to accommodate a higher priority pod");
    let event = eventually(async || {
        let listed = cluster.service.list(&admin(), kind_of("Event"), "default", Default::default()).await;
        listed.unwrap().0.into_iter().find(|event| event["reason"] == "Preempted")
    })
    .await;
    assert_eq!(event["involvedObject"]["name"], "first");
    let uid = second["metadata"]["uid"].as_str().unwrap();
    assert_eq!(event["message"], format!("Preempted by pod {uid} on node n1"));

    cluster.delete("Pod", "first", json!({ "gracePeriodSeconds": 0 })).await;
    cluster.until("Pod", "second", |pod| pod["spec"]["nodeName"] == "n1").await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_decision_can_be_asked_for() {
    let cluster = Cluster::start().await;
    cluster.connect("n1", 1).await;
    cluster.create("Pod", super::pod("p")).await;
    cluster.until("Pod", "p", |pod| pod["spec"]["nodeName"] == "n1").await;
    cluster.create("Pod", super::pod("q")).await;
    cluster.until("Pod", "q", |pod| pod["status"]["conditions"][0]["status"] == "False").await;
    let ask = async |name: &str| {
        let head = RequestHead {
            method: Method::Get,
            path: format!("/dunlin/v1/namespaces/default/pods/{name}/explain-schedule"),
            query: Vec::new(),
            content_type: String::new(),
            accept: String::new(),
            user_agent: String::new(),
        };
        let body = cluster.service.handle(&admin(), head, &b""[..]).await.into_bytes().await.unwrap();
        serde_json::from_slice::<Value>(&body).unwrap()
    };
    let refused = ask("q").await;
    assert_eq!(refused["nodes"][0]["filter"], "NodeResourcesFit");
    assert_eq!(refused["nodes"][0]["reasons"], json!(["Too many pods"]));
    assert!(refused["message"].as_str().unwrap().starts_with("0/1 nodes are available: 1 Too many pods."));
    let fits = ask("p").await;
    assert_eq!(fits["nodes"][0]["fits"], true);
    assert_eq!(fits["nodes"][0]["scores"]["TaintToleration"], 300);
    cluster.stop().await;
}
