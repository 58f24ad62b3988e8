//! Looks at servers that these tests play.

use std::net::SocketAddr;

use dunlin_edge_node_core::{
    check::{Accept, Check, CheckTicket, HttpCheck, Outcome, Place, Target, What},
    node::{CheckKey, CheckOrder},
    pod::ContainerIndex,
};
use dunlin_link::{ContainerId, PodUid, care::Scheme};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::{
    Request, Response,
    body::{Bytes, Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::Prober;
use crate::sandbox::{Door, Doors};

async fn look(what: What, timeout_ms: u64) -> Outcome {
    let prober = Prober::new(Doors::new(Door::Process("/nowhere/exec.sock".into())));
    let key = CheckKey { uid: PodUid::new("u"), container: ContainerIndex(0), ticket: CheckTicket(1) };
    let order = CheckOrder { key: key.clone(), id: ContainerId::new("i"), check: Check { what, timeout_ms } };
    let (answered, outcome) = prober.look(order).await;
    assert_eq!(answered, key);
    outcome
}

fn target(address: SocketAddr) -> Target {
    Target { place: Place::Address(address), shown: "10.42.0.1:80".to_owned() }
}

fn get(address: SocketAddr, path: &str) -> HttpCheck {
    HttpCheck {
        scheme: Scheme::Http,
        target: target(address),
        path: path.to_owned(),
        headers: vec![("X-Asked".to_owned(), "yes".to_owned())],
        accept: Accept::Healthy,
    }
}

/// A server that answers each connection with what it says for the path.
async fn server(answer: fn(&str) -> String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { break };
                head.push(byte);
            }
            let head = String::from_utf8(head).unwrap();
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            assert!(path.is_empty() || head.contains("host: 10.42.0.1:80\r\n"), "{head}");
            assert!(path.is_empty() || head.contains("user-agent: kube-probe/1.36\r\n"), "{head}");
            let _ = stream.write_all(answer(&path).as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
async fn statuses_and_redirects_are_judged_as_by_a_kubelet() {
    let address = server(|path| {
        let (status, more) = match path {
            "/ok" => ("200 OK", ""),
            "/broken" => ("500 Internal Server Error", ""),
            "/here" => ("302 Found", "location: /ok\r\n"),
            "/there" => ("302 Found", "location: http://elsewhere.example/\r\n"),
            "/round" => ("302 Found", "location: http://10.42.0.1:80/round\r\n"),
            "/nowhere" => ("301 Moved Permanently", ""),
            _ => return "garbage".to_owned(),
        };
        format!("HTTP/1.1 {status}\r\n{more}content-length: 2\r\nconnection: close\r\n\r\nhi")
    })
    .await;
    let check = async |path: &str, expected: Outcome| {
        assert_eq!(look(What::Http(get(address, path)), 5_000).await, expected, "{path}");
    };
    let failure = |text: &str| Outcome::Failure(text.to_owned());
    check("/ok", Outcome::Success).await;
    check("/here", Outcome::Success).await;
    check("/broken", failure("HTTP probe failed with statuscode: 500")).await;
    let warning = "Probe terminated redirects, Response body: hi";
    check("/there", Outcome::Warning(warning.to_owned())).await;
    check("/round", failure("Get \"http://10.42.0.1:80/round\": stopped after 10 redirects")).await;
    let missing = "Get \"http://10.42.0.1:80/nowhere\": 301 response missing Location header";
    check("/nowhere", failure(missing)).await;
    assert!(matches!(look(What::Http(get(address, "/x")), 5_000).await, Outcome::Failure(_)));
    // A hook wants an answer, and no more.
    let hook = HttpCheck { accept: Accept::Anything, ..get(address, "/broken") };
    assert_eq!(look(What::Http(hook), 5_000).await, Outcome::Success);
}

#[tokio::test]
async fn nobody_there_and_nobody_answering_are_failures() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    assert_eq!(look(What::Tcp(target(address)), 5_000).await, Outcome::Success);
    let late = "Get \"http://10.42.0.1:80/\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
    assert_eq!(look(What::Http(get(address, "/")), 50).await, Outcome::Failure(late.to_owned()));
    let late = Outcome::Failure("timeout: health rpc did not complete within 50ms".to_owned());
    assert_eq!(look(What::Grpc { target: target(address), service: String::new() }, 50).await, late);
    drop(listener);
    let refused = Outcome::Failure("dial tcp 10.42.0.1:80: connect: connection refused".to_owned());
    assert_eq!(look(What::Tcp(target(address)), 5_000).await, refused);
    let Outcome::Error(why) =
        look(What::Exec { container: "c".into(), command: vec!["x".into()] }, 5_000).await
    else {
        panic!("there is no sandbox");
    };
    assert!(why.starts_with("the sandbox cannot be reached"), "{why}");
}

#[tokio::test]
async fn the_health_protocol_of_grpc_is_spoken() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let serve = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service_fn(health));
            tokio::spawn(serve);
        }
    });
    let ask = async |service: &str| {
        look(What::Grpc { target: target(address), service: service.to_owned() }, 5_000).await
    };
    assert_eq!(ask("").await, Outcome::Success);
    let unhealthy = "service unhealthy (responded with \"NOT_SERVING\")";
    assert_eq!(ask("down").await, Outcome::Failure(unhealthy.to_owned()));
    let unknown = "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service";
    assert_eq!(ask("other").await, Outcome::Failure(unknown.to_owned()));
    let Outcome::Failure(text) = ask("old").await else { panic!("it is not implemented") };
    assert!(text.starts_with("error: this server does not implement the grpc health protocol"), "{text}");
}

type Body = http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible>;

async fn health(request: Request<Incoming>) -> Result<Response<Body>, std::convert::Infallible> {
    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
    assert_eq!(request.headers()["content-type"], "application/grpc");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let service = String::from_utf8(body.get(7..).unwrap_or_default().to_vec()).unwrap();
    let (status, code, message) = match service.as_str() {
        "" => (1, "0", ""),
        "down" => (2, "0", ""),
        "old" => (0, "12", "unknown method"),
        _ => (0, "5", "unknown service"),
    };
    let response = Response::builder().header("content-type", "application/grpc");
    if code != "0" {
        let response = response.header("grpc-status", code).header("grpc-message", message);
        return Ok(response.body(Full::default().boxed()).unwrap());
    }
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let frames =
        [Ok(Frame::data(Bytes::from(vec![0, 0, 0, 0, 2, 8, status]))), Ok(Frame::trailers(trailers))];
    Ok(response.body(BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames)))).unwrap())
}
