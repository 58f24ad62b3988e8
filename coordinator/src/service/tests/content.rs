//! Protobuf and YAML in and out. The transcoder itself is compared with Kubernetes' own bytes in `dunlin_api`.

use dunlin_api::protobuf;
use dunlin_link::rpc::Method;
use serde_json::{Value, json};

use super::{CONFIG_MAPS, Fixture, PODS, Request, pod};
use crate::service::Response;

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const METADATA: &str = "g=meta.k8s.io;v=v1";

impl Request {
    /// A body in protobuf.
    fn with_protobuf(mut self, body: &Value) -> Self {
        self.body = protobuf::encode(body).unwrap();
        self.content_type = PROTOBUF.to_owned();
        self
    }

    fn accepting(mut self, accept: &str) -> Self {
        self.accept = accept.to_owned();
        self
    }
}

/// The object in an answer in protobuf, as JSON has it.
async fn decoded(response: Response, status: u16) -> Value {
    assert_eq!((response.head.status, response.head.content_type.as_str()), (status, PROTOBUF));
    protobuf::decode(&response.into_bytes().await.unwrap(), None).unwrap()
}

fn typed(kind: &str, mut object: Value) -> Value {
    object["apiVersion"] = "v1".into();
    object["kind"] = kind.into();
    object
}

#[tokio::test]
async fn objects_come_and_go_in_protobuf() {
    let fixture = Fixture::start().await;
    let create = Request::new(Method::Post, PODS).with_query("fieldValidation", "Strict");
    let made = fixture.expect(201, create.with_protobuf(&typed("Pod", pod("p")))).await;
    assert_eq!(made["spec"]["containers"][0]["imagePullPolicy"], "Always");
    let path = format!("{PODS}/p");
    assert_eq!(made, fixture.get(&path).await);
    let read = fixture.send(Request::new(Method::Get, &path).accepting(PROTOBUF)).await;
    assert_eq!(decoded(read, 200).await, made);

    let mut labelled = made.clone();
    labelled["metadata"]["labels"] = json!({"a": "b"});
    let update = Request::new(Method::Put, &path).with_protobuf(&labelled).accepting(PROTOBUF);
    let updated = decoded(fixture.send(update).await, 200).await;
    assert_eq!(updated["metadata"]["labels"], json!({"a": "b"}));
    let mut status = updated.clone();
    status["status"]["phase"] = "Running".into();
    let path_of_status = format!("{path}/status");
    let update = Request::new(Method::Put, &path_of_status).with_protobuf(&status);
    assert_eq!(fixture.expect(200, update).await["status"]["phase"], "Running");

    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": "other"}});
    let delete = Request::new(Method::Delete, &path).with_protobuf(&options).accepting(PROTOBUF);
    let refused = decoded(fixture.send(delete).await, 409).await;
    assert_eq!((&refused["kind"], &refused["reason"]), (&json!("Status"), &json!("Conflict")));
    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0});
    let delete = Request::new(Method::Delete, &path).with_protobuf(&options).accepting(PROTOBUF);
    assert_eq!(decoded(fixture.send(delete).await, 200).await["metadata"]["name"], "p");
}

#[tokio::test]
async fn json_is_answered_wherever_it_will_do() {
    let fixture = Fixture::start().await;
    let accept = format!("{PROTOBUF},application/json");
    let list = fixture.send(Request::new(Method::Get, CONFIG_MAPS).accepting(&accept)).await;
    assert_eq!(list.head.content_type, "application/json");
}

#[tokio::test]
async fn lists_in_protobuf_are_whole_and_paged() {
    let fixture = Fixture::start().await;
    for number in 0..620 {
        let map = typed("ConfigMap", json!({"metadata": {"name": format!("m{number:03}")}}));
        fixture.expect(201, Request::new(Method::Post, CONFIG_MAPS).with_protobuf(&map)).await;
    }
    let list = || Request::new(Method::Get, CONFIG_MAPS);
    let json = fixture.expect(200, list()).await;
    let mut whole = decoded(fixture.send(list().accepting(PROTOBUF)).await, 200).await;
    assert_eq!(whole, json);
    let mut page =
        decoded(fixture.send(list().with_query("limit", "2").accepting(PROTOBUF)).await, 200).await;
    assert_eq!(page["metadata"]["remainingItemCount"], 618);
    assert!(page["metadata"]["continue"].is_string());
    let items = |list: &mut Value| list["items"].take().as_array_mut().unwrap().split_off(0);
    assert_eq!(items(&mut page), items(&mut whole)[..2]);

    let partial = format!("{PROTOBUF};as=PartialObjectMetadataList;{METADATA}");
    let first = list().with_query("fieldSelector", "metadata.name=m000").accepting(&partial);
    let list = decoded(fixture.send(first).await, 200).await;
    assert_eq!(
        (&list["kind"], &list["apiVersion"]),
        (&json!("PartialObjectMetadataList"), &json!("meta.k8s.io/v1"))
    );
    assert_eq!(list["items"][0]["metadata"], json["items"][0]["metadata"]);
    assert!(list["items"][0]["data"].is_null());
}

#[tokio::test]
async fn watches_in_protobuf_are_frames() {
    let fixture = Fixture::start().await;
    fixture.create(CONFIG_MAPS, &json!({"metadata": {"name": "a"}, "data": {"k": "v"}})).await;
    let map = fixture.get(&format!("{CONFIG_MAPS}/a")).await;
    let watch = |accept: &str| {
        let request = Request::new(Method::Get, CONFIG_MAPS).with_query("watch", "1");
        request
            .with_query("fieldSelector", "metadata.name=a")
            .with_query("sendInitialEvents", "true")
            .with_query("resourceVersionMatch", "NotOlderThan")
            .with_query("allowWatchBookmarks", "true")
            .with_query("timeoutSeconds", "1")
            .accepting(accept)
    };
    let stream_type = format!("{PROTOBUF};stream=watch");
    let response = fixture.send(watch(&stream_type)).await;
    assert_eq!(response.head.content_type, stream_type);
    let events = events(&response.into_bytes().await.unwrap());
    assert_eq!(events[0], ("ADDED".to_owned(), map.clone()));
    assert_eq!(events[1].0, "BOOKMARK");
    assert_eq!(events[1].1["metadata"]["annotations"], json!({"k8s.io/initial-events-end": "true"}));

    let partial = format!("{PROTOBUF};as=PartialObjectMetadata;{METADATA}");
    let response = fixture.send(watch(&partial)).await;
    let (_, object) = events_of(response).await.swap_remove(0);
    assert_eq!((&object["kind"], &object["metadata"]), (&json!("PartialObjectMetadata"), &map["metadata"]));
}

async fn events_of(response: Response) -> Vec<(String, Value)> {
    events(&response.into_bytes().await.unwrap())
}

/// The frames of a watch: each a length of four bytes, then an event's type and the object that it is about.
fn events(mut stream: &[u8]) -> Vec<(String, Value)> {
    let mut events = Vec::new();
    while let Some((length, rest)) = stream.split_first_chunk() {
        let (event, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        stream = rest;
        // Field 1 is the type; field 2 holds a message whose field 1 is the object.
        let name_length = usize::from(event[1]);
        let name = String::from_utf8(event[2..2 + name_length].to_vec()).unwrap();
        let envelope = event.windows(4).position(|window| window == b"k8s\0").unwrap();
        events.push((name, protobuf::decode(&event[envelope..], None).unwrap()));
    }
    events
}

#[tokio::test]
async fn refusals_speak_the_language_of_the_asker() {
    let fixture = Fixture::start().await;
    let get = |accept: &str| Request::new(Method::Get, &format!("{CONFIG_MAPS}/none")).accepting(accept);
    let refused = decoded(fixture.send(get(PROTOBUF)).await, 404).await;
    let expected = fixture.expect(404, get("")).await;
    assert_eq!(refused, expected);
    let yaml = fixture.send(get("application/yaml")).await;
    assert_eq!(yaml.head.content_type, "application/yaml");
    assert!(String::from_utf8_lossy(&yaml.into_bytes().await.unwrap()).contains("reason: NotFound"));

    let table = format!("{PROTOBUF};as=Table;{METADATA}");
    let refused = fixture.expect(406, Request::new(Method::Get, CONFIG_MAPS).accepting(&table)).await;
    assert_eq!(
        refused["message"],
        "only the following media types are accepted: application/json, application/yaml, \
         application/vnd.kubernetes.protobuf"
    );
}

#[tokio::test]
async fn bodies_that_are_no_protobuf_are_refused() {
    let fixture = Fixture::start().await;
    let check = async |body: &[u8], expected: &str| {
        let mut request = Request::new(Method::Post, CONFIG_MAPS);
        (request.content_type, request.body) = (PROTOBUF.to_owned(), body.to_vec());
        assert_eq!(fixture.expect(400, request).await["message"], expected);
    };
    check(
        b"{}",
        "the object provided is unrecognized (must be of type ConfigMap): provided data does not appear to be a protobuf \
         message, expected prefix [107 56 115 0] ({})",
    )
    .await;
    let mut cut = protobuf::encode(&typed("ConfigMap", json!({"data": {"k": "v"}}))).unwrap();
    cut.truncate(26);
    check(
        &cut,
        "the object provided is unrecognized (must be of type ConfigMap): unexpected EOF \
         (6b3873000a0f0a0276311209436f6e6669674d6170121a0a100a)",
    )
    .await;
    let pod = protobuf::encode(&typed("Pod", pod("p"))).unwrap();
    check(
        &pod,
        "Pod in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Pod) to (core.ConfigMap): unknown conversion",
    )
    .await;
    check(
        b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x02\x08\x01",
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: proto: wrong wireType = 0 for field metadata",
    )
    .await;
}
