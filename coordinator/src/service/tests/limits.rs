//! Bounds of requests, and the endpoints that pass bytes along.

use std::sync::Arc;

use dunlin_link::{
    Digest, NodeName,
    limits::{OBJECT_BYTES_MAX, REQUEST_BODY_BYTES_MAX},
    logs::{LogRequest, LogStreams},
    rpc::{Method, RequestHead},
};
use futures_util::future::BoxFuture;
use serde_json::json;
use tokio::io::{AsyncRead, repeat};

use super::{CONFIG_MAPS, Fixture, PODS, Request, pod};
use crate::{
    artifacts::Artifacts,
    service::{ClusterInfo, LogError, LogSource, ObjectRef, get::pod_kind},
    tokens::Tokens,
};

#[tokio::test]
async fn a_body_is_read_to_its_bound_and_no_further() {
    let fixture = Fixture::start().await;
    let head = RequestHead {
        method: Method::Post,
        path: CONFIG_MAPS.to_owned(),
        query: Vec::new(),
        content_type: String::new(),
        accept: String::new(),
        user_agent: String::new(),
    };
    // Without the bound this would never end.
    let response = fixture.service.handle(&fixture.admin, head, repeat(b' ')).await;
    assert_eq!(response.head.status, 413);
    let status: serde_json::Value = serde_json::from_slice(&response.into_bytes().await.unwrap()).unwrap();
    assert_eq!(status["reason"], "RequestEntityTooLarge");
    let expected = format!("Request entity too large: limit is {REQUEST_BODY_BYTES_MAX}");
    assert_eq!(status["message"], expected);
}

#[tokio::test]
async fn an_object_cannot_be_grown_past_its_bound() {
    let fixture = Fixture::start().await;
    let path = format!("{CONFIG_MAPS}/grown");
    // Labels are bounded one by one only: these are half of what an object may have.
    let labels = |prefix: &str| -> serde_json::Map<_, _> {
        let labels = 0..OBJECT_BYTES_MAX / 2 / 60;
        labels.map(|index| (format!("{prefix}{index:047}"), json!("12345678"))).collect()
    };
    let patch = |labels: serde_json::Value| {
        let mut request =
            Request::new(Method::Patch, &path).with_body(&json!({"metadata": {"labels": labels}}));
        request.content_type = "application/merge-patch+json".to_owned();
        request
    };
    fixture.create(CONFIG_MAPS, &json!({"metadata": {"name": "grown", "labels": labels("a")}})).await;
    let before = fixture.get(&path).await;
    let refused = fixture.expect(413, patch(labels("b").into())).await;
    assert_eq!(refused["reason"], "RequestEntityTooLarge");
    assert_eq!(refused["message"], format!("Request entity too large: limit is {OBJECT_BYTES_MAX}"));
    assert_eq!(fixture.get(&path).await, before);
    fixture.expect(200, patch(json!({"small": "one"}))).await;
    fixture.expect(200, Request::new(Method::Delete, &path)).await;
}

/// A node whose log is a trap.
#[derive(Debug)]
struct Trap;

impl LogSource for Trap {
    fn open<'a>(
        &'a self,
        _node: &'a NodeName,
        _request: LogRequest,
        _streams: LogStreams,
    ) -> BoxFuture<'a, Result<Box<dyn AsyncRead + Send + Unpin>, LogError>> {
        panic!("a trap")
    }
}

#[tokio::test]
async fn a_panic_is_the_failure_of_one_request() {
    let fixture = Fixture::start().await;
    fixture.service.attach_logs(Arc::new(Trap));
    let mut bound = pod("p");
    bound["spec"]["nodeName"] = "n1".into();
    fixture.create(PODS, &bound).await;
    let object = ObjectRef { kind: pod_kind(), namespace: "default", name: "p" };
    let running = |pod: &mut serde_json::Value| {
        let status = json!({"name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}});
        pod["status"]["containerStatuses"] = json!([status]);
        true
    };
    fixture.service.modify(&fixture.admin, object, "status", None, running).await.unwrap();
    let failed = fixture.expect(500, Request::new(Method::Get, &format!("{PODS}/p/log"))).await;
    assert_eq!(failed["reason"], "InternalError");
    fixture.get(&format!("{PODS}/p")).await;
}

#[tokio::test]
async fn modules_are_stored_under_their_names() {
    let fixture = Fixture::start().await;
    let folder = tempfile::tempdir().unwrap();
    let artifacts = Artifacts::open(folder.path(), fixture.service.store().clone()).unwrap();
    fixture.service.attach_artifacts(artifacts);
    let module = b"\0asm\x01\0\0\0".to_vec();
    let put = |name: &str, body: &[u8]| {
        let mut request = Request::new(Method::Put, "/dunlin/v1/modules").with_query("name", name);
        request.body = body.to_vec();
        request
    };
    let stored = fixture.expect(201, put("hello:v1", &module)).await;
    assert_eq!(stored["digest"], Digest::of(&module).to_string());
    assert_eq!(stored["size"], 8);
    let list = fixture.get("/dunlin/v1/modules").await;
    assert_eq!(list["items"], json!([stored]));
    fixture.expect(400, put("Not A Name", &module)).await;
    let refused = fixture.expect(400, put("text", b"hello")).await;
    assert!(refused["message"].as_str().unwrap().contains("not a WASM module"), "{refused}");
}

#[tokio::test]
async fn tokens_are_made_listed_and_deleted() {
    let fixture = Fixture::start().await;
    fixture.service.attach_tokens(Tokens::new(fixture.service.store().clone(), Digest::of(b"ca")));
    let cluster = ClusterInfo {
        id: "c1".to_owned(),
        version: "0.0.0".to_owned(),
        addresses: vec!["coordinator:6443".to_owned()],
    };
    fixture.service.attach_cluster(cluster);
    assert_eq!(fixture.get("/dunlin/v1/cluster").await["id"], "c1");
    let asked = json!({"description": "rack 4", "lifetimeSeconds": 60, "uses": 2});
    let made = fixture.create("/dunlin/v1/tokens", &asked).await;
    let text = made["token"].as_str().unwrap();
    assert!(text.ends_with(".coordinator:6443"), "{text}");
    let list = fixture.get("/dunlin/v1/tokens").await;
    assert_eq!((&list["items"][0]["id"], &list["items"][0]["usesLeft"]), (&made["id"], &json!(2)));
    assert!(!list.to_string().contains(text), "secrets are not listed");
    let path = format!("/dunlin/v1/tokens/{}", made["id"].as_str().unwrap());
    fixture.expect(200, Request::new(Method::Delete, &path)).await;
    fixture.expect(404, Request::new(Method::Delete, &path)).await;
    fixture.expect(400, Request::new(Method::Post, "/dunlin/v1/tokens").with_body(&json!({"use": 1}))).await;
}

#[tokio::test]
async fn discovery_names_every_kind() {
    let fixture = Fixture::start().await;
    let resources = fixture.get("/api/v1").await;
    let names: Vec<&str> = resources["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|resource| resource["name"].as_str().unwrap())
        .collect();
    for name in ["pods", "pods/binding", "pods/log", "pods/status", "namespaces/finalize", "secrets"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    assert_eq!(fixture.get("/version").await["minor"], "36");
    let mut request = Request::new(Method::Get, "/api");
    request.accept =
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
            .to_owned();
    let response = fixture.send(request).await;
    let media = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
    assert_eq!(response.head.content_type, media);
}
