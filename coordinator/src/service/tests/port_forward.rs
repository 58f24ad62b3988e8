//! `pods/portforward`: what is refused, and all ways of speaking, with a node at the other end of a pipe.

use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use dunlin_link::{NodeName, rpc::STREAM_PROTOCOL, stream::StreamRefusal};
use futures_util::{SinkExt as _, StreamExt as _, future::BoxFuture};
use http::HeaderMap;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, duplex},
    task::JoinHandle,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use super::*;
use crate::{
    service::{
        Body, Offer, PodStreams,
        spdy::{self, Decoder, Encoder, Frame, Side, tests::opened},
        upgrade::Duplex,
    },
    sessions::{NodeStream, OpenStreamError, StreamOpen},
};

/// Port 80 repeats what it hears to its end, 82 says a word and ends at once, 83 never ends, and at any other nobody listens.
#[derive(Debug, Default)]
struct Node(Mutex<Vec<StreamOpen>>);

impl PodStreams for &'static Node {
    fn open<'a>(
        &'a self,
        _node: &'a NodeName,
        open: StreamOpen,
    ) -> BoxFuture<'a, Result<NodeStream, OpenStreamError>> {
        self.0.lock().unwrap().push(open.clone());
        Box::pin(async move {
            let StreamOpen::Forward { port, .. } = open else { panic!("{open:?}") };
            let (mut ours, theirs) = duplex(1 << 12);
            match port {
                80 => drop(tokio::spawn(async move {
                    let (mut from, mut to) = tokio::io::split(ours);
                    tokio::io::copy(&mut from, &mut to).await.unwrap();
                    to.write_all(b".").await.unwrap();
                    to.shutdown().await.unwrap();
                })),
                82 => drop(tokio::spawn(async move {
                    ours.write_all(b"word").await.unwrap();
                    ours.shutdown().await.unwrap();
                    // The other side stays open.
                    let _ = ours.read_to_end(&mut Vec::new()).await;
                })),
                83 => drop(tokio::spawn(async move { ours.read_to_end(&mut Vec::new()).await })),
                _ => {
                    let message = format!("failed to connect to localhost:{port}: connection refused");
                    return Err(OpenStreamError::Refused { reason: StreamRefusal::NotRunning, message });
                }
            }
            Ok(NodeStream::new(theirs))
        })
    }
}

async fn running() -> (Fixture, &'static Node) {
    let fixture = Fixture::start().await;
    let node: &'static Node = Box::leak(Box::default());
    fixture.service.attach_streams(Arc::new(node));
    let mut object = pod("p");
    object["spec"]["nodeName"] = "n1".into();
    fixture.create(PODS, &object).await;
    (fixture, node)
}

fn offer(upgrade: &str, others: &[(&'static str, &str)]) -> Offer {
    let mut headers = HeaderMap::new();
    for (name, value) in [("connection", "Upgrade"), ("upgrade", upgrade)].iter().chain(others) {
        headers.append(*name, value.parse().unwrap());
    }
    Offer::read(&headers)
}

fn websocket(protocol: &str) -> Offer {
    let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    offer("websocket", &[("sec-websocket-version", "13"), key, ("sec-websocket-protocol", protocol)])
}

async fn ask(fixture: &Fixture, user: &User, method: Method, path: &str, offer: Offer) -> Response {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
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

/// The client's end of an answer that leaves HTTP.
fn converse(response: Response) -> (DuplexStream, JoinHandle<()>) {
    assert_eq!(response.head.status, 101);
    let Body::Upgrade(upgrade) = response.body else { panic!("an upgrade") };
    let (client, server) = duplex(1 << 14);
    (client, tokio::spawn(upgrade.talk(Box::new(server))))
}

fn header<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
    response.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

#[tokio::test]
async fn what_cannot_be_is_refused_in_kubernetes_words() {
    let (fixture, _) = running().await;
    let check = async |method, path: &str, offer: Offer, code: u16, part: &str| {
        let response = ask(&fixture, &fixture.admin, method, path, offer).await;
        let body = String::from_utf8(response.into_bytes().await.unwrap().to_vec()).unwrap();
        let status: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(status["code"], code, "{path}: {body}");
        assert!(status["message"].as_str().unwrap().contains(part), "{path}: {body}");
    };
    let bytes = || Offer::of(STREAM_PROTOCOL);
    check(Method::Post, "nobody/portforward", bytes(), 404, "pods \"nobody\" not found").await;
    check(Method::Post, "p/portforward", Offer::none(), 400, "Upgrade request required").await;
    check(Method::Put, "p/portforward", bytes(), 405, "").await;
    check(Method::Post, "p/portforward", bytes(), 400, "\"ports\" is required").await;
    check(Method::Post, "p/portforward?ports=80,81", bytes(), 400, "to one port").await;
    check(Method::Post, "p/portforward?ports=1", bytes(), 404, "localhost:1: connection refused").await;
    let channels = || websocket("v4.channel.k8s.io");
    check(Method::Get, "p/portforward?ports=x", channels(), 400, "unable to parse \"x\" as a port").await;
    check(Method::Get, "p/portforward?ports=1", websocket("v9.channel.k8s.io"), 403, "[v9.channel").await;
    let old = offer("SPDY/3.1", &[("x-stream-protocol-version", "v1.k8s.io")]);
    check(Method::Post, "p/portforward", old, 403, "server accepts [\"portforward.k8s.io\"]").await;
    check(Method::Post, "p/portforward", offer("h2c", &[]), 400, "h2c is not served here").await;
    fixture.create(PODS, &pod("unbound")).await;
    check(Method::Post, "unbound/portforward", bytes(), 400, "does not have a host assigned").await;
    let over = json!({"status": {"phase": "Succeeded"}});
    let patch = Request::new(Method::Patch, &format!("{PODS}/p/status")).with_body(&over);
    fixture.expect(200, patch.of_type("application/merge-patch+json")).await;
    check(Method::Post, "p/portforward", bytes(), 400, "current phase is Succeeded").await;
    let nobody = User::new("bob", []);
    for (method, offer) in [(Method::Post, bytes()), (Method::Get, channels())] {
        let response = ask(&fixture, &nobody, method, "p/portforward?ports=80", offer).await;
        assert_eq!(response.head.status, 403);
    }
}

#[tokio::test]
async fn a_connection_by_itself_has_two_ends() {
    let (fixture, node) = running().await;
    let bytes = Offer::of(STREAM_PROTOCOL);
    let response = ask(&fixture, &fixture.admin, Method::Post, "p/portforward?ports=80", bytes).await;
    let (mut client, talk) = converse(response);
    client.write_all(b"hello").await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = String::new();
    client.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "hello.");
    talk.await.unwrap();
    assert!(matches!(node.0.lock().unwrap()[..], [StreamOpen::Forward { port: 80, .. }]));
}

#[tokio::test]
async fn channels_are_pairs_that_begin_with_their_port() {
    let (fixture, _) = running().await;
    let path = "p/portforward?ports=80,82&ports=9999";
    let response = ask(&fixture, &fixture.admin, Method::Get, path, websocket("v4.channel.k8s.io")).await;
    let (client, talk) = converse(response);
    let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    client.send(Message::binary(b"\x00hello".as_slice())).await.unwrap();
    // What means nothing is passed over.
    for nothing in [b"\x01x".as_slice(), b"\x07x", b""] {
        client.send(Message::binary(nothing)).await.unwrap();
    }
    let mut heard = vec![Vec::new(); 6];
    while heard[0].len() < 7 || heard[2].len() < 6 || heard[5].len() < 3 {
        let Message::Binary(bytes) = client.next().await.unwrap().unwrap() else { continue };
        heard[usize::from(bytes[0])].extend_from_slice(&bytes[1..]);
    }
    let refused = format!(
        "\x0f\x27error forwarding port 9999 to pod p, uid {}: failed to connect to localhost:9999: connection refused",
        fixture.get(&format!("{PODS}/p")).await["metadata"]["uid"].as_str().unwrap()
    );
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let expected = ["P\0hello", "P\0", "R\0word", "R\0", "\x0f\x27", &refused];
    assert_eq!(heard.iter().map(|bytes| text(bytes)).collect::<Vec<_>>(), expected);
    client.close(None).await.unwrap();
    talk.await.unwrap();
    // With the last connection the WebSocket ends.
    let path = "p/portforward?ports=82";
    let response = ask(&fixture, &fixture.admin, Method::Get, path, websocket("v4.channel.k8s.io")).await;
    let (client, talk) = converse(response);
    let client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    let said: Vec<Message> = client.map(Result::unwrap).collect().await;
    assert!(matches!(said.last(), Some(Message::Close(Some(_)))), "{said:?}");
    talk.await.unwrap();
}

/// A client of SPDY, as kubectl is one.
struct Client {
    from: ReadHalf<Box<dyn Duplex>>,
    to: WriteHalf<Box<dyn Duplex>>,
    encoder: Encoder,
    decoder: Decoder,
    buffer: BytesMut,
    latest: u32,
}

/// What was heard on a stream up to its end.
type Heard = String;

impl Client {
    fn new(stream: Box<dyn Duplex>) -> Self {
        let (from, to) = tokio::io::split(stream);
        let (encoder, decoder) = (Encoder::default(), Decoder::default());
        Self { from, to, encoder, decoder, buffer: BytesMut::new(), latest: 0 }
    }

    async fn say(&mut self, frame: Vec<u8>) {
        self.to.write_all(&frame).await.unwrap();
        self.to.flush().await.unwrap();
    }

    async fn open(&mut self, headers: &[(&str, &str)]) -> u32 {
        let stream = if self.latest == 0 { 1 } else { self.latest + 2 };
        self.latest = stream;
        let opened = opened(&mut self.encoder, stream, headers);
        self.say(opened).await;
        stream
    }

    /// Opens the streams of a connection: for bytes, and for what went wrong.
    async fn connect(&mut self, port: &str, id: &str) -> (u32, u32) {
        let error = self.open(&[("streamType", "error"), ("port", port), ("requestID", id)]).await;
        self.say(spdy::end(error)).await;
        (self.open(&[("streamType", "data"), ("port", port), ("requestID", id)]).await, error)
    }

    async fn frame(&mut self) -> Frame {
        loop {
            if let Some(frame) = self.decoder.next(&mut self.buffer).unwrap() {
                return frame;
            }
            assert_ne!(self.from.read_buf(&mut self.buffer).await.unwrap(), 0, "the server left");
        }
    }

    /// Hears until all of these streams have ended.
    async fn hear(&mut self, streams: &[u32]) -> Vec<Heard> {
        let mut heard = vec![Vec::new(); streams.len()];
        let mut open = streams.len();
        while open > 0 {
            let Frame::Data { stream, bytes, side } = self.frame().await else { continue };
            if let Some(at) = streams.iter().position(|known| *known == stream) {
                heard[at].extend_from_slice(&bytes);
                open -= usize::from(side == Side::Ended);
            }
        }
        heard.into_iter().map(|bytes| String::from_utf8(bytes).unwrap()).collect()
    }
}

async fn spdy(fixture: &Fixture) -> (Client, JoinHandle<()>) {
    let offer = offer("SPDY/3.1", &[("x-stream-protocol-version", "portforward.k8s.io")]);
    let response = ask(fixture, &fixture.admin, Method::Post, "p/portforward", offer).await;
    assert_eq!(header(&response, "x-stream-protocol-version"), Some("portforward.k8s.io"));
    let (client, talk) = converse(response);
    (Client::new(Box::new(client)), talk)
}

async fn tunnel(fixture: &Fixture) -> (Client, JoinHandle<()>) {
    let protocol = "SPDY/3.1+portforward.k8s.io";
    let response = ask(fixture, &fixture.admin, Method::Get, "p/portforward", websocket(protocol)).await;
    assert_eq!(header(&response, "sec-websocket-protocol"), Some(protocol));
    let (client, talk) = converse(response);
    let client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    let (mut ours, theirs) = duplex(1 << 12);
    tokio::spawn(async move {
        let (mut sink, mut stream) = client.split();
        let mut buffer = BytesMut::new();
        loop {
            tokio::select! {
                read = ours.read_buf(&mut buffer) => match read {
                    Ok(0) | Err(_) => break,
                    Ok(_) => sink.send(Message::binary(buffer.split().freeze())).await.unwrap(),
                },
                message = stream.next() => match message {
                    Some(Ok(Message::Binary(bytes))) => ours.write_all(&bytes).await.unwrap(),
                    _ => break,
                },
            }
        }
        let _ = sink.close().await;
    });
    (Client::new(Box::new(theirs)), talk)
}

#[tokio::test]
async fn pairs_of_streams_are_connections() {
    let (fixture, node) = running().await;
    for (mut client, talk) in [spdy(&fixture).await, tunnel(&fixture).await] {
        let (first, second) = (client.connect("80", "0").await, client.connect("80", "1").await);
        client.say(spdy::data(second.0, b"two")).await;
        client.say(spdy::data(first.0, b"one")).await;
        // Half of a connection ends, and the other half goes on.
        client.say(spdy::end(second.0)).await;
        assert_eq!(client.hear(&[second.0, second.1]).await, ["two.", ""]);
        client.say(spdy::data(first.0, b" more")).await;
        client.say(spdy::end(first.0)).await;
        // What came while the second was heard is heard no more.
        assert!(client.hear(&[first.0, first.1]).await[0].ends_with('.'));
        let refused = client.connect("81", "2").await;
        let heard = client.hear(&[refused.0, refused.1]).await;
        assert_eq!(heard[0], "");
        assert!(heard[1].starts_with("error forwarding port 81 to pod p, uid "), "{heard:?}");
        assert!(heard[1].ends_with(": failed to connect to localhost:81: connection refused"), "{heard:?}");
        client.say(spdy::ping(7)).await;
        while client.frame().await != (Frame::Ping { id: 7 }) {}
        drop(client);
        talk.await.unwrap();
    }
    assert_eq!(node.0.lock().unwrap().len(), 6);
}

#[tokio::test]
async fn the_stream_for_errors_ends_when_either_side_gives_up() {
    let (fixture, _) = running().await;
    let (mut client, _talk) = spdy(&fixture).await;
    // The pod ends, and the client says nothing: older ones wait for this.
    let ended = client.connect("82", "0").await;
    assert_eq!(client.hear(&[ended.0, ended.1]).await, ["word", ""]);
    let reset = client.connect("83", "1").await;
    client.say(spdy::reset(reset.0, spdy::Refusal::Protocol)).await;
    assert_eq!(client.hear(&[reset.1]).await, [""]);
    // Without a number the stream for bytes is the one after that for errors.
    let error = client.open(&[("streamtype", "error"), ("port", "82")]).await;
    let data = client.open(&[("streamtype", "data"), ("port", "82")]).await;
    assert_eq!(client.hear(&[data, error]).await, ["word", ""]);
}

#[tokio::test]
async fn streams_that_mean_nothing_are_reset() {
    let (fixture, _) = running().await;
    let (mut client, talk) = spdy(&fixture).await;
    let long = "x".repeat(100);
    for headers in [
        &[("streamtype", "other"), ("port", "80")][..],
        &[("streamtype", "data"), ("port", "0"), ("requestid", "0")],
        &[("streamtype", "data"), ("requestid", "0")],
        &[("streamtype", "error"), ("port", "80"), ("requestid", &long)],
    ] {
        let stream = client.open(headers).await;
        assert_eq!(client.frame().await, Frame::Reset { stream }, "{headers:?}");
    }
    client.latest -= 2;
    let stream = client.open(&[("streamtype", "error"), ("port", "80"), ("requestid", "0")]).await;
    assert_eq!(client.frame().await, Frame::Reset { stream }, "one that was there");
    // A second one of a kind.
    client.open(&[("streamtype", "data"), ("port", "80"), ("requestid", "0")]).await;
    assert_eq!(client.frame().await, Frame::Other, "a reply");
    let second = client.open(&[("streamtype", "data"), ("port", "80"), ("requestid", "0")]).await;
    assert_eq!(client.frame().await, Frame::Reset { stream: second });
    // Streams are bounded, and their places come back.
    let mut opened = Vec::new();
    loop {
        let id = opened.len().to_string();
        let stream =
            client.open(&[("streamtype", "error"), ("port", "80"), ("requestid", &format!("b{id}"))]).await;
        match client.frame().await {
            Frame::Other => opened.push(stream),
            other => break assert_eq!(other, Frame::Reset { stream }),
        }
    }
    assert_eq!(opened.len(), 255);
    client.say(spdy::reset(opened[0], spdy::Refusal::Refused)).await;
    client.open(&[("streamtype", "error"), ("port", "80"), ("requestid", "again")]).await;
    assert_eq!(client.frame().await, Frame::Other);
    // One that is no SPDY ends the conversation.
    client.say(vec![0x80, 9, 0, 1, 0, 0, 0, 0]).await;
    while client.from.read_buf(&mut client.buffer).await.is_ok_and(|count| count > 0) {}
    drop(client);
    talk.await.unwrap();
}

/// A pod that does not read holds its client back, and what is kept meanwhile is bounded.
#[tokio::test]
async fn who_is_not_read_waits() {
    let (fixture, _) = running().await;
    let (mut client, talk) = spdy(&fixture).await;
    let (data, _) = client.connect("80", "0").await;
    let piece = Bytes::from(vec![b'x'; 16 << 10]);
    let mut sent = 0;
    let flood = async {
        loop {
            client.say(spdy::data(data, &piece)).await;
            sent += piece.len();
        }
    };
    // It repeats, but nobody hears it.
    let _ = tokio::time::timeout(std::time::Duration::from_millis(500), flood).await;
    assert!((100_000..2_000_000).contains(&sent), "{sent}");
    drop(client);
    talk.await.unwrap();
}
