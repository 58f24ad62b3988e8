//! `proxy`: what is handed on and what is made of the answer, with a pod at the other end of a pipe.

use std::sync::{Arc, Mutex};

use dunlin_link::NodeName;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::*;
use crate::{
    service::{
        Body, Offer, PodStreams,
        proxy::{Passed, PassedBody},
    },
    sessions::{NodeStream, OpenStreamError, StreamOpen},
};

/// Pods that say `answer` to whatever they are asked, once they read as much of it as `until` says.
#[derive(Debug)]
struct Node {
    answer: &'static str,
    until: &'static str,
    asked: Arc<Mutex<(Option<StreamOpen>, String)>>,
}

impl PodStreams for Node {
    fn open<'a>(
        &'a self,
        node: &'a NodeName,
        open: StreamOpen,
    ) -> BoxFuture<'a, Result<NodeStream, OpenStreamError>> {
        Box::pin(async move {
            if node.as_str() != "n1" {
                return Err(OpenStreamError::NotConnected(node.clone()));
            }
            self.asked.lock().unwrap().0 = Some(open);
            let (mut ours, theirs) = duplex(1 << 16);
            let (answer, until, asked) = (self.answer, self.until, Arc::clone(&self.asked));
            tokio::spawn(async move {
                let mut heard = String::new();
                while !heard.ends_with(until) {
                    heard.push(char::from(ours.read_u8().await.unwrap()));
                }
                asked.lock().unwrap().1 = heard;
                ours.write_all(answer.as_bytes()).await.unwrap();
                // What comes after the change of protocol is said again.
                let (mut from, mut to) = tokio::io::split(ours);
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
            Ok(NodeStream::new(theirs))
        })
    }
}

struct Pod {
    fixture: Fixture,
    asked: Arc<Mutex<(Option<StreamOpen>, String)>>,
}

/// A pod `p` with port 8080 on a node, and `q` on a node that is away.
async fn pod_saying(answer: &'static str, until: &'static str) -> Pod {
    let fixture = Fixture::start().await;
    for (name, node) in [("p", "n1"), ("q", "n2")] {
        let mut object = pod(name);
        object["spec"]["nodeName"] = node.into();
        object["spec"]["containers"][0]["ports"] = json!([{"containerPort": 8080}]);
        fixture.create(PODS, &object).await;
    }
    let asked = Arc::default();
    fixture.service.attach_streams(Arc::new(Node { answer, until, asked: Arc::clone(&asked) }));
    Pod { fixture, asked }
}

impl Pod {
    async fn ask(&self, method: &str, uri: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap())
            })
            .collect();
        let path = uri.split('?').next().unwrap().to_owned();
        let body = (!body.is_empty()).then(|| PassedBody::new(std::io::Cursor::new(body.to_owned())));
        let passed = Passed {
            method: method.parse().unwrap(),
            uri: uri.parse().unwrap(),
            headers: headers.clone(),
            body,
        };
        let offer = Offer::read(&headers).with_request(passed);
        let method = if method == "POST" { Method::Post } else { Method::Get };
        let head = RequestHead {
            method,
            path,
            query: Vec::new(),
            content_type: String::new(),
            accept: String::new(),
            user_agent: String::new(),
        };
        self.fixture.service.handle_offer(&self.fixture.admin, head, offer, tokio::io::empty()).await
    }

    fn heard(&self) -> String {
        self.asked.lock().unwrap().1.clone()
    }
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
}

const PROXY: &str = "/api/v1/namespaces/default/pods/p/proxy";

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_handed_on_and_its_answer_comes_back() {
    let answer = "HTTP/1.1 201 Created\r\nContent-Type: text/x\r\nX-Own: 1\r\nConnection: close\r\n\
                  Access-Control-Allow-Origin: *\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    let pod = pod_saying(answer, "0\r\n\r\n").await;
    let headers = [
        ("authorization", "Bearer secret"),
        ("host", "h:6443"),
        ("x-mine", "2"),
        ("connection", "x-hop"),
        ("x-hop", "3"),
    ];
    let response = pod.ask("POST", &format!("{PROXY}/a%20b/?c=d&c=e"), &headers, "some text").await;
    assert_eq!((response.head.status, response.head.content_type.as_str()), (201, "text/x"));
    assert_eq!((header(&response, "x-own"), header(&response, "connection")), (Some("1"), None));
    assert_eq!(header(&response, "access-control-allow-origin"), None);
    assert_eq!(response.into_bytes().await.unwrap(), "hi");
    let heard = pod.heard();
    assert!(heard.starts_with("POST /a%20b/?c=d&c=e HTTP/1.1\r\n") && heard.contains("some text"), "{heard}");
    assert!(heard.contains("x-mine: 2\r\n") && heard.contains("host: h:6443\r\n"), "{heard}");
    assert!(heard.contains(&format!("x-forwarded-uri: {PROXY}/a%20b/\r\n")), "{heard}");
    assert!(!heard.contains("secret") && !heard.contains("x-hop"), "{heard}");
    let asked = pod.asked.lock().unwrap().0.clone();
    assert!(matches!(asked, Some(StreamOpen::Connect { port: 8080, .. })), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_lead_through_the_proxy() {
    let answer = "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n";
    let pod = pod_saying(answer, "\r\n\r\n").await;
    let response = pod.ask("GET", &format!("{PROXY}/"), &[("host", "h")], "").await;
    assert_eq!(
        (response.head.status, header(&response, "location")),
        (302, Some(&*format!("{PROXY}/login")))
    );
    assert!(pod.heard().starts_with("GET / HTTP/1.1\r\n"), "{}", pod.heard());
    assert!(!pod.heard().contains("transfer-encoding"), "{}", pod.heard());
    let folder = pod.ask("GET", &format!("{PROXY}?a=b"), &[], "").await;
    assert_eq!((folder.head.status, header(&folder, "location")), (301, Some(&*format!("{PROXY}/?a=b"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_protocol_is_passed_on() {
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Accept: x\r\n\r\n";
    let pod = pod_saying(answer, "\r\n\r\n").await;
    let headers = [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", "k")];
    let response = pod.ask("GET", &format!("{PROXY}/ws"), &headers, "").await;
    assert_eq!((response.head.status, header(&response, "sec-websocket-accept")), (101, Some("x")));
    assert!(
        pod.heard().contains("upgrade: websocket") && pod.heard().contains("connection: Upgrade"),
        "{}",
        pod.heard()
    );
    let Body::Upgrade(upgrade) = response.body else { panic!("no upgrade") };
    let (mut client, server) = duplex(1 << 10);
    let talk = tokio::spawn(upgrade.talk(Box::new(server)));
    client.write_all(b"ping").await.unwrap();
    let mut echoed = [0; 4];
    client.read_exact(&mut echoed).await.unwrap();
    assert_eq!(&echoed, b"ping");
    drop(client);
    talk.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reached_says_so() {
    let pod = pod_saying("nonsense\r\n\r\n", "\r\n\r\n").await;
    let check = async |path: &str, code: u16, expected: &str| {
        let response = pod.ask("GET", &format!("/api/v1/{path}"), &[], "").await;
        let status: Value = serde_json::from_slice(&response.into_bytes().await.unwrap()).unwrap();
        assert_eq!(status["code"], code, "{path}: {status}");
        let message = status["message"].as_str().unwrap();
        assert!(message.contains(expected), "{path}: {message}");
    };
    let unreachable = "error trying to reach service: ";
    check("namespaces/default/pods/p/proxy/", 503, unreachable).await;
    check("namespaces/default/pods/q/proxy/", 503, "error dialing backend: node \"n2\" is not connected")
        .await;
    check("namespaces/default/pods/https:p:1/proxy/", 503, unreachable).await;
    check("namespaces/default/pods/ftp:p:1/proxy/", 400, "invalid pod request \"ftp:p:1\"").await;
    check("namespaces/default/pods/absent/proxy/", 404, "pods \"absent\" not found").await;
    check("namespaces/default/services/absent/proxy/", 404, "services \"absent\" not found").await;
    check("nodes/n1/proxy/metrics", 501, "proxying to nodes is not served").await;
    check("namespaces/default/configmaps/c/proxy/", 404, "").await;
    let joe = User::new("joe", ["system:authenticated".to_owned()]);
    let refused = Request::new(Method::Get, &format!("{PROXY}/"));
    let refused = pod.fixture.expect_as(403, &joe, refused).await;
    assert!(refused["message"].as_str().unwrap().contains("resource \"pods/proxy\""), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn services_lead_to_their_endpoints() {
    let pod = pod_saying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "\r\n\r\n").await;
    let fixture = &pod.fixture;
    let spec = json!({"ports": [{"name": "web", "port": 80}]});
    let services = "/api/v1/namespaces/default/services";
    fixture.create(services, &json!({"metadata": {"name": "s"}, "spec": spec})).await;
    let none = pod.ask("GET", &format!("{services}/s:80/proxy/"), &[], "").await;
    assert_eq!(none.head.status, 503);
    let none: Value = serde_json::from_slice(&none.into_bytes().await.unwrap()).unwrap();
    assert_eq!(none["message"], "no endpoints available for service \"s:80\"");

    let mut object = fixture.get(&format!("{PODS}/p")).await;
    object["status"] = json!({"phase": "Running", "podIP": "10.42.0.2"});
    fixture.expect(200, Request::new(Method::Put, &format!("{PODS}/p/status")).with_body(&object)).await;
    let slice = |name: &str, address: &str, pod: &str| {
        let target = json!({"kind": "Pod", "name": pod, "namespace": "default"});
        json!({"metadata": {"name": name, "labels": {"kubernetes.io/service-name": "s"}}, "addressType": "IPv4",
            "ports": [{"name": "web", "port": 9090}], "endpoints": [{"addresses": [address], "targetRef": target}]})
    };
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    // An address that is not the pod's own leads nowhere.
    fixture.create(slices, &slice("s-0", "10.42.0.9", "p")).await;
    assert_eq!(pod.ask("GET", &format!("{services}/s:web/proxy/"), &[], "").await.head.status, 503);
    fixture.create(slices, &slice("s-1", "10.42.0.2", "p")).await;
    for id in ["s:web", "s:80", "http:s:web"] {
        let found = pod.ask("GET", &format!("{services}/{id}/proxy/x"), &[], "").await;
        assert_eq!(found.head.status, 200, "{id}");
        assert_eq!(found.into_bytes().await.unwrap(), "ok");
        let asked = pod.asked.lock().unwrap().0.clone();
        assert!(matches!(asked, Some(StreamOpen::Connect { port: 9090, .. })), "{asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_without_http_are_handed_on_too() {
    let pod = pod_saying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "\r\n\r\n").await;
    let request = Request::new(Method::Get, &format!("{PROXY}/a b")).with_query("c", "d");
    let response = pod.fixture.send(request).await;
    assert_eq!((response.head.status, &response.into_bytes().await.unwrap()[..]), (200, &b"ok"[..]));
    assert!(pod.heard().starts_with("GET /a%20b?c=d HTTP/1.1\r\n"), "{}", pod.heard());
}
