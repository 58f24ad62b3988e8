//! A pod's binding, its end, and its log.

use std::sync::Arc;

use dunlin_api::Status;
use dunlin_coordinator_core::dispatch::TOMBSTONES_PREFIX;
use dunlin_link::{
    NodeName,
    assignment::Tombstone,
    logs::{LogRequest, LogStreams},
    rpc::Method,
};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::io::AsyncRead;

use super::{CONFIG_MAPS, Fixture, PODS, Request, pod};
use crate::{
    service::{LogError, LogSource, ModifyError, ObjectRef, User, get::pod_kind},
    store::ListOptions,
};

async fn bind(fixture: &Fixture, name: &str, status: u16) -> Value {
    let binding = json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": "n1"}});
    let request = Request::new(Method::Post, &format!("{PODS}/{name}/binding")).with_body(&binding);
    fixture.expect(status, request).await
}

async fn tombstones(fixture: &Fixture) -> Vec<Tombstone> {
    let options = ListOptions { prefix: TOMBSTONES_PREFIX.to_owned(), after: None, limit: None, at: None };
    let page = fixture.service.store().list(options).await.unwrap();
    page.items.iter().map(|item| serde_json::from_slice(&item.value).unwrap()).collect()
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let fixture = Fixture::start().await;
    fixture.create(PODS, &pod("p")).await;
    bind(&fixture, "p", 201).await;
    let bound = fixture.get(&format!("{PODS}/p")).await;
    assert_eq!(bound["spec"]["nodeName"], "n1");
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");
    assert_eq!(bound["status"]["conditions"][0]["status"], "True");
    let message = bind(&fixture, "p", 409).await["message"].clone();
    let expected =
        "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"n1\"";
    assert_eq!(message, expected);
    bind(&fixture, "q", 404).await;
}

#[tokio::test]
async fn a_forced_removal_leaves_the_order_to_stop() {
    let fixture = Fixture::start().await;
    let made = fixture.create(PODS, &pod("p")).await;
    bind(&fixture, "p", 201).await;
    let delete = Request::new(Method::Delete, &format!("{PODS}/p"));
    let marked = fixture.expect(200, delete).await;
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    assert!(tombstones(&fixture).await.is_empty(), "the pod itself says that it is to be stopped");
    let force = Request::new(Method::Delete, &format!("{PODS}/p")).with_query("gracePeriodSeconds", "0");
    fixture.expect(200, force).await;
    fixture.expect(404, Request::new(Method::Get, &format!("{PODS}/p"))).await;
    let left = tombstones(&fixture).await;
    assert_eq!(left.len(), 1);
    assert_eq!(
        (left[0].uid.as_str(), left[0].name.as_str()),
        (made["metadata"]["uid"].as_str().unwrap(), "p")
    );
    // A pod that no node has needs no order.
    fixture.create(PODS, &pod("q")).await;
    fixture.expect(200, Request::new(Method::Delete, &format!("{PODS}/q"))).await;
    assert_eq!(tombstones(&fixture).await.len(), 1);
}

#[tokio::test]
async fn a_stopped_pod_is_removed_by_its_node_alone() {
    let fixture = Fixture::start().await;
    let made = fixture.create(PODS, &pod("p")).await;
    bind(&fixture, "p", 201).await;
    let uid = made["metadata"]["uid"].as_str().unwrap();
    let (own, other) = (User::node(&NodeName::new("n1")), User::node(&NodeName::new("n2")));
    let remove = async |user: &User, uid: &str| {
        let removed = fixture.service.remove_stopped_pod(user, "default", "p", uid).await;
        removed.map_err(|error| (matches!(error, ModifyError::Gone(_)), Status::from(error).code()))
    };
    assert_eq!(remove(&own, uid).await, Err((false, 409)), "nobody asked for its end");
    fixture.expect(200, Request::new(Method::Delete, &format!("{PODS}/p"))).await;
    assert_eq!(remove(&other, uid).await, Err((true, 403)));
    assert_eq!(remove(&own, "another-uid").await, Err((true, 409)));
    assert_eq!(remove(&own, uid).await, Ok(()));
    assert_eq!(remove(&own, uid).await, Err((true, 404)));
    assert!(tombstones(&fixture).await.is_empty());
}

#[tokio::test]
async fn a_followed_log_is_read_and_not_patched() {
    let fixture = Fixture::start().await;
    fixture.create(PODS, &pod("p")).await;
    for (method, path, status) in [
        (Method::Patch, format!("{PODS}/p/log"), 404),
        (Method::Put, format!("{PODS}/p/log"), 404),
        (Method::Get, format!("{CONFIG_MAPS}/p/log"), 404),
    ] {
        let mut request = Request::new(method, &path).with_query("follow", "true").with_body(&json!({}));
        if method == Method::Patch {
            request.content_type = "application/merge-patch+json".to_owned();
        }
        fixture.expect(status, request).await;
    }
}

#[tokio::test]
async fn unchanged_objects_are_not_written() {
    let fixture = Fixture::start().await;
    fixture.create(PODS, &pod("p")).await;
    let before = fixture.service.store().revision();
    let object = ObjectRef { kind: pod_kind(), namespace: "default", name: "p" };
    let same = |pod: &mut Value| {
        pod["status"]["phase"] = "Pending".into();
        true
    };
    fixture.service.modify(&fixture.admin, object, "status", None, same).await.unwrap();
    assert_eq!(fixture.service.store().revision(), before);
    let other = fixture.service.modify(&fixture.admin, object, "status", Some("other"), same).await;
    assert!(matches!(other, Err(ModifyError::Gone(status)) if status.code() == 409));
}

/// A node whose containers all said the same.
#[derive(Debug)]
struct Parrot;

impl LogSource for Parrot {
    fn open<'a>(
        &'a self,
        node: &'a NodeName,
        request: LogRequest,
        streams: LogStreams,
    ) -> BoxFuture<'a, Result<Box<dyn AsyncRead + Send + Unpin>, LogError>> {
        Box::pin(async move {
            let text = format!("{node} {} {:?} {streams:?}\n", request.container, request.tail_lines);
            Ok(Box::new(std::io::Cursor::new(text)) as Box<dyn AsyncRead + Send + Unpin>)
        })
    }
}

#[tokio::test]
async fn logs_come_from_the_pods_node() {
    let fixture = Fixture::start().await;
    fixture.service.attach_logs(Arc::new(Parrot));
    fixture.create(PODS, &pod("p")).await;
    let log = || Request::new(Method::Get, &format!("{PODS}/p/log"));
    assert!(fixture.send(log()).await.into_bytes().await.unwrap().is_empty(), "no node, no log");
    bind(&fixture, "p", 201).await;
    fixture.expect(400, log()).await;
    let object = ObjectRef { kind: pod_kind(), namespace: "default", name: "p" };
    let running = |pod: &mut Value| {
        pod["status"]["containerStatuses"] = json!([{"name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}}]);
        true
    };
    fixture.service.modify(&User::node(&NodeName::new("n1")), object, "status", None, running).await.unwrap();
    let body = fixture.send(log().with_query("tailLines", "5")).await.into_bytes().await.unwrap();
    assert_eq!(body, "n1 c Some(5) All\n");
    let only = log().with_query("stream", "Stderr").with_query("insecureSkipTLSVerifyBackend", "true");
    assert_eq!(fixture.send(only).await.into_bytes().await.unwrap(), "n1 c None Stderr\n");
    let both = log().with_query("stream", "stdout").with_query("tailLines", "1");
    let refused = fixture.expect(422, both).await;
    let expected = "PodLogOptions \"p\" is invalid: [stream: Unsupported value: \"stdout\": supported values: \
                    \"All\", \"Stderr\", \"Stdout\", : Forbidden: `tailLines` and specific `stream` are mutually exclusive for now]";
    assert_eq!(refused["message"], expected);
    let refused = fixture.expect(422, log().with_query("tailLines", "-1")).await;
    let expected =
        "PodLogOptions \"p\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0";
    assert_eq!(refused["message"], expected);
}

#[tokio::test]
async fn a_binding_of_its_own_names_its_pod() {
    let fixture = Fixture::start().await;
    fixture.create(PODS, &pod("p")).await;
    let path = "/api/v1/namespaces/default/bindings";
    let binding = |name: &str| {
        let target = json!({"kind": "Node", "name": "n1"});
        let binding =
            json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target});
        Request::new(Method::Post, path).with_body(&binding)
    };
    assert_eq!(fixture.expect(201, binding("p")).await["status"], "Success");
    assert_eq!(fixture.get(&format!("{PODS}/p")).await["spec"]["nodeName"], "n1");
    fixture.expect(409, binding("p")).await;
    fixture.expect(404, binding("absent")).await;
    fixture.expect(405, Request::new(Method::Get, path)).await;
}

#[tokio::test]
async fn components_are_well_as_long_as_they_answer() {
    let fixture = Fixture::start().await;
    let list = fixture.get("/api/v1/componentstatuses").await;
    let names: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|item| &item["metadata"]["name"]).collect();
    assert_eq!(names, ["etcd-0", "controller-manager", "scheduler"]);
    let one = fixture.get("/api/v1/componentstatuses/scheduler").await;
    assert_eq!(one["conditions"], json!([{"type": "Healthy", "status": "True", "message": "ok"}]));
    fixture.expect(404, Request::new(Method::Get, "/api/v1/componentstatuses/absent")).await;
}

#[tokio::test]
async fn ready_follows_a_readiness_gate_in_the_write_that_changes_it() {
    let fixture = Fixture::start().await;
    let mut gated = pod("p");
    gated["spec"]["readinessGates"] = json!([{"conditionType": "x.example/y"}]);
    fixture.create(PODS, &gated).await;
    bind(&fixture, "p", 201).await;
    let patch = async |conditions: Value| {
        let request = Request::new(Method::Patch, &format!("{PODS}/p/status"))
            .of_type("application/strategic-merge-patch+json")
            .with_body(&json!({"status": {"conditions": conditions}}));
        let patched = fixture.expect(200, request).await;
        let conditions = patched["status"]["conditions"].as_array().unwrap().clone();
        conditions.into_iter().find(|condition| condition["type"] == "Ready").unwrap()
    };
    // What a node tells of a pod whose containers are well.
    let ready = patch(json!([
        {"type": "ContainersReady", "status": "True"},
        {"type": "Ready", "status": "True"},
    ]))
    .await;
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("ReadinessGatesNotReady")));
    let ready = patch(json!([{"type": "x.example/y", "status": "True"}])).await;
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("True"), &Value::Null));
    let ready = patch(json!([{"type": "x.example/y", "status": "False"}])).await;
    let message = "the status of pod readiness gate \"x.example/y\" is not \"True\", but False";
    assert_eq!((&ready["status"], &ready["message"]), (&json!("False"), &json!(message)));
}

#[tokio::test]
async fn a_pod_that_names_a_node_which_it_rules_out_has_failed() {
    let fixture = Fixture::start().await;
    let node = json!({"metadata": {"name": "n1", "labels": {"disk": "ssd"}}});
    fixture.create("/api/v1/nodes", &node).await;
    let on = |name: &str, node: &str, disk: &str| {
        let mut pod = pod(name);
        pod["spec"]["nodeName"] = json!(node);
        pod["spec"]["nodeSelector"] = json!({"disk": disk});
        pod
    };
    for (name, node, disk, phase) in
        [("a", "n1", "ssd", "Pending"), ("b", "n1", "none", "Failed"), ("c", "other", "none", "Pending")]
    {
        let status = fixture.create(PODS, &on(name, node, disk)).await["status"].clone();
        assert_eq!((&status["phase"], &status["qosClass"]), (&json!(phase), &json!("BestEffort")), "{name}");
        assert_eq!(status["reason"] == "NodeAffinity", phase == "Failed", "{status}");
    }
}

#[tokio::test]
async fn a_pods_runtime_class_is_there() {
    let fixture = Fixture::start().await;
    let mut named = pod("p");
    named["spec"]["runtimeClassName"] = json!("r");
    let create = || Request::new(Method::Post, PODS).with_body(&named);
    let refused = fixture.expect(403, create()).await;
    let expected = "pods \"p\" is forbidden: pod rejected: RuntimeClass \"r\" not found";
    assert_eq!(refused["message"], expected);
    let class =
        json!({"metadata": {"name": "r"}, "handler": "h", "scheduling": {"nodeSelector": {"a": "b"}}});
    fixture.create("/apis/node.k8s.io/v1/runtimeclasses", &class).await;
    let made = fixture.expect(201, create()).await;
    assert_eq!(made["spec"]["nodeSelector"], json!({"a": "b"}));
}
