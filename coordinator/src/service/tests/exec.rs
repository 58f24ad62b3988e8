//! `pods/exec` and `pods/attach`: what is refused, and both ways of speaking, with a node at the other end of a pipe.

use std::sync::Mutex;

use bytes::Bytes;
use dunlin_link::{
    NodeName,
    exec::{ExecEnd, Input, Output},
    frame::{Decoder, Frame},
    limits::EXEC_FRAME_BYTES_MAX,
    rpc::STREAM_PROTOCOL,
    stream::StreamRefusal,
};
use futures_util::{SinkExt as _, StreamExt as _, future::BoxFuture};
use http::HeaderMap;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    task::JoinHandle,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use super::*;
use crate::{
    service::{Body, Offer, PodStreams},
    sessions::{NodeStream, OpenStreamError, StreamOpen},
};

/// A node that repeats its input on both streams and exits with 3, or refuses everything.
#[derive(Debug, Default)]
struct Node {
    asked: Mutex<Vec<StreamOpen>>,
    refusal: Option<OpenStreamError>,
}

impl PodStreams for &'static Node {
    fn open<'a>(
        &'a self,
        _node: &'a NodeName,
        open: StreamOpen,
    ) -> BoxFuture<'a, Result<NodeStream, OpenStreamError>> {
        self.asked.lock().unwrap().push(open);
        Box::pin(async {
            if let Some(refusal) = &self.refusal {
                return Err(refusal.clone());
            }
            let (ours, theirs) = duplex(1 << 16);
            tokio::spawn(repeat(ours));
            Ok(NodeStream::new(theirs))
        })
    }
}

async fn repeat(stream: DuplexStream) {
    let (mut from, mut to) = tokio::io::split(stream);
    let mut frames = Frames::new();
    while let Some(frame) = frames.next(&mut from).await {
        let outputs = match Input::decode(&frame).unwrap() {
            Some(Input::Stdin(bytes)) => vec![Output::Stdout(bytes.clone()), Output::Stderr(bytes)],
            Some(Input::Resize(size)) => vec![Output::Stdout(format!("{size:?}").into_bytes())],
            Some(Input::StdinEnd) => vec![Output::End(ExecEnd::Exited(3))],
            None => continue,
        };
        for output in outputs {
            to.write_all(&output.encode()).await.unwrap();
        }
    }
}

/// Cuts a stream into frames.
struct Frames {
    decoder: Decoder,
    pending: Vec<u8>,
}

impl Frames {
    fn new() -> Self {
        Self { decoder: Decoder::new(EXEC_FRAME_BYTES_MAX), pending: Vec::new() }
    }

    async fn next(&mut self, stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Option<Frame> {
        loop {
            let mut rest = &self.pending[..];
            let frame = self.decoder.feed(&mut rest).unwrap();
            self.pending = rest.to_vec();
            if frame.is_some() {
                return frame;
            }
            let mut buffer = vec![0; 4096];
            let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
            self.pending.extend_from_slice(&buffer[..count]);
        }
    }
}

/// A service with a running pod on a node.
async fn running(node: Node) -> (Fixture, &'static Node) {
    let fixture = Fixture::start().await;
    let node: &'static Node = Box::leak(Box::new(node));
    fixture.service.attach_streams(std::sync::Arc::new(node));
    let mut object = pod("p");
    object["spec"]["nodeName"] = "n1".into();
    object["spec"]["containers"][0]["stdin"] = true.into();
    fixture.create(PODS, &object).await;
    (fixture, node)
}

const EXEC: &str = "stdin=true&stdout=true&stderr=true&command=cat&command=-";

fn websocket(protocols: &str) -> Offer {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", protocols),
    ] {
        headers.insert(name, value.parse().unwrap());
    }
    Offer::read(&headers)
}

async fn ask(
    fixture: &Fixture,
    user: &User,
    method: Method,
    path: &str,
    query: &str,
    offer: Offer,
) -> Response {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let head = RequestHead {
        method,
        path: format!("{PODS}/{path}"),
        query: pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        content_type: String::new(),
        accept: String::new(),
        user_agent: "t".to_owned(),
    };
    fixture.service.handle_offer(user, head, offer, [].as_slice()).await
}

#[tokio::test]
async fn what_cannot_be_is_refused_in_kubernetes_words() {
    let (fixture, _) = running(Node::default()).await;
    let check = async |method, path: &str, query: &str, offer: Offer, code: u16, part: &str| {
        let response = ask(&fixture, &fixture.admin, method, path, query, offer).await;
        let body = String::from_utf8(response.into_bytes().await.unwrap().to_vec()).unwrap();
        let status: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(status["code"], code, "{path}?{query}: {body}");
        assert!(status["message"].as_str().unwrap().contains(part), "{path}?{query}: {body}");
    };
    let frames = || Offer::of(STREAM_PROTOCOL);
    check(Method::Post, "nobody/exec", EXEC, frames(), 404, "pods \"nobody\" not found").await;
    let query = format!("{EXEC}&container=z");
    check(Method::Post, "p/exec", &query, frames(), 400, "container z is not valid for pod p").await;
    check(Method::Post, "p/exec", "command=x", frames(), 400, "at least 1 of stdin, stdout, stderr").await;
    check(Method::Post, "p/exec", EXEC, Offer::none(), 400, "Upgrade request required").await;
    check(Method::Post, "p/exec", EXEC, Offer::of("SPDY/3.1"), 400, "only WebSocket is").await;
    check(Method::Get, "p/exec", EXEC, websocket("v9.channel.k8s.io"), 403, "[v9.channel.k8s.io]").await;
    check(Method::Put, "p/exec", EXEC, frames(), 405, "").await;
    fixture.create(PODS, &pod("unbound")).await;
    check(Method::Post, "unbound/attach", EXEC, frames(), 400, "does not have a host assigned").await;
}

#[tokio::test]
async fn a_websocket_takes_the_right_to_create() {
    let (fixture, _) = running(Node::default()).await;
    let bob = User::new("bob", []);
    let code = async |method, offer| ask(&fixture, &bob, method, "p/exec", EXEC, offer).await.head.status;
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
    let mut role = json!({"metadata": {"name": "r"}, "rules": [
        {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get"]},
    ]});
    fixture.create(roles, &role).await;
    let binding = json!({"metadata": {"name": "r"}, "roleRef": {
        "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r",
    }, "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bob"}]});
    fixture.create("/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", &binding).await;
    let v5 = || websocket("v5.channel.k8s.io");
    assert_eq!(code(Method::Get, v5()).await, 403);
    role["rules"][0]["verbs"] = json!(["create"]);
    fixture.expect(200, Request::new(Method::Put, &format!("{roles}/r")).with_body(&role)).await;
    assert_eq!(code(Method::Get, v5()).await, 403);
    assert_eq!(code(Method::Post, Offer::of(STREAM_PROTOCOL)).await, 101);
    role["rules"][0]["verbs"] = json!(["create", "get"]);
    fixture.expect(200, Request::new(Method::Put, &format!("{roles}/r")).with_body(&role)).await;
    assert_eq!(code(Method::Get, v5()).await, 101);
}

#[tokio::test]
async fn a_node_s_refusal_is_an_answer_or_a_last_word() {
    let check = async |refusal: OpenStreamError, code: u16, part: &str| {
        let (fixture, _) = running(Node { refusal: Some(refusal), ..Node::default() }).await;
        let frames = Offer::of(STREAM_PROTOCOL);
        let response = ask(&fixture, &fixture.admin, Method::Post, "p/exec", EXEC, frames).await;
        let told: Value = serde_json::from_slice(&response.into_bytes().await.unwrap()).unwrap();
        let over_websocket = websocket("v4.channel.k8s.io");
        let response = ask(&fixture, &fixture.admin, Method::Get, "p/exec", EXEC, over_websocket).await;
        let (mut client, talk) = converse(response);
        assert_eq!(next(&mut client).await, (1, Bytes::new()));
        let (channel, status) = next(&mut client).await;
        let status: Value = serde_json::from_slice(&status).unwrap();
        assert_eq!((channel, &status), (3, &told));
        assert_eq!(told["code"], code, "{told}");
        assert!(told["message"].as_str().unwrap().contains(part), "{told}");
        client.close(None).await.unwrap();
        talk.await.unwrap();
    };
    let refused = |reason, message: &str| OpenStreamError::Refused { reason, message: message.to_owned() };
    check(refused(StreamRefusal::Impossible, "no command"), 400, "no command").await;
    check(refused(StreamRefusal::NotRunning, "container not found (\"c\")"), 404, "not found").await;
    check(refused(StreamRefusal::TooMany, "16"), 429, "16").await;
    check(refused(StreamRefusal::Failed, "oh"), 500, "Internal error occurred: oh").await;
    let gone = OpenStreamError::NotConnected(NodeName::new("n1"));
    check(gone, 500, "error dialing backend: node \"n1\" is not connected").await;
}

#[tokio::test]
async fn frames_go_both_ways() {
    let (fixture, node) = running(Node::default()).await;
    let response =
        ask(&fixture, &fixture.admin, Method::Post, "p/exec", EXEC, Offer::of(STREAM_PROTOCOL)).await;
    assert_eq!(response.head.status, 101);
    let Body::Upgrade(upgrade) = response.body else { panic!("an upgrade") };
    let (mut client, server) = duplex(1 << 16);
    let talk = tokio::spawn(upgrade.talk(Box::new(server)));
    client.write_all(&Input::Stdin(b"hello".to_vec()).encode()).await.unwrap();
    client.write_all(&Input::StdinEnd.encode()).await.unwrap();
    let mut frames = Frames::new();
    let mut heard = Vec::new();
    while let Some(frame) = frames.next(&mut client).await {
        heard.push(Output::decode(&frame).unwrap().unwrap());
    }
    let hello = || b"hello".to_vec();
    let expected = [Output::Stdout(hello()), Output::Stderr(hello()), Output::End(ExecEnd::Exited(3))];
    assert_eq!(heard, expected);
    talk.await.unwrap();
    let asked = node.asked.lock().unwrap().clone();
    let [StreamOpen::Exec(request)] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!((request.command.join(" ").as_str(), request.container.as_str()), ("cat -", "c"));
    assert!(request.stdin && request.stdout && request.stderr && !request.tty);
}

type Client = WebSocketStream<DuplexStream>;

/// The client's end of an answer that leads to a WebSocket, whose handshake is taken as read.
fn converse(response: Response) -> (Client, JoinHandle<()>) {
    assert_eq!(response.head.status, 101);
    let Body::Upgrade(upgrade) = response.body else { panic!("an upgrade") };
    let (client, server) = duplex(1 << 16);
    let talk = tokio::spawn(upgrade.talk(Box::new(server)));
    let client = WebSocketStream::from_raw_socket(client, Role::Client, None);
    (futures_util::FutureExt::now_or_never(client).unwrap(), talk)
}

/// The next message's channel and content.
async fn next(client: &mut Client) -> (u8, Bytes) {
    match client.next().await.unwrap().unwrap() {
        Message::Binary(bytes) => (bytes[0], bytes.slice(1..)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn channels_go_both_ways_and_end_with_a_status() {
    let (fixture, node) = running(Node::default()).await;
    let offer = websocket("v5.channel.k8s.io, v4.channel.k8s.io");
    let response = ask(&fixture, &fixture.admin, Method::Get, "p/attach", EXEC, offer).await;
    let header = |name: &str| {
        response.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    };
    assert_eq!(header("sec-websocket-protocol"), Some("v5.channel.k8s.io"));
    assert_eq!(header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    let (mut client, talk) = converse(response);
    assert_eq!(next(&mut client).await, (1, Bytes::new()));
    client.send(Message::binary(b"\x00hello".as_slice())).await.unwrap();
    assert_eq!(next(&mut client).await, (1, Bytes::from_static(b"hello")));
    assert_eq!(next(&mut client).await, (2, Bytes::from_static(b"hello")));
    client.send(Message::binary(b"\x04{\"Width\":80,\"Height\":24}".as_slice())).await.unwrap();
    assert_eq!(next(&mut client).await.1, "TerminalSize { columns: 80, rows: 24 }");
    // What means nothing is passed over.
    for nothing in [b"\x04nonsense".as_slice(), b"\x07x", b""] {
        client.send(Message::binary(nothing)).await.unwrap();
    }
    client.send(Message::Ping(Bytes::from_static(b"p"))).await.unwrap();
    client.send(Message::binary([255, 0].as_slice())).await.unwrap();
    let mut pongs = 0;
    let (channel, status) = loop {
        match client.next().await.unwrap().unwrap() {
            Message::Pong(_) => pongs += 1,
            Message::Binary(bytes) => break (bytes[0], bytes.slice(1..)),
            other => panic!("{other:?}"),
        }
    };
    let status: Value = serde_json::from_slice(&status).unwrap();
    assert_eq!((channel, pongs, &status["reason"]), (3, 1, &json!("NonZeroExitCode")));
    assert_eq!(status["details"]["causes"], json!([{"reason": "ExitCode", "message": "3"}]));
    let Message::Close(Some(close)) = client.next().await.unwrap().unwrap() else { panic!("a close") };
    assert_eq!(u16::from(close.code), 1000);
    assert!(client.next().await.is_none());
    talk.await.unwrap();
    let asked = node.asked.lock().unwrap().clone();
    assert!(matches!(&asked[..], [StreamOpen::Attach(request)] if request.container == "c"), "{asked:?}");
}

#[tokio::test]
async fn a_client_that_leaves_is_told_to_the_node() {
    let (fixture, _) = running(Node::default()).await;
    let offer = websocket("v5.channel.k8s.io");
    let response = ask(&fixture, &fixture.admin, Method::Get, "p/exec", EXEC, offer).await;
    let (mut client, talk) = converse(response);
    next(&mut client).await;
    drop(client);
    talk.await.unwrap();
}
